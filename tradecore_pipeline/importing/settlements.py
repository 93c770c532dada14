"""Imported funding settlements: the time between them, and on which days none can be missing."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.quality.gaps import epoch_ms

LONGEST_INTERVAL = timedelta(hours=8)
"""No exchange settles less often: across a longer silence, rows are missing."""
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_LONGEST_MS = round(LONGEST_INTERVAL.total_seconds() * 1000)


def measured(rows: pa.Table) -> pa.Table:
    """The settlements (sorted) with the minutes since the one before; a file's own word where that is unknown."""
    steps = np.diff(epoch_ms(rows.column("ts_settle")))
    known = np.concatenate([[False], steps <= _LONGEST_MS])
    minutes = np.concatenate([[0], steps // _MINUTE_MS])
    told: Sequence[int | None] = rows.column("funding_interval_minutes").to_pylist()
    intervals = [int(m) if is_known else own for m, is_known, own in zip(minutes, known, told, strict=True)]
    columns = [rows.column("ts_settle"), rows.column("funding_rate"), pa.array(intervals, type=pa.int32())]
    return pa.Table.from_arrays(columns, schema=FUNDING_RATES.schema)


def whole_days(times: np.ndarray) -> set[int]:
    """The days (counted from 1970) whose settlements, of those at ``times`` (ms, sorted), are all there.

    A silence longer than any interval, or longer than the two beside it, has rows missing. Before the first and after
    the last settlement the interval is taken to be the nearest one.
    """
    steps = np.diff(times)
    if not len(steps):
        return set()
    beside = np.concatenate([steps[:1], steps, steps[-1:]])
    holes = (steps > _LONGEST_MS) | ((steps > beside[:-2]) & (steps > beside[2:]))
    first, last = int(times[0]), int(times[-1])
    days = set(np.unique(times // _DAY_MS).tolist())
    if first - int(steps[0]) >= first // _DAY_MS * _DAY_MS:
        days.discard(first // _DAY_MS)
    if last + int(steps[-1]) < (last // _DAY_MS + 1) * _DAY_MS:
        days.discard(last // _DAY_MS)
    for index in np.flatnonzero(holes).tolist():
        begin, end = int(times[index]) + 1, int(times[index + 1]) - 1
        days -= set(range(begin // _DAY_MS, end // _DAY_MS + 1))
    return days
