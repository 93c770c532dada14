"""Funding settlements by month: the monthly archive file of an ended month, else REST.

An interval is the distance to the settlement before, whichever route the rows came by, so both give the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial, reduce

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES
from tradecore_pipeline.domain.time import add_months, day_start, month_of
from tradecore_pipeline.exchanges.answers import Answer
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.files import BinanceFiles, Found, consulted, remarked, spared
from tradecore_pipeline.exchanges.binance.listing import Beginnings, doubt
from tradecore_pipeline.exchanges.binance.parse import funding_csv
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import FOLDERS, MONTHLY, Listed
from tradecore_pipeline.exchanges.days import by_month
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Asked, Piece, Verdict, assemble, cut, merge, nothing
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.exchanges.settlements import (
    LONGEST_INTERVAL,
    confirm_silences,
    is_doubtful,
    last_midnight,
    settlement_day,
    with_intervals,
)

FUNDING = FOLDERS[FUNDING_RATES.name]


class FundingRoute:
    """Where each day of funding comes from."""

    def __init__(self, *, files: BinanceFiles, rest: BinanceRest, beginnings: Beginnings) -> None:
        self._files = files
        self._rest = rest
        self._beginnings = beginnings

    def units(self, listed: Listed, days: Sequence[date]) -> Iterator[tuple[date, ...]]:  # noqa: ARG002 (as other routes)
        """The days (ascending) by month."""
        return by_month(days)

    def first_day(self, listed: Listed, *, now: datetime) -> date:  # noqa: ARG002 (as other routes)
        """The first day with bars: settlements follow within hours."""
        return self._beginnings.first_day(listed, BARS_1M) or self._beginnings.first_bar(listed).moment.date()

    def fetch(self, listed: Listed, days: Sequence[date], *, now: datetime) -> Iterator[FetchedDay]:
        """The days of one month, in order."""
        early = 0
        for day in days:
            before = self._before_listing(listed, day)
            if before is None:
                break
            early += 1
            yield before
        if days[early:] and self._never_published(listed):
            yield from (self._not_published(listed, day) for day in days[early:])
        elif days[early:]:
            yield from self._listed_days(listed, days[early:], now=now)

    def _never_published(self, listed: Listed) -> bool:
        """Whether neither the archive nor REST has a single settlement: recorded files may hold bars alone."""
        if self._files.first_period(listed, MONTHLY, FUNDING) is not None or not self._rest.allowed:
            return False
        try:
            return forward.newest_key(self._rest, listed, FUNDING_RATES) is None
        except NotListedError:
            return self._files.first_day(listed, FOLDERS[BARS_1M.name]) is not None

    def _not_published(self, listed: Listed, day: date) -> FetchedDay:
        listing = self._files.listing(listed, MONTHLY, FUNDING)
        reason = f"not published: neither the archive nor REST has any funding rate of {listed.symbol}"
        piece = nothing(FUNDING_RATES, host=listing.host, market=listing.market)
        return assemble(listed.instrument, FUNDING_RATES, day, piece, Verdict((), complete=True, reason=reason))

    def _before_listing(self, listed: Listed, day: date) -> FetchedDay | None:
        """The empty day before listing. The archive's first month may begin before the instrument did."""
        first_file = self._files.first_period(listed, MONTHLY, FUNDING)
        if first_file is not None and month_of(day) > first_file:
            return None
        try:
            return self._beginnings.before_listing(listed, FUNDING_RATES, day)
        except SourceUnavailableError:
            if first_file is None or day < first_file:
                raise
            return None

    def _listed_days(self, listed: Listed, days: Sequence[date], *, now: datetime) -> Iterator[FetchedDay]:
        start, end = day_start(days[0]), day_start(days[-1]) + ONE_DAY
        found = self._archived(listed, month_of(days[0]))
        archived, answer, error = found.piece, None, None
        if archived is None or is_doubtful(archived.rows, start=start, end=min(end, now), longest=LONGEST_INTERVAL):
            try:
                answer = self._ask(listed, start=start, end=end, now=now)
            except (SourceError, NotListedError) as refused:
                error = spared(found, refused)
        if error is not None and archived is None:
            for day in days:
                yield self._beginnings.alone(listed, FUNDING_RATES, day, now=now, error=error)
            return
        doubts: dict[date, str] = {}
        if archived is None and answer is not None:
            answer, doubts = self._confirmed(listed, days, answer, now=now)
        pieces = tuple(piece for piece in (archived, answer and answer.piece) if piece is not None)
        known = _together(pieces)
        for day in days:
            asked = Asked(now, answer and answer.seen_until, "" if error is None else doubt(error))
            unproven = doubts.get(day, "")
            fetched = _day(listed, day, pieces, archived=archived, known=known, asked=asked, unproven=unproven)
            yield remarked(fetched, found, seen_until=asked.seen_until)

    def _ask(self, listed: Listed, *, start: datetime, end: datetime, now: datetime) -> forward.Answer:
        """A day more on both sides: for the first interval, and to see that a silence is over; twice where in doubt."""
        answer = forward.funding(self._rest, listed, start=start - ONE_DAY, end=end + ONE_DAY)
        if is_doubtful(answer.piece.rows, start=start, end=min(end, now), longest=LONGEST_INTERVAL):
            again = forward.funding(self._rest, listed, start=start - ONE_DAY, end=end + ONE_DAY)
            piece = merge(answer.piece, again.piece, FUNDING_RATES)
            piece = replace(piece, rows=with_intervals(piece.rows, first_minutes=None))
            seen = max(filter(None, (answer.seen_until, again.seen_until)), default=None)
            answer = forward.Answer(piece, seen)
        shown = answer.seen_until or start - ONE_DAY
        ended = last_midnight(end, now)
        if ended > start and ended - shown > LONGEST_INTERVAL:
            forward.check_silence(self._rest, listed, FUNDING_RATES, since=shown + timedelta(minutes=1))
        return answer

    def _confirmed(
        self, listed: Listed, days: Sequence[date], answer: forward.Answer, *, now: datetime
    ) -> tuple[forward.Answer, dict[date, str]]:
        """REST's answer once days without settlements were asked about again: no file bears it out."""

        def read(start: datetime, end: datetime) -> Answer:
            told = forward.funding(self._rest, listed, start=start, end=end)
            return Answer((told.piece,), told.seen_until)

        whole, doubts = confirm_silences(read, Answer((answer.piece,), answer.seen_until), days, now=now)
        piece = reduce(partial(merge, table=FUNDING_RATES), whole.pieces)
        piece = replace(piece, rows=with_intervals(piece.rows, first_minutes=None))
        return forward.Answer(piece, whole.seen_until), doubts

    def _archived(self, listed: Listed, month: date) -> Found:
        start, end = day_start(month), day_start(add_months(month, 1))

        def parse(csv: bytes, name: str) -> pa.Table:
            rows = funding_csv(csv, name)
            if not all(start <= time < end for time in rows.column(FUNDING_RATES.key).to_pylist()):
                raise InvalidDataError(f"{name} holds settlements outside its month")
            return rows

        return self._files.find(listed, MONTHLY, FUNDING, month, parse)


def _day(
    listed: Listed,
    day: date,
    pieces: Sequence[Piece],
    *,
    archived: Piece | None,
    known: pa.Table,
    asked: Asked,
    unproven: str,
) -> FetchedDay:
    """The day's part of ``known``, the rows of all pieces."""
    start = day_start(day)
    parts = [cut(piece, FUNDING_RATES, start=start, end=start + ONE_DAY) for piece in pieces]
    piece = parts[0] if len(parts) == 1 else merge(parts[0], parts[1], FUNDING_RATES)
    return settlement_day(
        listed.instrument, day, consulted(piece, archived), known, asked=asked, longest=LONGEST_INTERVAL, doubt=unproven
    )


def _together(pieces: Sequence[Piece]) -> pa.Table:
    """The rows of all pieces, the first one's where both have them, and intervals measured over them."""
    joined = pieces[0] if len(pieces) == 1 else merge(pieces[0], pieces[1], FUNDING_RATES)
    first = joined.rows.column("funding_interval_minutes")[0].as_py() if joined.rows.num_rows else None
    return with_intervals(joined.rows, first_minutes=first)
