"""From requested days to units of work that run ahead, and the moment that decides what is over."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import groupby

from tradecore_pipeline.domain.errors import SourceUnavailableError, TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import day_start, month_of
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Verdict, assemble, nothing
from tradecore_pipeline.exchanges.prefetch import prefetch

DAYS_WORTH_A_MONTH = 10
"""From so many days on, one monthly file costs less than the daily ones."""
Work = Callable[[Sequence[date]], Iterable[FetchedDay]]
"""Fetches some days together, in order."""


def trusted_now(server: datetime, ours: datetime) -> datetime:
    """The exchange's moment, or ours if that is earlier: a clock in the future would pass open bars off as closed.

    One in the past only makes us wait, and a simulator's may stand still there.
    """
    return min(server, ours)


def refuse_future(days: Sequence[date], now: datetime) -> None:
    """Make sure that no day (they ascend) has yet to begin.

    Raises:
        UsageError: the last one has.
    """
    if days and days[-1] > now.date():
        raise UsageError(
            f"{days[-1].isoformat()} is in the future (exchange time {now:%Y-%m-%d %H:%M} UTC): "
            "ask for days up to today"
        )


def runs(days: Sequence[date], *, longest: int) -> Iterator[tuple[date, ...]]:
    """Ascending days as runs of at most ``longest`` consecutive ones."""
    run: list[date] = []
    for day in days:
        if run and (len(run) == longest or day - run[-1] != ONE_DAY):
            yield tuple(run)
            run = []
        run.append(day)
    if run:
        yield tuple(run)


def by_month(days: Sequence[date]) -> Iterator[tuple[date, ...]]:
    """Ascending days by calendar month."""
    for _, members in groupby(days, key=month_of):
        yield tuple(members)


def fetch_ahead(work: Work, units: Iterable[Sequence[date]], *, workers: int) -> Iterator[FetchedDay]:
    """The days of all units, in order. A unit that fails is tried day by day: the days before the bad one count.

    Raises:
        SourceError: at the day that could not be fetched, after all days before it.
    """
    for fetched, error in prefetch(lambda days: _outcome(work, days), units, workers=workers):
        yield from fetched
        if error is not None:
            raise error


def _outcome(work: Work, days: Sequence[date]) -> tuple[list[FetchedDay], TradecoreError | None]:
    fetched: list[FetchedDay] = []
    try:
        fetched.extend(work(days))
    except SourceUnavailableError as error:
        return fetched, error
    except TradecoreError as error:
        rest = days[len(fetched) :]
        if len(days) == 1 or not rest:
            return fetched, error
        for day in rest:
            single, failure = _outcome(work, (day,))
            fetched.extend(single)
            if failure is not None:
                return fetched, failure
    return fetched, None


def cut_off(day: FetchedDay, reach: datetime, *, why: str) -> FetchedDay:
    """A day of which the source serves nothing before ``reach`` any more: what is missing up to there is no gap."""
    start = day_start(day.day)
    gaps = tuple(gap for gap in day.gaps if gap.first_missing != max(reach, start))
    return replace(day, forgotten=True, gaps=gaps, reason=day.reason or (why if reach > start else ""))


def empty_day(
    instrument: Instrument, table: Table, day: date, *, host: str, market: str, reason: str, forgotten: bool
) -> FetchedDay:
    """A day that is over without rows, and why."""
    verdict = Verdict((), complete=True, reason=reason)
    empty = assemble(instrument, table, day, nothing(table, host=host, market=market), verdict)
    return replace(empty, forgotten=forgotten)
