"""How Binance spells instruments, and where its archive keeps their files."""

from dataclasses import dataclass
from datetime import date
from typing import Self

from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.domain.instruments import SPOT, Instrument
from tradecore_pipeline.domain.offers import offered_table
from tradecore_pipeline.domain.tables import (
    BARS_1M,
    FUNDING_RATES,
    LONG_SHORT_RATIOS,
    OPEN_INTEREST,
    PREMIUM_INDEX,
    Table,
)

NAME = "binance"
FOLDERS = {
    BARS_1M.name: "klines",
    PREMIUM_INDEX.name: "premiumIndexKlines",
    FUNDING_RATES.name: "fundingRate",
    OPEN_INTEREST.name: "metrics",
    LONG_SHORT_RATIOS.name: "metrics",
}
"""The archive's word for each dataset."""
DAILY = "daily"
MONTHLY = "monthly"
_BY_MINUTE = ("klines", "premiumIndexKlines")


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
        return self.instrument.market_type

    def table(self, dataset: str) -> Table:
        """The dataset's table.

        Raises:
            UsageError: there is no such dataset for this kind of instrument.
        """
        return offered_table(dataset, self.instrument)

    def prefix(self, rhythm: str, kind: str) -> str:
        """The archive folder of ``kind`` (see ``FOLDERS``) published ``daily`` or ``monthly``."""
        folder = f"{archive_root(self.market_type)}/{rhythm}/{kind}/{self.symbol}/"
        return f"{folder}1m/" if kind in _BY_MINUTE else folder

    def key(self, rhythm: str, kind: str, period: date) -> str:
        """The archive key of one day's or month's file."""
        stamp = period.isoformat() if rhythm == DAILY else f"{period:%Y-%m}"
        label = "1m" if kind in _BY_MINUTE else kind
        return f"{self.prefix(rhythm, kind)}{self.symbol}-{label}-{stamp}.zip"


def archive_root(market_type: str) -> str:
    """The archive folder of a kind of instrument."""
    return "data/spot" if market_type == SPOT else "data/futures/um"


def period_of(key: str) -> date:
    """The day, or first day of the month, that an archive key is about.

    Raises:
        InvalidDataError: the key does not say.
    """
    stem = key.rpartition("/")[2].removesuffix(".zip")
    parts = stem.split("-")
    try:
        return date.fromisoformat("-".join([*parts[-2:], "01"] if len(parts[-2]) == 4 else parts[-3:]))
    except (ValueError, IndexError) as error:
        raise InvalidDataError(f"the archive lists {key!r}, whose date cannot be read") from error
