"""The only code that talks to exchanges and their archives."""

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import SUPPORTED_EXCHANGES
from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.exchanges.base import Exchange
from tradecore_pipeline.exchanges.binance.client import BinanceExchange


def make_exchange(
    name: str,
    *,
    archive_url: str,
    listing_url: str,
    futures_rest_url: str,
    spot_rest_url: str,
    timeout_seconds: float,
    retries: int,
    workers: int,
    clock: Clock,
) -> Exchange:
    """The exchange called ``name``, talking to the given hosts. Close it when done.

    Raises:
        UsageError: it is not supported.
    """
    if name not in SUPPORTED_EXCHANGES:
        raise UsageError(f"{name} is not supported yet: only {', '.join(SUPPORTED_EXCHANGES)} is so far")
    return BinanceExchange(
        archive_url=archive_url,
        listing_url=listing_url,
        futures_rest_url=futures_rest_url,
        spot_rest_url=spot_rest_url,
        timeout_seconds=timeout_seconds,
        retries=retries,
        workers=workers,
        clock=clock,
    )
