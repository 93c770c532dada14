"""The only code that talks to exchanges and their archives."""

from collections.abc import Callable

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.base import Exchange


def make_exchange(name: str, access: Access) -> Exchange:
    """The exchange called ``name``. Close it when done.

    Raises:
        UsageError: there is no such exchange.
    """
    makers: dict[str, Callable[[Access], Exchange]] = {
        "binance": _binance,
        "bybit": _bybit,
        "okx": _okx,
        "hyperliquid": _hyperliquid,
    }
    if name not in makers:
        raise UsageError(f"unknown exchange {name!r}: choose one of {', '.join(makers)}")
    return makers[name](access)


def _binance(access: Access) -> Exchange:
    from tradecore_pipeline.exchanges.binance.client import BinanceExchange  # noqa: PLC0415 (one of four is needed)

    return BinanceExchange(access)


def _bybit(access: Access) -> Exchange:
    from tradecore_pipeline.exchanges.bybit.client import BybitExchange  # noqa: PLC0415 (as above)

    return BybitExchange(access)


def _okx(access: Access) -> Exchange:
    from tradecore_pipeline.exchanges.okx.client import OkxExchange  # noqa: PLC0415 (as above)

    return OkxExchange(access)


def _hyperliquid(access: Access) -> Exchange:
    from tradecore_pipeline.exchanges.hyperliquid.client import HyperliquidExchange  # noqa: PLC0415 (as above)

    return HyperliquidExchange(access)
