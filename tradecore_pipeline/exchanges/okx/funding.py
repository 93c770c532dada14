"""Funding settlements by month: REST for the last three months, monthly bulk files for what REST no longer keeps.

An interval is the distance to the settlement before, whichever route the rows came by, so both give the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial

import pyarrow as pa

from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.domain.time import add_months, day_start, month_of
from tradecore_pipeline.exchanges.answers import Answer, first_key
from tradecore_pipeline.exchanges.okx import bulk
from tradecore_pipeline.exchanges.okx.bulk import MONTHLY, BulkFiles
from tradecore_pipeline.exchanges.okx.listing import Subject
from tradecore_pipeline.exchanges.okx.paging import MOMENT, Series
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Asked, Piece, cut, nothing
from tradecore_pipeline.exchanges.settlements import (
    LONGEST_INTERVAL,
    confirm_silences,
    is_doubtful,
    is_uneven,
    settlement_day,
    with_intervals,
)

REST_DEPTH = timedelta(days=120)
"""Months that ended longer ago are looked for in bulk files first; REST keeps some 94 days."""
_SURELY_KEPT = timedelta(days=80)
"""Where REST shows nothing of a day younger than this, it is at fault."""
_MONTH = timedelta(days=31)
Window = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Known:
    """A month's settlements, a little before and after, from all sources."""

    answer: Answer
    rows: pa.Table
    """All of them, with intervals; the first source's where several have one."""
    served: tuple[Window, ...]
    """What the sources speak about: a settlement that they lack there is missing."""
    filed: tuple[Window, ...]
    """What files speak about."""


class FundingRoute:
    """Where each day of funding comes from."""

    def __init__(self, *, api: OkxApi, files: BulkFiles) -> None:
        self._api = api
        self._files = files

    def fetch(self, subject: Subject, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The days of one month, in order."""
        early = [empty for day in days if (empty := subject.before_listing(FUNDING_RATES, day)) is not None]
        yield from early
        later = days[len(early) :]
        if later:
            known, doubts = self._confirmed(subject, later, self._known(subject, month_of(later[0])))
            yield from (_day(subject, day, known, doubt=doubts.get(day, "")) for day in later)

    def _confirmed(self, subject: Subject, days: Sequence[date], known: Known) -> tuple[Known, dict[date, str]]:
        """What is known once days without settlements were asked about again, as far as REST alone speaks of them."""
        unfiled = [day for day in days if not any(first <= day_start(day) < after for first, after in known.filed)]
        read = self._api.funding(subject.swap, subject.server).read
        answer, doubts = confirm_silences(read, known.answer, unfiled, now=subject.now)
        if answer is not known.answer:
            rows = _together(answer, start=day_start(days[0]) - _MONTH, end=subject.now + MOMENT)
            known = replace(known, answer=answer, rows=rows)
        return known, doubts

    def _known(self, subject: Subject, month: date) -> Known:
        """A day more on both sides: for the first interval, and to see that a silence is over."""
        start, end = day_start(month) - ONE_DAY, day_start(add_months(month, 1)) + ONE_DAY
        until = min(end, subject.now + MOMENT)
        series = self._api.funding(subject.swap, subject.server)
        answer = Answer((nothing(FUNDING_RATES, host=subject.server.host, market=subject.server.market),), None)
        served: list[Window] = []
        filed: list[Window] = []
        sources = partial(_from_rest, series), partial(self._from_files, subject)
        rows = _together(answer, start=start, end=until)
        since = start + ONE_DAY - LONGEST_INTERVAL - MOMENT
        for ask in sources if end > subject.now - REST_DEPTH else reversed(sources):
            if served and not is_doubtful(rows, start=since, end=until, longest=LONGEST_INTERVAL):
                break
            pieces, speaks_of = ask(start, until)
            answer = Answer((*answer.pieces, *pieces), None)
            served.extend(speaks_of)
            filed.extend(speaks_of if ask is sources[1] else ())
            rows = _together(answer, start=start, end=until)
        silent = not rows.num_rows or end - rows.column("ts_settle")[-1].as_py() > LONGEST_INTERVAL
        seen = series.newest_before(subject.now + MOMENT) if silent and end <= subject.now else None
        return Known(Answer(answer.pieces, seen), rows, tuple(served), tuple(filed))

    def _from_files(self, subject: Subject, start: datetime, end: datetime) -> tuple[list[Piece], list[Window]]:
        pieces: list[Piece] = []
        served: list[Window] = []
        for month in bulk.months(start, end):
            piece = self._files.piece(bulk.FUNDING, subject, MONTHLY, month)
            if piece is not None:
                pieces.append(cut(piece, FUNDING_RATES, start=start, end=end))
                served.append(bulk.period(MONTHLY, month))
        return pieces, served


def _from_rest(series: Series, start: datetime, end: datetime) -> tuple[list[Piece], list[Window]]:
    """Twice where a page may have left a row out; nothing at all where REST keeps nothing that old."""
    answer = series.read(start, end)
    if is_uneven(answer.window(FUNDING_RATES, start=start, end=end).rows):
        answer = answer.and_then(series.read(start, end))
    keys = [first_key(piece.rows, FUNDING_RATES) for piece in answer.pieces if piece.rows.num_rows]
    if not keys:
        return [], []
    return [answer.window(FUNDING_RATES, start=start, end=end)], [(max(min(keys), start), end)]


def _together(answer: Answer, *, start: datetime, end: datetime) -> pa.Table:
    return with_intervals(answer.window(FUNDING_RATES, start=start, end=end).rows, first_minutes=None)


def _day(subject: Subject, day: date, known: Known, *, doubt: str) -> FetchedDay:
    start = day_start(day)
    end = start + ONE_DAY
    piece = known.answer.window(FUNDING_RATES, start=start, end=end)
    asked = Asked(subject.now, known.answer.seen_until, "")
    fetched = settlement_day(
        subject.instrument, day, piece, known.rows, asked=asked, longest=LONGEST_INTERVAL, doubt=doubt
    )
    if _is_served(subject, known, start=start, end=min(end, subject.now)):
        return fetched
    symbol = subject.instrument.symbol
    if end > subject.now - _SURELY_KEPT:
        reason = f"OKX keeps three months of funding rates, but showed none of {symbol} for this day, or not all"
        return replace(fetched, complete=False, reason=reason, forgotten=True)
    reason = f"not published: OKX has no funding file of {symbol} for this day, and REST keeps three months"
    return replace(fetched, complete=end <= subject.now, reason=reason, forgotten=True)


def _is_served(subject: Subject, known: Known, *, start: datetime, end: datetime) -> bool:
    """Whether the sources speak about every moment of [start, end) since the first bar."""
    for first, after in sorted(known.served):
        if first <= start < after:
            start = after
    if start >= end:
        return True
    # Nothing was published before the first settlement ever, up to a day after the first bar.
    times = known.rows.column("ts_settle").to_pylist()
    later = min((time for time in times if time >= start), default=None)
    return later is not None and later - start <= ONE_DAY and start <= subject.opened + ONE_DAY
