"""Days of funding settlements: how intervals are measured, and what counts as missing, whatever the source.

An interval is the distance to the settlement before, so that the same rows come out however the days were sliced and
whichever route they came by.
"""

from bisect import bisect_left
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
from tradecore_pipeline.exchanges.answers import MOST_ASKS, Answer, Read, SeenSince, read_on
from tradecore_pipeline.exchanges.pieces import LATE_ROWS, ONE_DAY, Asked, Piece, Verdict, assemble, cut, judge
from tradecore_pipeline.quality.gaps import epoch_ms

LONGEST_INTERVAL = timedelta(hours=8)
"""Binance, Bybit and OKX never settle less often: a longer silence means missing rows, a shorter one may be a changed
interval."""
_BEGINNING = timedelta(days=36_500)
_MINUTE = timedelta(minutes=1)


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
    answer, doubts = confirm_silences(series.read, answer, days, now=now)
    known = with_intervals(_all_rows(answer, end=now + ONE_DAY), first_minutes=None)
    asked = Asked(now, answer.seen_until, "")
    for day in days:
        first = day_start(day)
        piece = answer.window(FUNDING_RATES, start=first, end=first + ONE_DAY)
        yield settlement_day(
            series.instrument,
            day,
            piece,
            known,
            asked=asked,
            longest=series.longest_interval,
            doubt=doubts.get(day, ""),
        )


def confirm_silences(
    read: Read, answer: Answer, days: Sequence[date], *, now: datetime
) -> tuple[Answer, dict[date, str]]:
    """``answer`` with what asking again about its days without any settlement brought, and why some are not proven so.

    Exchanges settle every few hours, so one window's word, however often repeated, is not taken for a whole day of
    ``days`` that is over and that settlements follow. The silence around it is asked about in two windows of its own:
    it is real where both show the settlements at its ends, and none between.
    """
    judged: dict[_Silence, str] = {}
    # Each round judges a silence or finds a settlement in it, which leaves smaller ones.
    for _ in range(len(days) + MOST_ASKS):
        waiting = [silence for silence in _silent_days(answer, days, now=now).values() if silence not in judged]
        if not waiting:
            break
        told = [read(start, end) for start, end in waiting[0].windows(now)]
        judged[waiting[0]] = waiting[0].doubt(told)
        for one in told:
            answer = answer.and_then(one)
    silent = _silent_days(answer, days, now=now)
    doubts = {day: judged.get(silence, "the exchange shows others each time") for day, silence in silent.items()}
    return answer, {day: doubt for day, doubt in doubts.items() if doubt}


def with_intervals(rows: pa.Table, *, first_minutes: int | None) -> pa.Table:
    """Settlements with the minutes since the one before; ``first_minutes`` is the first row's."""
    minutes = np.diff(epoch_ms(rows.column("ts_settle"))) // 60_000
    intervals = pa.array([first_minutes, *minutes.tolist()][: rows.num_rows], type=pa.int32())
    columns = [rows.column("ts_settle"), rows.column("funding_rate"), intervals]
    return pa.Table.from_arrays(columns, schema=FUNDING_RATES.schema)


def settlement_day(
    instrument: Instrument, day: date, piece: Piece, known: pa.Table, *, asked: Asked, longest: timedelta, doubt: str
) -> FetchedDay:
    """The day's part of ``known``: all settlements that the sources told, with intervals, beyond the day as well.

    Args:
        instrument: whose they are.
        day: the day.
        piece: what ``known`` holds of the day, and where it came from.
        known: settlements before, on and after the day, so that silences can be told from ends.
        asked: what the exchange said; a failure to ask it counts only where a settlement may be missing.
        longest: the exchange never settles less often.
        doubt: why a day without settlements may have some all the same; such a day is never final.
    """
    start = day_start(day)
    end = start + ONE_DAY
    piece = replace(piece, rows=cut(replace(piece, rows=known), FUNDING_RATES, start=start, end=end).rows)
    shown = max((moment for moment in (asked.seen_until, *_times(known)[-1:]) if moment is not None), default=start)
    gaps = missing_settlements(known, start=start, end=end, longest=longest)
    failure = asked.failure if gaps or is_silent(known, start=start, end=end, longest=longest) else ""
    verdict = judge(piece, FUNDING_RATES, day=day, gaps=gaps, asked=Asked(asked.now, shown, failure))
    unsettled = end - shown > longest or _undecided(known, start=start, end=end)
    if verdict.complete and unsettled and asked.now < end + LATE_ROWS:
        verdict = Verdict(gaps, complete=False, reason="no later settlement yet (halted or delayed)")
    if doubt and verdict.complete and not piece.rows.num_rows:
        verdict = Verdict(gaps, complete=False, reason=f"no settlements, which is not proven: {doubt}")
    return assemble(instrument, FUNDING_RATES, day, piece, verdict)


def is_doubtful(rows: pa.Table, *, start: datetime, end: datetime, longest: timedelta) -> bool:
    """Whether ``rows`` (sorted, with intervals) show that some settlement of [start, end) was left out."""
    gaps = missing_settlements(rows, start=start, end=end, longest=longest)
    return bool(gaps) or is_silent(rows, start=start, end=end, longest=longest)


def is_uneven(rows: pa.Table) -> bool:
    """Whether the intervals between ``rows`` differ: one may have been left out, or the exchange changed them."""
    return len({later - earlier for earlier, later in pairwise(_times(rows))}) > 1


def is_silent(rows: pa.Table, *, start: datetime, end: datetime, longest: timedelta) -> bool:
    """Whether somewhere in [start, end) there was silence for longer than any interval."""
    times = _times(rows)
    before = max((time for time in times if time < start), default=start)
    after = min((time for time in times if time >= end), default=end)
    inside = [time for time in times if start <= time < end]
    return any(later - earlier > longest for earlier, later in pairwise([before, *inside, after]))


def missing_settlements(rows: pa.Table, *, start: datetime, end: datetime, longest: timedelta) -> tuple[Gap, ...]:
    """Settlements that should lie in [start, end), given ``rows`` (sorted, with intervals) around it.

    They are missing from a silence longer than any interval, and from one of a whole number of intervals where those
    before and after it are one and the same: an interval that changed for good is no gap. A first row whose own
    interval is unknown is taken to have the one after its silence.
    """
    gaps: list[Gap] = []
    intervals: list[int | None] = rows.column("funding_interval_minutes").to_pylist()
    following = [*intervals[2:], None]
    for (earlier, later), before, after in zip(pairwise(_times(rows)), intervals, following, strict=False):
        silence, minutes = later - earlier, before or after
        if minutes is None:
            continue
        step = timedelta(minutes=minutes)
        skipped = before == after and silence > step and not silence % step
        if silence <= longest and not skipped:
            continue
        slots = [earlier + step * count for count in range(1, -(-silence // step))]
        missing = [slot for slot in slots if start <= slot < end]
        if missing:
            gaps.append(Gap(missing[0], missing[-1], len(missing)))
    return tuple(gaps)


def _undecided(rows: pa.Table, *, start: datetime, end: datetime) -> bool:
    """Whether the newest interval grew inside [start, end): the next one tells if a settlement is missing from it."""
    *_, first, second, third = [None, None, None, *_times(rows)]
    if first is None or second is None or third is None:
        return False
    step = second - first
    return third - second > step and second + step < end and third - step >= start


def _ask(series: FundingSeries, *, start: datetime, end: datetime, now: datetime, opened: datetime) -> Answer:
    """A day more at the end, to see that a silence is over; twice where the rows look as if some were left out."""
    until = min(end + ONE_DAY, now + timedelta(milliseconds=1))
    answer = series.read(start, until)
    rows = _all_rows(answer, end=until)
    for _ in range(MOST_ASKS - 1):
        if not _irregular(rows, start=start, until=until, longest=series.longest_interval, opened=opened):
            break
        known = rows.num_rows
        answer = answer.and_then(series.read(start, until))
        rows = _all_rows(answer, end=until)
        if rows.num_rows == known:
            break
    shown = _times(rows)[-1] if rows.num_rows else max(start, opened) - _MINUTE
    ended = last_midnight(end, now)
    if ended > start and ended - shown > series.longest_interval:
        since = shown + _MINUTE
        return read_on(answer, series.read, series.seen_since, FUNDING_RATES, since=since, stop=until)
    return answer


@dataclass(frozen=True, slots=True)
class _Silence:
    """No settlement between two that are known; days without any lie in it."""

    before: datetime | None
    """None where none is known before it."""
    after: datetime
    first: date
    """The first of those days."""

    def windows(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """What to ask: from one end to the other, and a day more on both sides."""
        start = day_start(self.first) - ONE_DAY if self.before is None else self.before
        end = self.after + _MINUTE
        return [(start, end), (start - ONE_DAY, min(end + ONE_DAY, now + timedelta(milliseconds=1)))]

    def doubt(self, told: Sequence[Answer]) -> str:
        """Why these answers do not prove it; empty where they do."""
        for answer in told:
            times = _times(_all_rows(answer, end=self.after + _MINUTE))
            if self.after not in times or (self.before is not None and self.before not in times):
                return f"{answer.pieces[0].host} did not even show the settlements around it when asked about it alone"
        return ""


def _silent_days(answer: Answer, days: Sequence[date], *, now: datetime) -> dict[date, _Silence]:
    """The days that are over and without settlements, with the silence they lie in, if some settlement ends it."""
    times = _times(_all_rows(answer, end=now + ONE_DAY))
    silences: dict[tuple[datetime | None, datetime], _Silence] = {}
    found: dict[date, _Silence] = {}
    for day in days:
        start = day_start(day)
        place = bisect_left(times, start)
        if start + ONE_DAY > now or place == len(times) or times[place] < start + ONE_DAY:
            continue
        ends = times[place - 1] if place else None, times[place]
        found[day] = silences.setdefault(ends, _Silence(*ends, day))
    return found


def last_midnight(end: datetime, now: datetime) -> datetime:
    """``end`` (a midnight), or the last one that has passed: before it, a silence is more than "not yet"."""
    return min(end, day_start(now.date()))


def _irregular(rows: pa.Table, *, start: datetime, until: datetime, longest: timedelta, opened: datetime) -> bool:
    """Whether some settlement may have been left out: silences, or intervals that are not all the same."""
    times = _times(rows)
    if not times or until - times[-1] > longest or times[0] >= start > opened:
        return True
    return is_uneven(rows)


def _all_rows(answer: Answer, *, end: datetime) -> pa.Table:
    return answer.window(FUNDING_RATES, start=end - _BEGINNING, end=end).rows


def _times(rows: pa.Table) -> list[datetime]:
    return rows.column("ts_settle").to_pylist()
