"""Columns of numpy arrays in time order: the form in which both back ends hand rows to archive and REST."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MINUTE_MS = 60_000
PREMIUM_DECIMALS = 8
"""Digits that the premium index, a fraction, is written with."""


@dataclass(frozen=True, slots=True)
class TimeRows:
    """Rows sorted by ``time_ms`` (milliseconds since 1970, UTC); every column has one value per row."""

    time_ms: Integers

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, rows: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Self:
        """The rows that a slice, a mask or positions select."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def between(self, first_ms: int, last_ms: int) -> Self:
        """The rows whose time lies in ``first_ms``..``last_ms``, both included."""
        first, last = np.searchsorted(self.time_ms, [first_ms, last_ms + 1])
        return self.take(slice(int(first), int(last)))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The parts one after the other; they are in time order already."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


@dataclass(frozen=True, slots=True)
class Bars(TimeRows):
    """Bars keyed by their first moment; prices in quote, volumes in base, quote volumes in quote."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    quote_volume: Floats
    trades: Integers
    taker_buy_volume: Floats
    taker_buy_quote_volume: Floats

    @classmethod
    def empty(cls) -> Self:
        """No bars."""
        floats = np.empty(0)
        integers = np.empty(0, dtype=np.int64)
        return cls(integers, floats, floats, floats, floats, floats, floats, integers, floats, floats)

    def aggregated(self, interval_ms: int) -> Self:
        """Bars of ``interval_ms``; an interval without a single minute has no bar."""
        if interval_ms == MINUTE_MS or len(self) == 0:
            return self
        bucket = self.time_ms // interval_ms
        first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
        last = np.append(first[1:], len(self)) - 1
        return type(self)(
            time_ms=bucket[first] * interval_ms,
            open=self.open[first],
            high=np.maximum.reduceat(self.high, first),
            low=np.minimum.reduceat(self.low, first),
            close=self.close[last],
            volume=np.add.reduceat(self.volume, first),
            quote_volume=np.add.reduceat(self.quote_volume, first),
            trades=np.add.reduceat(self.trades, first),
            taker_buy_volume=np.add.reduceat(self.taker_buy_volume, first),
            taker_buy_quote_volume=np.add.reduceat(self.taker_buy_quote_volume, first),
        )

    def seen_at(self, now_ms: int, price_decimals: int) -> Self:
        """These minutes as an observer at ``now_ms`` sees them: a last minute still open has only partly happened."""
        if len(self) == 0 or self.time_ms[-1] + MINUTE_MS <= now_ms:
            return self
        share = (now_ms - int(self.time_ms[-1])) / MINUTE_MS
        opened, closed = float(self.open[-1]), float(self.close[-1])
        price = round(opened + share * (closed - opened), price_decimals)
        seen = {
            "close": price,
            "high": max(opened, price),
            "low": min(opened, price),
            "trades": int(share * int(self.trades[-1])),
        }
        for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
            seen[name] = round(share * float(getattr(self, name)[-1]), 3)
        return replace(self, **{name: _with_last(getattr(self, name), value) for name, value in seen.items()})

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame indexed by UTC ``ts_open``."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "time_ms"}
        return pd.DataFrame(values, index=utc_index(self.time_ms))


@dataclass(frozen=True, slots=True)
class FundingRates(TimeRows):
    """Settlements, stamped some milliseconds late as on the exchange; ``rate`` is a fraction per interval."""

    rate: Floats
    mark_price: Floats
    """NaN where the exchange did not record one."""


@dataclass(frozen=True, slots=True)
class OpenInterest(TimeRows):
    """Five-minute snapshots of the open contracts, in coins and in USD."""

    base: Floats
    usd: Floats


def utc_index(time_ms: Integers) -> pd.DatetimeIndex:
    """The moments as a UTC index named ``ts_open``."""
    return pd.DatetimeIndex(time_ms.astype("datetime64[ms]"), name="ts_open").tz_localize("UTC")


def _with_last(values: npt.NDArray[np.generic], value: float) -> npt.NDArray[np.generic]:
    changed = values.copy()
    changed[-1] = value
    return changed
