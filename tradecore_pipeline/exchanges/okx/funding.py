"""Funding settlements by month: REST for the last three months, monthly bulk files for what REST no longer keeps.

An interval is the distance to the settlement before, whichever route the rows came by, so both give the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import pairwise

import pyarrow as pa

from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.domain.time import add_months, day_start, month_of
from tradecore_pipeline.exchanges.okx import bulk
from tradecore_pipeline.exchanges.okx.bulk import MONTHLY, BulkFiles
from tradecore_pipeline.exchanges.okx.listing import Listed, Listings
from tradecore_pipeline.exchanges.okx.paging import newest_key, read
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.pieces import (
    LATE_ROWS,
    ONE_DAY,
    Asked,
    Piece,
    Verdict,
    assemble,
    cut,
    judge,
    merge,
    nothing,
)
from tradecore_pipeline.exchanges.settlements import with_intervals

LONGEST_INTERVAL = timedelta(hours=8)
"""No OKX perpetual settles less often: a longer silence means missing rows, a shorter one a changed interval."""
REST_DEPTH = timedelta(days=120)
"""Months that ended longer ago are looked for in bulk files first; REST keeps some 94 days."""
_MOMENT = timedelta(milliseconds=1)
Window = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Known:
    """A month's settlements, a little before and after, from all sources."""

    pieces: tuple[Piece, ...]
    rows: pa.Table
    served: tuple[Window, ...]
    """What the sources speak about: a settlement that they lack there is missing."""
    newest: datetime | None
    """The newest settlement OKX showed, where it was asked."""


class FundingRoute:
    """Where each day of funding comes from."""

    def __init__(self, *, api: OkxApi, files: BulkFiles, listings: Listings) -> None:
        self._api = api
        self._files = files
        self._listings = listings

    def fetch(self, listed: Listed, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The days of one month, in order."""
        known: Known | None = None
        for day in days:
            early = self._listings.before_listing(listed, FUNDING_RATES, day_start(day))
            if early is None:
                known = known or self._known(listed, month_of(day))
                early = self._day(listed, day, known)
            yield early

    def _known(self, listed: Listed, month: date) -> Known:
        """A day more on both sides: for the first interval, and to see that a silence is over."""
        start, end = day_start(month) - ONE_DAY, day_start(add_months(month, 1)) + ONE_DAY
        until = min(end, listed.now + _MOMENT)
        pieces: list[Piece] = []
        served: list[Window] = []
        sources = (self._from_rest, self._from_files)
        for ask in sources if end > listed.now - REST_DEPTH else reversed(sources):
            if pieces and not _holes(_times(_together(pieces)), start=start + ONE_DAY - LONGEST_INTERVAL, end=until):
                break
            more, speaks_of = ask(listed, start, until)
            pieces.extend(more)
            served.extend(speaks_of)
        rows = _together(pieces) if pieces else FUNDING_RATES.schema.empty_table()
        newest = None
        silent = not rows.num_rows or end - _times(rows)[-1] > LONGEST_INTERVAL
        if silent and end <= listed.now < end + LATE_ROWS:
            newest = newest_key(self._api.funding(listed.swap, now=listed.now), before=listed.now + _MOMENT)
        return Known(tuple(pieces), rows, tuple(served), newest)

    def _from_rest(self, listed: Listed, start: datetime, end: datetime) -> tuple[list[Piece], list[Window]]:
        series = self._api.funding(listed.swap, now=listed.now)
        ask = partial(read, series, start=start, end=end, host=listed.server.host, market=listed.server.market)
        answer = ask()
        piece, oldest = answer.piece, answer.oldest
        if _doubtful(_times(piece.rows)):
            again = ask()
            piece = merge(piece, again.piece, FUNDING_RATES)
            oldest = min(filter(None, (oldest, again.oldest)), default=None)
        if answer.reached_end and oldest is None:
            return [], []
        return [piece], [(max(oldest or start, start), end)]

    def _from_files(self, listed: Listed, start: datetime, end: datetime) -> tuple[list[Piece], list[Window]]:
        pieces: list[Piece] = []
        served: list[Window] = []
        for month in bulk.months(start, end):
            piece = self._files.piece(bulk.FUNDING, listed, MONTHLY, month)
            if piece is not None:
                pieces.append(cut(piece, FUNDING_RATES, start=start, end=end))
                served.append(bulk.period(MONTHLY, month))
        return pieces, served

    def _day(self, listed: Listed, day: date, known: Known) -> FetchedDay:
        start = day_start(day)
        end = start + ONE_DAY
        piece = nothing(FUNDING_RATES, host=listed.server.host, market=listed.server.market)
        for part in known.pieces:
            piece = merge(piece, cut(part, FUNDING_RATES, start=start, end=end), FUNDING_RATES)
        piece = replace(piece, rows=cut(replace(piece, rows=known.rows), FUNDING_RATES, start=start, end=end).rows)
        gaps = _gaps(known.rows, start=start, end=end)
        if not self._served(listed, known, start=start, end=min(end, listed.now)):
            return self._not_published(listed, day, piece, gaps)
        times = _times(known.rows)
        shown = max((moment for moment in (known.newest, *times[-1:]) if moment is not None), default=start)
        verdict = judge(piece, FUNDING_RATES, day=day, gaps=gaps, asked=Asked(listed.now, shown, ""))
        if verdict.complete and end - shown > LONGEST_INTERVAL and listed.now < end + LATE_ROWS:
            verdict = Verdict(gaps, complete=False, reason="no later settlement yet (halted or delayed)")
        return assemble(listed.instrument, FUNDING_RATES, day, piece, verdict)

    def _served(self, listed: Listed, known: Known, *, start: datetime, end: datetime) -> bool:
        """Whether the sources speak about every moment of [start, end) since the first bar."""
        for first, after in sorted(known.served):
            if first <= start < after:
                start = after
        if start >= end:
            return True
        # Nothing was published before the first settlement ever, up to a day after the first bar.
        later = [moment for moment in _times(known.rows) if moment >= start]
        return bool(later) and later[0] - start <= ONE_DAY and start <= self._listings.first_bar(listed) + ONE_DAY

    def _not_published(self, listed: Listed, day: date, piece: Piece, gaps: tuple[Gap, ...]) -> FetchedDay:
        over = day_start(day) + ONE_DAY <= listed.now
        symbol = listed.instrument.symbol
        reason = f"not published: OKX has no funding file of {symbol} for this day, and REST keeps three months"
        verdict = Verdict(gaps, complete=over, reason=reason)
        return replace(assemble(listed.instrument, FUNDING_RATES, day, piece, verdict), forgotten=True)


def _together(pieces: Sequence[Piece]) -> pa.Table:
    """The rows of all pieces, the first one's where several have them, and intervals measured over them."""
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = merge(joined, piece, FUNDING_RATES)
    return with_intervals(joined.rows, first_minutes=None)


def _times(rows: pa.Table) -> list[datetime]:
    return rows.column("ts_settle").to_pylist()


def _holes(times: list[datetime], *, start: datetime, end: datetime) -> bool:
    """Whether somewhere in [start, end) there was silence for longer than any interval."""
    before = max((time for time in times if time < start), default=start - _MOMENT)
    after = min((time for time in times if time >= end), default=end)
    inside = [time for time in times if start <= time < end]
    return any(later - earlier > LONGEST_INTERVAL for earlier, later in pairwise([before, *inside, after]))


def _doubtful(times: list[datetime]) -> bool:
    """Whether a row may be missing: after a silence longer than any interval, or than the one before it."""
    steps = [later - earlier for earlier, later in pairwise(times)]
    return any(step > LONGEST_INTERVAL for step in steps) or any(step > before for before, step in pairwise(steps))


def _gaps(rows: pa.Table, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    """Settlements that should lie in [start, end), by the interval before the silence, where that is known."""
    gaps: list[Gap] = []
    intervals: list[int | None] = rows.column("funding_interval_minutes").to_pylist()
    for (earlier, later), minutes in zip(pairwise(_times(rows)), intervals, strict=False):
        if minutes is None or later - earlier <= LONGEST_INTERVAL:
            continue
        step = timedelta(minutes=minutes)
        slots = [earlier + step * count for count in range(1, -(-(later - earlier) // step))]
        missing = [slot for slot in slots if start <= slot < end]
        if missing:
            gaps.append(Gap(missing[0], missing[-1], len(missing)))
    return tuple(gaps)
