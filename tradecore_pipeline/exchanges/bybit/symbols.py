"""How Bybit spells instruments."""

import re

from tradecore_pipeline.domain.instruments import Instrument

NAME = "bybit"
_QUOTES = {"USDT": "USDT", "USDC": "PERP"}
"""The settlement currencies of linear perpetuals, and what their symbols end in: ``BTCUSDT``, ``BTCPERP``."""
_CODE = re.compile(r"[A-Z0-9]{1,20}")


def raw_symbol(instrument: Instrument) -> str | None:
    """The exchange's own name, e.g. ``BTCUSDT``; None for what it cannot be a linear perpetual of."""
    settle = instrument.symbol.partition(":")[2]
    if instrument.exchange != NAME or settle != instrument.quote or instrument.quote not in _QUOTES:
        return None
    return instrument.base + _QUOTES[instrument.quote]


def instrument_of(symbol: str, *, base: str, quote: str, settle: str) -> Instrument | None:
    """The perpetual that the exchange calls ``symbol``; None for those that are spelled another way."""
    if _CODE.fullmatch(base) is None or _CODE.fullmatch(quote) is None or _CODE.fullmatch(settle) is None:
        return None
    instrument = Instrument(NAME, f"{base}/{quote}:{settle}")
    return instrument if raw_symbol(instrument) == symbol else None
