"""Minutes of prices and of the premium index by day: monthly or daily files first, REST for what they lack."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import MINUTES_PER_DAY, add_months, day_start, month_of
from tradecore_pipeline.exchanges.answers import ASKED_IN_VAIN, MOST_ASKS
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.files import BinanceFiles, Found, consulted, remarked, spared
from tradecore_pipeline.exchanges.binance.listing import Beginnings, doubt
from tradecore_pipeline.exchanges.binance.parse import klines_csv
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import DAILY, FOLDERS, MONTHLY, Listed
from tradecore_pipeline.exchanges.days import by_month
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Asked, Piece, assemble, checked, cut, judge, merge, split_gaps
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.quality.gaps import epoch_ms, find_gaps

DAYS_WORTH_A_MONTH = 10
"""From so many days on, one monthly file costs less than the daily ones."""
_MINUTE = timedelta(minutes=1)


class BarsRoute:
    """Where each day of a table of minutes comes from."""

    def __init__(self, table: Table, *, files: BinanceFiles, rest: BinanceRest, beginnings: Beginnings) -> None:
        self._table = table
        self._kind = FOLDERS[table.name]
        self._files = files
        self._rest = rest
        self._beginnings = beginnings

    def units(self, listed: Listed, days: Sequence[date]) -> Iterator[tuple[date, ...]]:
        """The days (ascending) as units of work: a month where its file is worth it, else single days."""
        for wanted in by_month(days):
            if self._by_month(listed, wanted):
                yield wanted
            else:
                yield from ((day,) for day in wanted)

    def first_day(self, listed: Listed, *, now: datetime) -> date:  # noqa: ARG002 (as other routes)
        """The first day with rows, in the archive or over REST.

        Raises:
            SourceError: there is none.
        """
        first = self._beginnings.first_day(listed, self._table)
        if first is None:
            raise SourceError(f"binance has no {self._table.name} of {listed.symbol}")
        return first

    def fetch(self, listed: Listed, days: Sequence[date], *, now: datetime) -> Iterator[FetchedDay]:
        """The unit's days, in order."""
        by_month = self._by_month(listed, days)
        month = self._archived(listed, MONTHLY, month_of(days[0])) if by_month else Found(None, ())
        for day in days:
            yield self._day(listed, day, now=now, month=month)

    def _by_month(self, listed: Listed, days: Sequence[date]) -> bool:
        """Whether these days of one month come from its file."""
        return self._files.has(listed, MONTHLY, self._kind, month_of(days[0])) and (
            len(days) >= DAYS_WORTH_A_MONTH or not any(self._files.has(listed, DAILY, self._kind, day) for day in days)
        )

    def _day(self, listed: Listed, day: date, *, now: datetime, month: Found) -> FetchedDay:
        # A day of a monthly file does not come before all files: no other listing need be asked for.
        if month.piece is None and (early := self._before_files(listed, day)) is not None:
            return early
        start = day_start(day)
        found = self._from_archive(listed, day, month)
        piece, failure, seen_until, opened = found.piece, "", None, start
        closed_until = min(start + ONE_DAY, now.replace(second=0, microsecond=0))
        if piece is None or piece.rows.num_rows < (closed_until - start) // _MINUTE:
            try:
                opened = self._opened(listed, piece, start)
                piece, seen_until = self._repair(listed, piece, start=start, closed_until=closed_until)
                opened = self._opened(listed, piece, start)
            except (SourceError, NotListedError) as error:
                refused = spared(found, error)
                if piece is None:
                    return self._beginnings.alone(listed, self._table, day, now=now, error=refused)
                failure = doubt(refused)
        if not piece.rows.num_rows and opened >= start + ONE_DAY:
            early = self._beginnings.before_listing(listed, self._table, day)
            if early is not None:
                return early
        gaps = _gaps(piece, self._table, start=opened, end=closed_until)
        verdict = judge(piece, self._table, day=day, gaps=gaps, asked=Asked(now, seen_until, failure))
        if failure and not gaps and not verdict.complete:
            verdict = replace(verdict, reason=f"rows before the first one may be missing: {failure}")
        fetched = assemble(listed.instrument, self._table, day, consulted(piece, found.piece), verdict)
        return remarked(fetched, found, seen_until=seen_until)

    def _before_files(self, listed: Listed, day: date) -> FetchedDay | None:
        """The empty day before listing, where the archive's files do not reach back so far."""
        first_file = self._files.first_day(listed, self._kind)
        if first_file is not None and day >= first_file:
            return None
        return self._beginnings.before_listing(listed, self._table, day)

    def _from_archive(self, listed: Listed, day: date, month: Found) -> Found:
        """The day from the month's file if it is whole there, else from whichever file holds more of it."""
        start = day_start(day)
        best = None if month.piece is None else cut(month.piece, self._table, start=start, end=start + ONE_DAY)
        if best is not None and best.rows.num_rows == MINUTES_PER_DAY:
            return Found(best, ())
        daily = self._archived(listed, DAILY, day)
        if daily.piece is not None and (best is None or daily.piece.rows.num_rows >= best.rows.num_rows):
            best = daily.piece
        whole = best is not None and best.rows.num_rows == MINUTES_PER_DAY
        return Found(best, () if whole else month.unusable + daily.unusable)

    def _archived(self, listed: Listed, rhythm: str, period: date) -> Found:
        start = day_start(period)
        end = start + ONE_DAY if rhythm == DAILY else day_start(add_months(period, 1))

        def parse(csv: bytes, name: str) -> pa.Table:
            rows = klines_csv(csv, name, table=self._table)
            keys = epoch_ms(rows.column(self._table.key))
            strays = int(((keys < start.timestamp() * 1000) | (keys >= end.timestamp() * 1000)).sum())
            if strays:
                raise InvalidDataError(f"{name} holds {strays} rows outside its {rhythm} window")
            return rows

        found = self._files.find(listed, rhythm, self._kind, period, parse)
        if found.piece is None:
            return found
        return replace(found, piece=checked(found.piece, self._table, start=start, end=end))

    def _repair(
        self, listed: Listed, archived: Piece | None, *, start: datetime, closed_until: datetime
    ) -> tuple[Piece, datetime | None]:
        """The piece with what REST adds. What stays missing is asked for twice, and a silence to the end checked."""
        piece = archived or self._beginnings.no_rows(listed, self._table)
        seen_until: datetime | None = None
        asked: tuple[Gap, ...] = ()
        for count in range(MOST_ASKS):
            gaps = _gaps(piece, self._table, start=start, end=closed_until)
            if not gaps:
                return piece, seen_until
            if count >= ASKED_IN_VAIN and gaps == asked:
                break
            asked = gaps
            first, after = gaps[0].first_missing, gaps[-1].last_missing + _MINUTE
            answer = forward.bars(self._rest, listed, self._table, start=first, end=after)
            piece = merge(piece, answer.piece, self._table)
            seen_until = max(filter(None, (seen_until, answer.seen_until)), default=None)
        gaps = _gaps(piece, self._table, start=start, end=closed_until)
        _, silence = split_gaps(gaps, piece, self._table, seen_until=seen_until)
        if silence is not None and closed_until == start + ONE_DAY:
            forward.check_silence(self._rest, listed, self._table, since=silence.first_missing)
        return piece, seen_until

    def _opened(self, listed: Listed, piece: Piece | None, start: datetime) -> datetime:
        """Where the day's rows begin: later than its start on the day the instrument was listed."""
        if piece is None:
            return start
        if piece.rows.num_rows and int(epoch_ms(piece.rows.column("ts_open"))[0]) == round(start.timestamp() * 1000):
            return start
        first = self._beginnings.first_row(listed, self._table)
        return start if first is None else max(start, first.moment)


def _gaps(piece: Piece, table: Table, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    return find_gaps(piece.rows.column(table.key), start=start, end=end, step=_MINUTE)
