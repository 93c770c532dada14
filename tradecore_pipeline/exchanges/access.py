"""How exchanges are reached: addresses, patience, and what may be asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.exchanges.http import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What every exchange client is made from."""

    urls: Mapping[str, str]
    """Base addresses by the name of the setting that holds them, e.g. ``okx_rest_url``."""
    timeout_seconds: float
    retries: int
    workers: int
    """Requests at once per exchange."""
    clock: Clock
    """Stands in for a server's clock where that cannot be asked."""
    archive_only: bool
    """Ask files only, never an API: for networks that an exchange's API does not serve."""
    budgets: Path
    """The folder of the request budgets that all processes on this machine share."""
    share: float
    """The part of each host's limits that is used, 0 to 1."""

    def endpoint(self, setting: str, *, otherwise: str = "") -> Endpoint:
        """The address held by ``setting``; ``otherwise`` says what still works where it is blocked."""
        return Endpoint(self.urls[setting], f"TRADECORE_{setting.upper()}", otherwise)
