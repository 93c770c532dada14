"""Instruments: an exchange and a ccxt unified symbol, and how both look on disk."""

import re
from dataclasses import dataclass
from typing import Self

from tradecore_pipeline.domain.errors import UsageError

EXCHANGES = ("binance", "bybit", "okx", "hyperliquid")
PERPETUAL = "perpetual"
SPOT = "spot"

_SYMBOL = re.compile(r"(?P<base>[A-Z0-9]{1,20})/(?P<quote>[A-Z0-9]{1,20})(?::(?P<settle>[A-Z0-9]{1,20}))?")


@dataclass(frozen=True, slots=True, order=True)
class Instrument:
    """One tradable series, e.g. ``binance:BTC/USDT:USDT`` (perpetual) or ``binance:BTC/USDT`` (spot)."""

    exchange: str
    symbol: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The instrument that ``exchange:ccxt-unified-symbol`` names.

        Raises:
            UsageError: the text is not of that form, or the exchange is not one of ``EXCHANGES``.
        """
        exchange, colon, symbol = text.strip().partition(":")
        if not colon or _SYMBOL.fullmatch(symbol) is None:
            raise UsageError(
                f"{text!r} is not an instrument: write exchange:SYMBOL, "
                "for example binance:BTC/USDT:USDT (perpetual) or binance:BTC/USDT (spot)"
            )
        if exchange not in EXCHANGES:
            raise UsageError(f"unknown exchange {exchange!r} in {text!r}: choose one of {', '.join(EXCHANGES)}")
        return cls(exchange, symbol)

    @property
    def base(self) -> str:
        """The coin that is bought, e.g. ``BTC``."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """The currency that prices are in, e.g. ``USDT``."""
        return self.symbol.partition("/")[2].partition(":")[0]

    @property
    def is_perpetual(self) -> bool:
        """True for perpetual futures (they settle in a currency), false for spot."""
        return ":" in self.symbol

    @property
    def market_type(self) -> str:
        """``PERPETUAL`` or ``SPOT``."""
        return PERPETUAL if self.is_perpetual else SPOT

    @property
    def path_symbol(self) -> str:
        """The symbol as one safe path segment, e.g. ``BTC_USDT_USDT``."""
        return re.sub("[/:]", "_", self.symbol)

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"
