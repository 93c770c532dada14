"""Imported funding settlements: the time between them, and on which days none can be missing."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.settlements import LONGEST_INTERVAL, is_doubtful, with_intervals
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_ONE_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_LONGEST_MS = round(LONGEST_INTERVAL.total_seconds() * 1000)
_BESIDE = 2
"""Rows before and after a day that tell whether a silence at its ends is longer than it should be."""


def measured(rows: pa.Table) -> pa.Table:
    """The settlements (sorted) with the minutes since the one before; a file's own word where that is unknown."""
    told = rows.column("funding_interval_minutes").combine_chunks()
    since_before = with_intervals(rows, first_minutes=None).column("funding_interval_minutes").combine_chunks()
    unknown = np.concatenate([[True], np.diff(epoch_ms(rows.column("ts_settle"))) > _LONGEST_MS])
    intervals = pc.if_else(pa.array(unknown), told, since_before)
    columns = [rows.column("ts_settle"), rows.column("funding_rate"), intervals]
    return pa.Table.from_arrays(columns, schema=FUNDING_RATES.schema)


def whole_days(rows: pa.Table) -> set[date]:
    """The days whose settlements, of ``rows`` (sorted, with intervals), are all there, as for fetched ones.

    Before the first and after the last settlement the interval is taken to be the nearest one.
    """
    times = epoch_ms(rows.column("ts_settle"))
    if len(times) < 2:
        return set()
    edges = [0, *(np.flatnonzero(np.diff(times // _DAY_MS)) + 1).tolist(), len(times)]
    whole = {_day_of(int(times[begin])) for begin, end in pairwise(edges) if not _may_lack(rows, begin, end)}
    first, last = int(times[0]), int(times[-1])
    if first - int(times[1] - times[0]) >= first // _DAY_MS * _DAY_MS:
        whole.discard(_day_of(first))
    if last + int(times[-1] - times[-2]) < (last // _DAY_MS + 1) * _DAY_MS:
        whole.discard(_day_of(last))
    return whole


def _may_lack(rows: pa.Table, begin: int, end: int) -> bool:
    """Whether a settlement may be missing from the day whose rows are those from ``begin`` to ``end``."""
    before = max(0, begin - _BESIDE)
    start = day_start(rows.column("ts_settle")[begin].as_py().date())
    around = rows.slice(before, end + _BESIDE - before)
    return is_doubtful(around, start=start, end=start + _ONE_DAY, longest=LONGEST_INTERVAL)


def _day_of(moment: int) -> date:
    return datetime.fromtimestamp(moment / 1000, UTC).date()
