"""The rows of all files as fetched days: which minutes a day lacks, and whether that is final."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, pairwise

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET, FetchedDay, Gap, SourceFile
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.importing.joining import Joined, Part, join
from tradecore_pipeline.importing.read import ImportedFile
from tradecore_pipeline.importing.settlements import measured, whole_days
from tradecore_pipeline.quality.gaps import epoch_ms, find_gaps

IMPORTED = "import"
FILE_HOST = "file"
_ONE_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_REST = "a backfill asks the exchange for the rest"
_NOT_OVER = "day not over"

Verdict = tuple[tuple[Gap, ...], bool, str]
"""What is missing, whether the day is complete, and why not."""


def fetched_days(
    files: Sequence[ImportedFile], table: Table, instrument: Instrument, *, now: datetime, replace: bool
) -> Iterator[FetchedDay]:
    """Each UTC day that some file has rows of, in order.

    Args:
        files: what was read.
        table: the table of their rows.
        instrument: whose rows they are.
        now: the present moment: a day that lasts is not complete.
        replace: whether rows of the day that are stored already give way; else they stay.

    Raises:
        InvalidDataError: two files contradict each other.
    """
    joined = ((day, join(parts, table)) for day, parts in _by_day(files, table))
    judged = _settled(list(joined), now=now) if table is FUNDING_RATES else _on_grid(joined, table, now=now)
    for day, whole, (gaps, complete, reason) in judged:
        yield FetchedDay(
            instrument=instrument,
            dataset=table.name,
            day=day,
            rows=whole.rows.combine_chunks(),
            source=IMPORTED,
            host=FILE_HOST,
            market=REAL_MARKET,
            files=tuple(SourceFile(file.name, file.sha256) for file in whole.files),
            gaps=gaps,
            complete=complete,
            reason=reason,
            forgotten=not replace,
        )


def _by_day(files: Sequence[ImportedFile], table: Table) -> Iterator[tuple[date, list[Part]]]:
    """The rows by UTC day; the file whose rows begin first comes first."""
    spans: dict[int, list[tuple[ImportedFile, int, int]]] = {}
    for file in sorted((f for f in files if f.rows.num_rows), key=lambda f: f.rows.column(table.key)[0].as_py()):
        days = epoch_ms(file.rows.column(table.key)) // _DAY_MS
        starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
        for start, end in pairwise(starts):
            spans.setdefault(int(days[start]), []).append((file, start, end))
    for number in sorted(spans):
        parts = [(file, file.rows.slice(start, end - start)) for file, start, end in spans[number]]
        yield _day(number), parts


def _day(number: int) -> date:
    return datetime.fromtimestamp(number * _DAY_MS / 1000, UTC).date()


def _on_grid(
    joined: Iterator[tuple[date, Joined]], table: Table, *, now: datetime
) -> Iterator[tuple[date, Joined, Verdict]]:
    """The days of a table on a grid, each row of which can be seen to be there or missing."""
    assert table.step is not None  # noqa: S101 (the caller chose by it)
    unit = "minutes" if table is BARS_1M else "snapshots"
    for day, whole in joined:
        start = day_start(day)
        end = start + _ONE_DAY
        passed = max(timedelta(0), min(end, now) - start) // table.step * table.step
        gaps = find_gaps(whole.rows.column(table.key), start=start, end=start + passed, step=table.step)
        reason = ""
        if now < end:
            reason = _NOT_OVER
        elif gaps:
            reason = f"imported with {whole.rows.num_rows} of {_ONE_DAY // table.step} {unit}: {_REST}"
        yield day, whole, (gaps, not reason, reason)


def _settled(joined: list[tuple[date, Joined]], *, now: datetime) -> Iterator[tuple[date, Joined, Verdict]]:
    """The days of settlements, whose intervals are measured over all of them."""
    rows = measured(pa.concat_tables([whole.rows for _, whole in joined]))
    whole = whole_days(rows)
    ends = accumulate(day.rows.num_rows for _, day in joined)
    for (day, found), end in zip(joined, ends, strict=True):
        count = found.rows.num_rows
        reason = ""
        if now < day_start(day) + _ONE_DAY:
            reason = _NOT_OVER
        elif day not in whole:
            reason = f"imported with {count} settlements, and some may be missing: {_REST}"
        yield day, Joined(rows.slice(end - count, count), found.files), ((), not reason, reason)
