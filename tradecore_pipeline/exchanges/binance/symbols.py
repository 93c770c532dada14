"""How Binance spells instruments, and where its archive keeps their files."""

from dataclasses import dataclass
from datetime import date
from typing import Self

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import MARKET_DATA, Table
from tradecore_pipeline.exchanges.base import PERPETUAL, SPOT

NAME = "binance"
CAPABILITIES = {PERPETUAL: ("bars_1m", "funding_rates", "open_interest"), SPOT: ("bars_1m",)}


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument in Binance's words."""

    instrument: Instrument
    symbol: str
    """The raw symbol, e.g. ``BTCUSDT``."""

    @classmethod
    def of(cls, instrument: Instrument) -> Self:
        """The instrument in Binance's words.

        Raises:
            UsageError: it belongs to another exchange, or to a market that is not supported.
        """
        if instrument.exchange != NAME:
            raise UsageError(f"{instrument} is not an instrument of {NAME}")
        settle = instrument.symbol.partition(":")[2]
        if settle not in {"", instrument.quote}:
            raise UsageError(
                f"{instrument} settles in {settle}: only perpetuals that settle in their quote currency are "
                "supported, for example binance:BTC/USDT:USDT"
            )
        return cls(instrument, instrument.base + instrument.quote)

    @property
    def market_type(self) -> str:
        return PERPETUAL if self.instrument.is_perpetual else SPOT

    def table(self, dataset: str) -> Table:
        """The dataset's table.

        Raises:
            UsageError: there is no such dataset for this kind of instrument.
        """
        offered = CAPABILITIES[self.market_type]
        if dataset not in offered:
            raise UsageError(f"{self.instrument} has no {dataset}: {NAME} {self.market_type} has {', '.join(offered)}")
        return MARKET_DATA[dataset]

    def prefix(self, rhythm: str, kind: str) -> str:
        """The archive folder of ``kind`` (klines, metrics, fundingRate) published ``daily`` or ``monthly``."""
        root = "data/futures/um" if self.instrument.is_perpetual else "data/spot"
        folder = f"{root}/{rhythm}/{kind}/{self.symbol}/"
        return f"{folder}1m/" if kind == "klines" else folder

    def key(self, rhythm: str, kind: str, period: date) -> str:
        """The archive key of one day's or month's file."""
        stamp = period.isoformat() if rhythm == "daily" else f"{period:%Y-%m}"
        label = "1m" if kind == "klines" else kind
        return f"{self.prefix(rhythm, kind)}{self.symbol}-{label}-{stamp}.zip"


def period_of(key: str) -> date:
    """The day, or first day of the month, that an archive key is about."""
    stem = key.rpartition("/")[2].removesuffix(".zip")
    parts = stem.split("-")
    if len(parts[-2]) == 4:
        return date.fromisoformat("-".join([*parts[-2:], "01"]))
    return date.fromisoformat("-".join(parts[-3:]))
