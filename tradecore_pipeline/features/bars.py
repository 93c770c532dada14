"""Bars of one timeframe, aggregated from 1-minute bars."""

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.time import MINUTES_PER_DAY, Timeframe

CONTEXT = timedelta(days=1)
"""How far before ``start`` the 1-minute bars must reach, so that a day computed alone equals the full history."""

_MINUTE_MS = 60_000
_SUMS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def milliseconds(index: pd.Index) -> Integers:
    """The index's moments as milliseconds since 1970, UTC.

    Raises:
        InvalidDataError: the index is not UTC-aware, or not sorted and unique.
    """
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        raise InvalidDataError("rows must be indexed by UTC-aware times: read them through the storage package")
    moments = np.asarray(index.as_unit("ms").asi8, dtype=np.int64)
    if moments.size > 1 and not bool((np.diff(moments) > 0).all()):
        raise InvalidDataError("rows must be sorted by time and unique: validate the day before it is stored")
    return moments


def moments_index(moments: Integers, name: str) -> pd.DatetimeIndex:
    """The inverse of ``milliseconds``: a UTC index in milliseconds, as the tables store time."""
    return pd.DatetimeIndex(moments.astype("datetime64[ms]"), name=name).tz_localize("UTC")


def to_milliseconds(moment: datetime) -> int:
    """A UTC-aware moment as milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def aggregate_bars(bars_1m: pd.DataFrame, timeframe: Timeframe, *, start: datetime, end: datetime) -> pd.DataFrame:
    """The bars whose whole interval lies within [start, end), indexed by ``ts_open``; columns as in ``BARS``.

    A bar with no minutes is absent; ``minutes`` says how many went into each. A sum is NaN where one of its minutes has
    no value. ``realized_variance`` sums the squared log returns from each minute's last known close before it, across
    the bar's edge and across gaps, but reaches back at most one day: after a longer silence, and at the first minute
    ever, a minute's return counts nothing. So a day computed from its own minutes and those of the day before
    (``CONTEXT``) equals the full history.

    Raises:
        InvalidDataError: the minutes are not indexed by sorted, unique, UTC-aware times.
    """
    opened = milliseconds(bars_1m.index)
    length = timeframe.minutes * _MINUTE_MS
    close = bars_1m["close"].to_numpy(dtype=np.float64)
    squared_returns = _squared_returns(opened, close)

    first = -(-to_milliseconds(start) // length) * length
    last = to_milliseconds(end) // length * length
    inside = slice(*np.searchsorted(opened, [first, last]).tolist())
    codes = opened[inside] // length
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    keys = codes[starts] * length

    columns: dict[str, object] = {"ts_close": moments_index(keys + length, "ts_close")}
    columns |= _prices(bars_1m.iloc[inside], starts)
    for name in _SUMS:
        columns[name] = _sums(bars_1m[name].to_numpy(dtype=np.float64)[inside], starts)
    columns["realized_variance"] = _sums(squared_returns[inside], starts)
    columns["minutes"] = np.diff(starts, append=codes.size).astype(np.int32)
    return pd.DataFrame(columns, index=moments_index(keys, "ts_open"))


def _squared_returns(opened: Integers, close: Floats) -> Floats:
    squared = np.zeros(close.size)
    if close.size > 1:
        near = np.diff(opened) <= MINUTES_PER_DAY * _MINUTE_MS
        squared[1:] = np.where(near, np.diff(np.log(close)) ** 2, 0.0)
    return squared


def _prices(minutes: pd.DataFrame, starts: npt.NDArray[np.intp]) -> dict[str, Floats]:
    prices = {name: minutes[name].to_numpy(dtype=np.float64) for name in ("open", "high", "low", "close")}
    if not starts.size:
        return prices
    last = np.append(starts[1:], len(minutes)) - 1
    return {
        "open": prices["open"][starts],
        "high": np.maximum.reduceat(prices["high"], starts),
        "low": np.minimum.reduceat(prices["low"], starts),
        "close": prices["close"][last],
    }


def _sums(values: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    return np.add.reduceat(values, starts) if starts.size else values
