"""What a simulated exchange really published of a day, and how stored rows differ from it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, PREMIUM_INDEX, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.rows import MINUTE_MS, Floats, Integers

TABLES = (BARS_1M, FUNDING_RATES, OPEN_INTEREST)
INSTRUMENTS = tuple(
    Instrument.parse(f"{exchange}:{symbol}")
    for exchange, symbol in (
        ("binance", "BTC/USDT:USDT"),
        ("bybit", "ETH/USDT:USDT"),
        ("okx", "BTC/USDT:USDT"),
        ("hyperliquid", "BTC/USDC:USDC"),
    )
)
"""One of each exchange; Bybit's ether changes its funding interval."""
_FIVE_MINUTES_MS = 5 * MINUTE_MS
_DAY_MS = 1440 * MINUTE_MS
_HYPERLIQUID_BARS = 5000
_OKX_SNAPSHOTS = 1440
_PRICES = ("open", "high", "low", "close")
_ROUNDED = {"volume": 1e-3, "quote_volume": 1e-2, "taker_buy_volume": 1e-3, "taker_buy_quote_volume": 1e-2}
"""How far amounts may lie from the market's own: OKX counts contracts, Binance writes five decimals."""


@dataclass(frozen=True)
class Rows:
    """Columns by name, ``key`` in milliseconds since 1970."""

    key: Integers
    columns: dict[str, Floats]

    def between(self, first: int, end: int) -> "Rows":
        """The rows whose key lies in [first, end)."""
        inside = (self.key >= first) & (self.key < end)
        return Rows(self.key[inside], {name: values[inside] for name, values in self.columns.items()})


@dataclass(frozen=True)
class Comparison:
    """A day's rows beside the exchange's."""

    missing: int
    """Rows that the exchange serves and the day lacks."""
    foreign: int
    """Rows that the exchange never published, that stand twice, or that were not closed yet."""
    wrong: int
    """Rows with another value in a column."""

    @property
    def equal(self) -> bool:
        return not (self.missing or self.foreign or self.wrong)


class Truth:
    """A simulated market at a moment at which its exchanges' clock stands still."""

    def __init__(self, seed: int, *, start: date, end: date, now: datetime) -> None:
        self.market = SimulatedMarket(demo_parameters(), seed, start=start, end=end)
        self.now = now
        self._all = cache(self._everything)

    @property
    def now_ms(self) -> int:
        return round(self.now.timestamp() * 1000)

    def compare(self, table: Table, instrument: Instrument, day: date, rows: pa.Table) -> Comparison:
        """``rows`` of one day beside what the exchange serves of it now."""
        everything, since = self._all(table.name, instrument)
        first = round(day_start(day).timestamp() * 1000)
        published = everything.between(first, first + _DAY_MS)
        keys = epoch_ms(rows.column(table.key))
        known = np.isin(keys, published.key)
        places = np.searchsorted(published.key, keys[known])
        wrong = np.zeros(len(places), dtype=np.bool_)
        for name, values in published.columns.items():
            told = rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)[known]
            wrong |= ~_close(name, told, values[places])
        twice = len(keys) - len(np.unique(keys))
        return Comparison(
            missing=int((~np.isin(published.key[published.key >= since], keys)).sum()),
            foreign=int((~known).sum()) + twice,
            wrong=int(wrong.sum()),
        )

    def _everything(self, name: str, instrument: Instrument) -> tuple[Rows, int]:
        """All published rows and the moment since which the exchange keeps them."""
        makers: dict[str, Callable[[Instrument], tuple[Rows, int]]] = {
            BARS_1M.name: self._bars,
            PREMIUM_INDEX.name: self._premium,
            FUNDING_RATES.name: self._funding,
            OPEN_INTEREST.name: self._interest,
        }
        return makers[name](instrument)

    def _bars(self, instrument: Instrument) -> tuple[Rows, int]:
        bars = self.market.minute_bars(self.market.listing(instrument)).between(0, self.now_ms - MINUTE_MS)
        told = {name: getattr(bars, name) for name in (*_PRICES, *_ROUNDED, "trades")}
        forgets = instrument.exchange == "hyperliquid"
        since = self.now_ms // MINUTE_MS * MINUTE_MS - (_HYPERLIQUID_BARS - 1) * MINUTE_MS
        return Rows(bars.time_ms, told), since if forgets else 0

    def _premium(self, instrument: Instrument) -> tuple[Rows, int]:
        bars = self.market.premium_bars(self.market.listing(instrument)).between(0, self.now_ms - MINUTE_MS)
        return Rows(bars.time_ms, {name: getattr(bars, name) for name in _PRICES}), 0

    def _funding(self, instrument: Instrument) -> tuple[Rows, int]:
        rates = self.market.funding_rates(self.market.listing(instrument)).between(0, self.now_ms)
        key = rates.time_ms // MINUTE_MS * MINUTE_MS
        before = np.append(np.nan, np.diff(key) / MINUTE_MS)
        return Rows(key, {"funding_rate": rates.rate, "funding_interval_minutes": before}), 0

    def _interest(self, instrument: Instrument) -> tuple[Rows, int]:
        interest = self.market.open_interest(self.market.listing(instrument)).between(0, self.now_ms)
        newest = self.now_ms // _FIVE_MINUTES_MS * _FIVE_MINUTES_MS
        if instrument.exchange == "hyperliquid":
            # The present one is all there is; it stands under the first mark after it was taken.
            return Rows(np.array([newest + _FIVE_MINUTES_MS]), {"open_interest_base": interest.base[-1:]}), 0
        rows = Rows(interest.time_ms, {"open_interest_base": interest.base, "open_interest_usd": interest.usd})
        return rows, newest - (_OKX_SNAPSHOTS - 1) * _FIVE_MINUTES_MS if instrument.exchange == "okx" else 0


def _close(name: str, told: Floats, true: Floats) -> np.ndarray:
    """Whether values agree, as exactly as exchanges write them; NaN stands for what an exchange does not tell."""
    untold = np.isnan(told)
    if name == "funding_interval_minutes":
        # Only an archive's file says how long the interval before the very first settlement was.
        return (told == true) | np.isnan(true)
    if name in {"trades", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "open_interest_usd"}:
        return untold | np.isclose(told, true, rtol=1e-4, atol=_ROUNDED.get(name, 0.0))
    exact = {"funding_rate": (0.0, 5e-9), "volume": (0.0, 1e-3), "open_interest_base": (1e-6, 6e-4)}
    rtol, atol = exact.get(name, (0.0, 1e-9))
    return np.isclose(told, true, rtol=rtol, atol=atol)
