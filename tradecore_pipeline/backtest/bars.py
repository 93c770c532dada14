"""Bars and settlements as arrays, checked once when they are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tradecore_pipeline.backtest.state import Floats, Integers, Payments
from tradecore_pipeline.domain.errors import InvalidDataError, UsageError

_NEVER = np.iinfo(np.int64).max
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Settlements as the exchange made them, one row each: no interval is assumed, its own times are the interval.

    Attributes:
        ts_settle: ns since 1970, increasing.
        rate: fraction of the position's value; longs pay positive ones.
        mark: price that values the position; NaN where unknown: the open of the bar that it falls in or, between two
            bars, of the later one.
    """

    ts_settle: Integers
    rate: Floats
    mark: Floats

    def __post_init__(self) -> None:
        if not len(self.ts_settle) == len(self.rate) == len(self.mark):
            raise UsageError("funding: times, rates and marks differ in number")
        _require_increasing(self.ts_settle, "funding")
        if not np.isfinite(self.rate).all():
            raise InvalidDataError("funding: a rate is NaN or infinite; leave settlements without a rate out")
        if (self.mark <= 0).any() or np.isinf(self.mark).any():
            raise InvalidDataError("funding: a mark price is not positive; write NaN where it is unknown")

    @classmethod
    def none(cls) -> Self:
        """No settlements: spot."""
        return cls(ts_settle=np.empty(0, np.int64), rate=np.empty(0), mark=np.empty(0))

    @classmethod
    def of(cls, ts_settle: ArrayLike, rate: ArrayLike, mark: ArrayLike | None) -> Self:
        """From columns; ``ts_settle`` in UTC-aware times or ns, no ``mark`` where none is known."""
        rates = _floats(rate)
        marks = np.full(len(rates), np.nan) if mark is None else _floats(mark)
        return cls(ts_settle=_nanoseconds(ts_settle), rate=rates, mark=marks)


@dataclass(frozen=True, kw_only=True)
class BarArrays:
    """Bars of one instrument, ns since 1970 and float64 prices; gaps in time are allowed, disorder is not.

    Attributes:
        inner: finer bars, each inside one of these: stops, targets, trailing and settlements are then followed through
            them. A bar without any is its own.
        funding: settlements, on whatever grid the exchange has.
    """

    ts_open: Integers
    ts_close: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    funding: Funding
    inner: "BarArrays | None"

    def __post_init__(self) -> None:
        columns = {name: getattr(self, name) for name in ("ts_open", "ts_close", *_PRICES)}
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise UsageError(f"bars: columns differ in length: {sizes}")
        if not len(self.ts_open):
            raise UsageError("bars: there is not one bar; choose a window that holds some")
        _require_prices({name: columns[name] for name in _PRICES}, self.ts_open)
        _require_increasing(self.ts_open, "bars")
        if (self.ts_close <= self.ts_open).any() or (self.ts_close[:-1] > self.ts_open[1:]).any():
            raise InvalidDataError("bars: a bar closes before it opens, or after the next one opens")
        if self.inner is not None:
            _ = self.inner_first

    def __len__(self) -> int:
        return len(self.ts_open)

    @classmethod
    def of(cls, frame: pd.DataFrame, *, funding: Funding, inner: "BarArrays | None") -> Self:
        """From a DataFrame indexed by UTC ``ts_open`` with ``ts_close`` and prices.

        Raises:
            UsageError: columns are missing or differ in length, or there are no bars.
            InvalidDataError: prices that cannot be, or times that are unsorted or twice there.
        """
        missing = [name for name in ("ts_close", *_PRICES) if name not in frame.columns]
        if missing:
            raise UsageError(f"bars: there is no column {', '.join(missing)}")
        prices: Mapping[str, Floats] = {name: _floats(frame[name]) for name in _PRICES}
        return cls(
            ts_open=_nanoseconds(frame.index), ts_close=_nanoseconds(frame["ts_close"]), **prices, funding=funding,
            inner=inner,
        )  # fmt: skip

    @cached_property
    def inner_first(self) -> Integers:
        """(bars + 1,): where each bar's rows in ``path`` begin; empty without inner bars."""
        if self.inner is None:
            return np.empty(0, np.int64)
        inside = np.searchsorted(self.ts_open, self.inner.ts_open, side="right") - 1
        if (inside < 0).any() or (self.inner.ts_close > self.ts_close[inside]).any():
            raise InvalidDataError("inner bars: one does not lie inside a bar; cut them to the bars' window")
        counts = np.bincount(inside, minlength=len(self))
        return np.concatenate(([0], np.cumsum(np.maximum(counts, 1)))).astype(np.int64)

    @cached_property
    def path(self) -> "BarArrays":
        """The finest bars there are: the inner ones, and the bar itself where it has none; without inner bars these."""
        if self.inner is None:
            return self
        counts = np.bincount(np.searchsorted(self.ts_open, self.inner.ts_open, side="right") - 1, minlength=len(self))
        alone = np.flatnonzero(counts == 0)
        order = np.argsort(np.concatenate((self.inner.ts_open, self.ts_open[alone])), kind="stable")

        def joined(name: str) -> np.ndarray:
            return np.concatenate((getattr(self.inner, name), getattr(self, name)[alone]))[order]

        columns = {name: joined(name) for name in ("ts_open", "ts_close", *_PRICES)}
        return BarArrays(**columns, funding=Funding.none(), inner=None)

    @cached_property
    def extremes(self) -> tuple[Floats, Floats]:
        """Highs and lows of the path inside each bar."""
        if self.inner is None:
            return self.high, self.low
        begins = self.inner_first[:-1]
        return np.maximum.reduceat(self.path.high, begins), np.minimum.reduceat(self.path.low, begins)

    @cached_property
    def payments(self) -> Payments:
        """The settlements on the path, for the compiled rules."""
        path, times = self.path, self.funding.ts_settle
        at = np.searchsorted(path.ts_open, times, side="right") - 1
        inside = (at >= 0) & (times < path.ts_close[at])
        after_open = inside & (times > path.ts_open[at])
        at = np.where(inside, at, at + 1)
        kept = at < len(path)
        at, after_open = at[kept], after_open[kept]
        mark = self.funding.mark[kept]
        paid = self.funding.rate[kept] * np.where(np.isnan(mark), path.open[at], mark)
        return Payments(np.concatenate((2 * at + after_open, [_NEVER])).astype(np.int64), np.concatenate((paid, [0.0])))


def _floats(values: ArrayLike) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float64)


def _nanoseconds(times: ArrayLike) -> Integers:
    """Times as ns since 1970; integers are taken as such."""
    if np.asarray(times).dtype.kind in "iu":
        return np.ascontiguousarray(times, dtype=np.int64)
    index = pd.DatetimeIndex(times)  # type: ignore[arg-type]  # pandas' stubs do not know that it takes any array
    if index.tz is None:
        raise UsageError("times have no time zone: make them UTC-aware, for example with tz_localize('UTC')")
    return index.tz_convert("UTC").as_unit("ns").asi8


def _require_increasing(times: Integers, what: str) -> None:
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if len(wrong):
        kind = "twice" if times[wrong[0]] == times[wrong[0] + 1] else "out of order"
        moment = pd.Timestamp(int(times[wrong[0] + 1]), tz="UTC")
        raise InvalidDataError(f"{what}: {moment} comes {kind}; sort the rows by time and keep one of each")


def _require_prices(prices: Mapping[str, Floats], ts_open: Integers) -> None:
    for name, column in prices.items():
        wrong = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
        if len(wrong):
            moment = pd.Timestamp(int(ts_open[wrong[0]]), tz="UTC")
            raise InvalidDataError(f"bars: {name} of {moment} is {column[wrong[0]]}; prices are positive numbers")
    body_high = np.maximum(prices["open"], prices["close"])
    body_low = np.minimum(prices["open"], prices["close"])
    wrong = np.flatnonzero((prices["high"] < body_high) | (prices["low"] > body_low))
    if len(wrong):
        moment = pd.Timestamp(int(ts_open[wrong[0]]), tz="UTC")
        raise InvalidDataError(f"bars: high or low of {moment} lies inside its open and close")
