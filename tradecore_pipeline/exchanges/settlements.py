"""Days of funding settlements from a REST endpoint: intervals are measured, silences are asked about twice.

An interval is the distance to the settlement before, so that the same rows come out however the days were sliced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.answers import MOST_ASKS, Answer, Read, SeenSince, check_silence
from tradecore_pipeline.exchanges.pieces import LATE_ROWS, ONE_DAY, Asked, Verdict, assemble, cut, judge
from tradecore_pipeline.quality.gaps import epoch_ms

_BEGINNING = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class FundingSeries:
    """One instrument's settlements and how to ask for them."""

    instrument: Instrument
    read: Read
    """Must also give the last settlement before the window, where there is one."""
    seen_since: SeenSince
    longest_interval: timedelta
    """The exchange never settles less often: a longer silence means missing rows."""


def funding_days(
    series: FundingSeries, days: Sequence[date], *, now: datetime, opened: datetime
) -> Iterator[FetchedDay]:
    """Days, ascending, in order; none of them ends before ``opened``, when the instrument's trading began."""
    start, end = day_start(days[0]), day_start(days[-1]) + ONE_DAY
    answer = _ask(series, start=start, end=end, now=now, opened=opened)
    known = with_intervals(_all_rows(answer, end=end), first_minutes=None)
    for day in days:
        yield _day(series, answer, day, known=known, now=now)


def with_intervals(rows: pa.Table, *, first_minutes: int | None) -> pa.Table:
    """Settlements with the minutes since the one before; ``first_minutes`` is the first row's."""
    minutes = np.diff(epoch_ms(rows.column("ts_settle"))) // 60_000
    intervals = pa.array([first_minutes, *minutes.tolist()][: rows.num_rows], type=pa.int32())
    columns = [rows.column("ts_settle"), rows.column("funding_rate"), intervals]
    return pa.Table.from_arrays(columns, schema=FUNDING_RATES.schema)


def _ask(series: FundingSeries, *, start: datetime, end: datetime, now: datetime, opened: datetime) -> Answer:
    """A day more at the end, to see that a silence is over; twice where the rows look as if some were left out."""
    until = min(end + ONE_DAY, now + timedelta(milliseconds=1))
    answer = series.read(start, until)
    times = _times(_all_rows(answer, end=until))
    for _ in range(MOST_ASKS - 1):
        if not _irregular(times, start=start, until=until, longest=series.longest_interval, opened=opened):
            break
        known = len(times)
        answer = answer.and_then(series.read(start, until))
        times = _times(_all_rows(answer, end=until))
        if len(times) == known:
            break
    shown = times[-1] if times else start
    if end <= now and end - shown > series.longest_interval and times:
        since = shown + timedelta(minutes=1)
        check_silence(series.seen_since, FUNDING_RATES, since=since, host=answer.pieces[0].host)
    return answer


def _irregular(
    times: Sequence[datetime], *, start: datetime, until: datetime, longest: timedelta, opened: datetime
) -> bool:
    """Whether some settlement may have been left out: silences, or intervals that are not all the same."""
    if not times or until - times[-1] > longest or times[0] >= start > opened:
        return True
    return len({later - earlier for earlier, later in pairwise(times)}) > 1


def _day(series: FundingSeries, answer: Answer, day: date, *, known: pa.Table, now: datetime) -> FetchedDay:
    start = day_start(day)
    end = start + ONE_DAY
    piece = answer.window(FUNDING_RATES, start=start, end=end)
    piece = replace(piece, rows=cut(replace(piece, rows=known), FUNDING_RATES, start=start, end=end).rows)
    shown = answer.seen_until or start
    gaps = _gaps(_times(known), start=start, end=end, longest=series.longest_interval)
    verdict = judge(piece, FUNDING_RATES, day=day, gaps=gaps, asked=Asked(now, shown, ""))
    if verdict.complete and end - shown > series.longest_interval and now < end + LATE_ROWS:
        verdict = Verdict(gaps, complete=False, reason="no later settlement yet (halted or delayed)")
    return assemble(series.instrument, FUNDING_RATES, day, piece, verdict)


def _gaps(times: Sequence[datetime], *, start: datetime, end: datetime, longest: timedelta) -> tuple[Gap, ...]:
    """Settlements that should lie in [start, end).

    A silence longer than any interval, or a whole number of intervals where the settlements before and after it kept
    one and the same: an interval that changed for good is no gap.
    """
    gaps: list[Gap] = []
    distances = [later - earlier for earlier, later in pairwise(times)]
    for place, silence in enumerate(distances):
        before = distances[place - 1] if place else None
        after = distances[place + 1] if place + 1 < len(distances) else None
        step = before or (after if silence > longest else None)
        skipped = step is not None and step == after and silence > step and not silence % step
        if step is None or not (silence > longest or skipped):
            continue
        slots = [times[place] + step * count for count in range(1, -(-silence // step))]
        missing = [slot for slot in slots if start <= slot < end]
        if missing:
            gaps.append(Gap(missing[0], missing[-1], len(missing)))
    return tuple(gaps)


def _all_rows(answer: Answer, *, end: datetime) -> pa.Table:
    return answer.window(FUNDING_RATES, start=end - _BEGINNING, end=end).rows


def _times(rows: pa.Table) -> list[datetime]:
    return rows.column("ts_settle").to_pylist()
