"""Open interest and ratios by day: the daily ``metrics`` file, for open interest also REST for the last four weeks.

Day D holds the snapshots of [D 00:00, D+1 00:00). Files run either from 00:00 to 23:55 or from 00:05 to 00:00 of the
next day; whichever way, a row belongs to the day its stamp lies in, so the first snapshot of a day may come from the
file of the day before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial

from tradecore_pipeline.domain.errors import SourceError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.answers import ASKED_IN_VAIN, MOST_ASKS
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.files import BinanceFiles, Found, consulted, remarked, spared
from tradecore_pipeline.exchanges.binance.listing import Beginnings, doubt
from tradecore_pipeline.exchanges.binance.parse import metrics_csv
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import DAILY, FOLDERS, Listed
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import (
    ONE_DAY,
    Asked,
    Piece,
    Verdict,
    assemble,
    cut,
    judge,
    merge,
    nothing,
    split_gaps,
)
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.quality.gaps import find_gaps

REST_DEPTH = timedelta(days=29)
"""The exchange keeps 30 days and refuses older ones for good (-1130); one is left for clocks and paging."""
_STEP = timedelta(minutes=5)
_KEPT_FILES = 32
"""Parsed files that are kept for their neighbour."""


class MetricsRoute:
    """Where each day of open interest, or of ratios, comes from."""

    def __init__(self, table: Table, *, files: BinanceFiles, rest: BinanceRest, beginnings: Beginnings) -> None:
        self._table = table
        self._kind = FOLDERS[table.name]
        self._by_rest = table.name == OPEN_INTEREST.name
        """Ratios are asked of the archive alone: what REST calls by similar names has not been compared with it."""
        self._files = files
        self._rest = rest
        self._beginnings = beginnings
        self._parsed: Once[Found] = Once(keep=_KEPT_FILES)

    def units(self, listed: Listed, days: Sequence[date]) -> Iterator[tuple[date, ...]]:  # noqa: ARG002 (as other routes)
        """Single days."""
        return ((day,) for day in days)

    def first_day(self, listed: Listed, *, now: datetime) -> date:
        """The first file's day, else the first that REST still keeps."""
        return self._files.first_period(listed, DAILY, self._kind) or (now - REST_DEPTH).date()

    def fetch(self, listed: Listed, days: Sequence[date], *, now: datetime) -> Iterator[FetchedDay]:
        """The days, in order."""
        return (self._day(listed, day, now=now) for day in days)

    def _day(self, listed: Listed, day: date, *, now: datetime) -> FetchedDay:
        start = day_start(day)
        found = self._archived(listed, day)
        by_rest = self._by_rest and start >= now - REST_DEPTH
        if found.piece is None and not by_rest:
            return self._without_file(listed, day, found, now=now)
        piece, failure, seen_until = found.piece, "", None
        until = min(start + ONE_DAY, now + timedelta(milliseconds=1))
        if by_rest and (piece is None or self._gaps(piece, start=start, end=until)):
            try:
                piece, seen_until = self._repair(listed, piece, start=start, until=until)
            except (SourceError, NotListedError) as error:
                refused = spared(found, error)
                if piece is None:
                    return self._beginnings.alone(listed, self._table, day, now=now, error=refused)
                failure = doubt(refused)
        assert piece is not None  # noqa: S101 (every route that gives none returned or raised)
        gaps = self._gaps(piece, start=start, end=until)
        if gaps and found.unusable and not by_rest:
            failure = str(found.unusable[0].error)
        verdict = judge(piece, self._table, day=day, gaps=gaps, asked=Asked(now, seen_until, failure))
        fetched = assemble(listed.instrument, self._table, day, consulted(piece, found.piece), verdict)
        return remarked(fetched, found, seen_until=seen_until)

    def _without_file(self, listed: Listed, day: date, found: Found, *, now: datetime) -> FetchedDay:
        """A day that only the archive could have."""
        if found.unusable:
            raise found.unusable[0].error
        if day_start(day) >= now - REST_DEPTH:
            return self._beginnings.absent(listed, self._table, day, now=now, why="only archives have it")
        return self._before_listing(listed, day) or self._not_published(listed, day)

    def _archived(self, listed: Listed, day: date) -> Found:
        """The day's own file, and its first snapshot from the file before where only that has it."""
        start = day_start(day)
        own = self._file(listed, day)
        if own.piece is None:
            return own
        piece = cut(own.piece, self._table, start=start, end=start + ONE_DAY)
        if piece.rows.num_rows and piece.rows.column("ts_event")[0].as_py() == start:
            return Found(piece, ())
        before = self._file(listed, day - ONE_DAY)
        if before.piece is None:
            return Found(piece, before.unusable)
        return Found(merge(piece, cut(before.piece, self._table, start=start, end=start + _STEP), self._table), ())

    def _file(self, listed: Listed, day: date) -> Found:
        parse = partial(metrics_csv, table=self._table, symbol=listed.symbol)
        key = listed.key(DAILY, self._kind, day)
        return self._parsed.get(key, lambda: self._files.find(listed, DAILY, self._kind, day, parse))

    def _repair(
        self, listed: Listed, piece: Piece | None, *, start: datetime, until: datetime
    ) -> tuple[Piece, datetime | None]:
        """The piece with what REST adds. What stays missing is asked for twice, and a silence to the end checked."""
        whole = piece or nothing(self._table, host="", market="")
        seen_until: datetime | None = None
        # Without a file every snapshot is missing, so that the first answer says which host and market it is.
        asked: tuple[Gap, ...] = ()
        for count in range(MOST_ASKS):
            gaps = self._gaps(whole, start=start, end=until)
            if not gaps:
                return whole, seen_until
            if count >= ASKED_IN_VAIN and gaps == asked:
                break
            asked = gaps
            answer = forward.open_interest(
                self._rest, listed, start=gaps[0].first_missing, end=gaps[-1].last_missing + _STEP
            )
            whole = merge(whole, answer.piece, self._table)
            seen_until = max(filter(None, (seen_until, answer.seen_until)), default=None)
        _, silence = split_gaps(self._gaps(whole, start=start, end=until), whole, self._table, seen_until=seen_until)
        if silence is not None and until == start + ONE_DAY:
            forward.check_silence(self._rest, listed, self._table, since=silence.first_missing)
        return whole, seen_until

    def _before_listing(self, listed: Listed, day: date) -> FetchedDay | None:
        first = self._files.first_period(listed, DAILY, self._kind)
        if (first is not None and day >= first) or not self._rest.allowed:
            return None
        try:
            return self._beginnings.before_listing(listed, self._table, day)
        except SourceError:
            # Whether it was listed only words the reason: either way there is nothing to fetch.
            return None

    def _not_published(self, listed: Listed, day: date) -> FetchedDay:
        listing = self._files.listing(listed, DAILY, self._kind)
        first = self._files.first_period(listed, DAILY, self._kind)
        old = "older than 30 days " if self._by_rest else ""
        name = self._table.name.replace("_", " ")
        reason = f"not published: {name} {old}exists only in the archive, which has no file for this day"
        reason += "" if first is None else f" (its first: {first.isoformat()})"
        piece = nothing(self._table, host=listing.host, market=listing.market)
        day_without = assemble(listed.instrument, self._table, day, piece, Verdict((), complete=True, reason=reason))
        return replace(day_without, forgotten=True)

    def _gaps(self, piece: Piece, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
        return find_gaps(piece.rows.column(self._table.key), start=start, end=end, step=_STEP)
