"""A file's batches as one table: sorted, each key once, on the grid, closed, and possible."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, Table
from tradecore_pipeline.domain.time import FIRST_DAY, day_start
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.importing.values import Place
from tradecore_pipeline.quality.checks import validate_rows
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline.storage.differences import differing_rows

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_MINUTE_MS = 60_000
_NO_TRADES = "nothing was traded in it (volume is 0 throughout) while prices moved: mark or index prices are no trades"

Parts = Sequence[tuple[pa.Table, Place]]
"""A file's batches in its order."""


def checked(parts: Parts, table: Table, *, file: str, now: datetime, notes: Notes) -> pa.Table:
    """The rows of all parts, sorted by unique keys, from ``FIRST_DAY`` on.

    Raises:
        InvalidDataError: there are none, two differ under one key, one is off the grid, of another spacing, not closed
            at ``now``, or impossible.
    """
    rows = pa.concat_tables([part for part, _ in parts]) if parts else table.schema.empty_table()
    if not rows.num_rows:
        raise InvalidDataError(f"{file} holds no rows")
    keys = epoch_ms(rows.column(table.key))
    _check_closed(keys, parts, table, now=now)
    _check_grid(keys, parts, table, file=file)
    rows = _unique(rows, keys, parts)
    if table is BARS_1M:
        _check_traded(rows, file=file)
    keys = epoch_ms(rows.column(table.key))
    start, end = (datetime.fromtimestamp(int(key) / 1000, UTC) for key in keys[[0, -1]])
    try:
        validate_rows(table, rows, start=start, end=end + timedelta(milliseconds=1))
    except InvalidDataError as error:
        raise InvalidDataError(f"{file}: {error}") from error
    early = int(np.searchsorted(keys, round(day_start(FIRST_DAY).timestamp() * 1000)))
    if early:
        notes.add(f"rows before {FIRST_DAY} were left out: it is the first day there are partitions for", file)
    return rows.slice(early)


def _check_closed(keys: np.ndarray, parts: Parts, table: Table, *, now: datetime) -> None:
    known = keys + (_MINUTE_MS if table is BARS_1M else 0)
    for index in np.flatnonzero(known > round(now.timestamp() * 1000))[:1].tolist():
        raise InvalidDataError(f"{_at(parts, index)}: the row of {_stamp(int(keys[index]))} is not closed yet")


def _check_grid(keys: np.ndarray, parts: Parts, table: Table, *, file: str) -> None:
    if table.step is None:
        return
    step = round(table.step.total_seconds() * 1000)
    off = np.flatnonzero(keys % step)
    if table is BARS_1M and len(off):
        index = int(off[0])
        raise InvalidDataError(
            f"{_at(parts, index)}: {_stamp(int(keys[index]))} is no whole minute: give the moments at which bars open"
        )
    spacing = _spacing(keys)
    if spacing not in {0, step}:
        kind, wanted = ("bars", "1-minute") if table is BARS_1M else ("rows", f"{step // _MINUTE_MS}-minute")
        raise InvalidDataError(f"{file}: these are {_length(spacing)} {kind}; only {wanted} {kind} are imported")
    if len(off):
        index = int(off[0])
        raise InvalidDataError(
            f"{_at(parts, index)}: {_stamp(int(keys[index]))} is not on the grid of {step // 60_000} min"
        )


def _spacing(keys: np.ndarray) -> int:
    """The greatest step that leads from each key to every other; 0 where all are one."""
    steps = np.diff(keys)
    if len(steps) and steps.min() < 0:
        steps = np.diff(np.sort(keys))
    return int(np.gcd.reduce(steps)) if len(steps) else 0


def _unique(rows: pa.Table, keys: np.ndarray, parts: Parts) -> pa.Table:
    """Sorted by key; rows that stand twice are taken once."""
    if (np.diff(keys) > 0).all():
        return rows
    order = np.argsort(keys, kind="stable")
    rows, keys = rows.take(pa.array(order)), keys[order]
    repeated = np.flatnonzero(np.diff(keys) == 0)
    before, after = rows.take(pa.array(repeated)), rows.take(pa.array(repeated + 1))
    differ = np.flatnonzero(differing_rows(before, after))
    if len(differ):
        index = int(repeated[differ[0]])
        both = f"{_at(parts, int(order[index]))} and {_number(parts, int(order[index + 1]))}"
        raise InvalidDataError(f"{both}: two different rows for {_stamp(int(keys[index]))}")
    single = np.ones(len(keys), dtype=bool)
    single[repeated] = False
    return rows.filter(pa.array(single))


def _check_traded(rows: pa.Table, *, file: str) -> None:
    if (
        pc.max(rows.column("volume")).as_py() == 0
        and pc.any(pc.greater(rows.column("high"), rows.column("low"))).as_py()
    ):
        raise InvalidDataError(f"{file}: {_NO_TRADES}")


def _at(parts: Parts, index: int) -> str:
    """File and number of a row of all parts together."""
    for rows, place in parts:
        if index < rows.num_rows:
            return place.at(index) if place.word else place.file
        index -= rows.num_rows
    raise AssertionError("the row lies in one of the parts")


def _number(parts: Parts, index: int) -> str:
    return _at(parts, index).rpartition(" ")[2]


def _stamp(key: int) -> str:
    try:
        return datetime.fromtimestamp(int(key) / 1000, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{key} ms since 1970"


def _length(ms: int) -> str:
    for unit, size in (("d", 1440 * _MINUTE_MS), ("h", 60 * _MINUTE_MS), ("m", _MINUTE_MS), ("s", 1000)):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"
