"""Days of a series on a time grid (bars, open interest) from a REST endpoint alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.answers import ASKED_IN_VAIN, MOST_ASKS, Answer, Read, SeenSince, read_on
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Asked, Piece, assemble, judge, split_gaps
from tradecore_pipeline.quality.gaps import find_gaps


@dataclass(frozen=True, slots=True)
class GridSeries:
    """One series of one instrument and how to ask for it."""

    instrument: Instrument
    table: Table
    step: timedelta
    read: Read
    seen_since: SeenSince


def grid_days(
    series: GridSeries,
    days: Sequence[date],
    *,
    now: datetime,
    opened: datetime,
    until: datetime,
    archived: Answer | None,
) -> Iterator[FetchedDay]:
    """Consecutive days, in order: what is missing was asked for twice more, and a silence to the end was checked.

    Args:
        series: what is asked for.
        days: consecutive, ascending; none of them ends before ``opened``.
        now: the exchange's clock.
        opened: the first key there can be.
        until: the first key that is not final yet.
        archived: what files have of the days; only what they lack is asked for.
    """
    start, end = day_start(days[0]), day_start(days[-1]) + ONE_DAY
    begin, stop = max(start, opened), max(start, min(end, until))
    answer = _ask(series, archived, begin=begin, stop=stop, over=stop == end)
    for day in days:
        first = day_start(day)
        piece = answer.window(series.table, start=first, end=min(first + ONE_DAY, stop))
        gaps = _gaps(series, piece, start=max(first, begin), end=min(first + ONE_DAY, stop))
        verdict = judge(piece, series.table, day=day, gaps=gaps, asked=Asked(now, answer.seen_until, ""))
        yield assemble(series.instrument, series.table, day, piece, verdict)


def _ask(series: GridSeries, archived: Answer | None, *, begin: datetime, stop: datetime, over: bool) -> Answer:
    answer = archived or series.read(begin, stop)
    asked, in_vain = (0 if archived else 1), 0
    piece = answer.window(series.table, start=begin, end=stop)
    while (gaps := _gaps(series, piece, start=begin, end=stop)) and asked < MOST_ASKS and in_vain < ASKED_IN_VAIN:
        known = piece.rows.num_rows
        answer = answer.and_then(series.read(gaps[0].first_missing, gaps[-1].last_missing + series.step))
        piece = answer.window(series.table, start=begin, end=stop)
        asked, in_vain = asked + 1, in_vain + 1 if piece.rows.num_rows == known else 0
    _, silence = split_gaps(gaps, piece, series.table, seen_until=answer.seen_until)
    if silence is None or not over:
        return answer
    return read_on(answer, series.read, series.seen_since, series.table, since=silence.first_missing, stop=stop)


def _gaps(series: GridSeries, piece: Piece, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    return find_gaps(piece.rows.column(series.table.key), start=start, end=end, step=series.step)
