"""How tests reach an exchange that answers on this machine."""

from pathlib import Path

from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.settings import Settings

PLENTY = 50.0
"""Real limits many times over: no test waits for its turn, unless it is about waiting."""


def local_access(
    url: str,
    *,
    budgets: Path,
    clock: Clock,
    retries: int = 1,
    workers: int = 2,
    timeout_seconds: float = 5,
    archive_only: bool = False,
    share: float = PLENTY,
    **urls: str,
) -> Access:
    """Access to the exchange at ``url``, under every setting that names an address; ``urls`` names exceptions."""
    names = (name for name in Settings.model_fields if name.endswith("_url"))
    return Access(
        urls=dict.fromkeys(names, url) | urls,
        timeout_seconds=timeout_seconds,
        retries=retries,
        workers=workers,
        clock=clock,
        archive_only=archive_only,
        budgets=budgets,
        share=share,
    )
