"""What each feature of funding and open interest computes; all NaN for spot, which has neither.

A settlement or snapshot counts for the bars that close after its moment: one stamped exactly at a bar's close (midnight
is the usual case) is stored with the next day, and exchanges publish it some moments later than stamped.
"""

import numpy as np
import numpy.typing as npt

from tradecore_pipeline.features.bars import milliseconds
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.windows import window_zscore

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_HOUR_MS = 3_600_000
FUNDING_AGE_HOURS = 24
"""A settlement older than this no longer stands: something is missing (intervals are one to eight hours)."""
OPEN_INTEREST_AGE_HOURS = 1
"""A snapshot older than this no longer stands (the slowest exchange publishes one an hour)."""
MEAN_DAYS = 7
ZSCORE_BARS = 168


def funding_rate(sources: Sources) -> Floats:
    """Feature ``funding_rate``."""
    closed = _closed(sources)
    if sources.funding is None or sources.funding.empty:
        return np.full(closed.size, np.nan)
    settled = milliseconds(sources.funding.index)
    rates = sources.funding["funding_rate"].to_numpy(dtype=np.float64)
    return _standing(settled, rates, closed, FUNDING_AGE_HOURS * _HOUR_MS)


def funding_rate_mean_7d(sources: Sources) -> Floats:
    """Feature ``funding_rate_mean_7d``."""
    closed = _closed(sources)
    if sources.funding is None or sources.funding.empty:
        return np.full(closed.size, np.nan)
    settled = milliseconds(sources.funding.index)
    rates = sources.funding["funding_rate"].to_numpy(dtype=np.float64)
    age = FUNDING_AGE_HOURS * _HOUR_MS
    opened = closed - MEAN_DAYS * 24 * _HOUR_MS
    first, after = np.searchsorted(settled, opened), np.searchsorted(settled, closed)
    some = after > first
    earliest = settled[np.minimum(first, settled.size - 1)]
    latest = settled[np.maximum(after - 1, 0)]
    covered = some & (earliest < opened + age) & (latest >= closed - age)
    means = np.full(closed.size, np.nan)
    rows = np.flatnonzero(covered)
    moved = (np.diff(first[rows], prepend=-1) != 0) | (np.diff(after[rows], prepend=-1) != 0)
    starts = np.flatnonzero(moved)  # rows between two settlements share their mean
    shared = [rates[first[row] : after[row]].mean() for row in rows[starts].tolist()]
    means[rows] = np.repeat(shared, np.diff(starts, append=rows.size))
    return means


def open_interest_change_1(sources: Sources) -> Floats:
    """Feature ``open_interest_change_1``."""
    closed = _closed(sources)
    return _log_open_interest(sources, closed) - _log_open_interest(sources, closed - _bar_ms(sources))


def open_interest_zscore_168(sources: Sources) -> Floats:
    """Feature ``open_interest_zscore_168``."""
    values = _log_open_interest(sources, _closed(sources))
    return window_zscore(values, ZSCORE_BARS, least=ZSCORE_BARS * 2 // 3)


def _log_open_interest(sources: Sources, at: Integers) -> Floats:
    if sources.open_interest is None or sources.open_interest.empty:
        return np.full(at.size, np.nan)
    taken = milliseconds(sources.open_interest.index)
    amounts = sources.open_interest["open_interest_base"].to_numpy(dtype=np.float64)
    logs = np.log(np.where(amounts > 0, amounts, np.nan))
    return _standing(taken, logs, at, OPEN_INTEREST_AGE_HOURS * _HOUR_MS)


def _standing(known_at: Integers, values: Floats, at: Integers, age: int) -> Floats:
    """The last value known before each moment, NaN where it is older than ``age``."""
    last = np.searchsorted(known_at, at) - 1
    safe = np.maximum(last, 0)
    return np.where((last >= 0) & (known_at[safe] >= at - age), values[safe], np.nan)


def _closed(sources: Sources) -> Integers:
    return milliseconds(sources.bars.index) + _bar_ms(sources)


def _bar_ms(sources: Sources) -> int:
    return sources.timeframe.minutes * 60_000
