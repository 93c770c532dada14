"""1-minute bars by day: monthly or daily archive files first, REST for what they lack."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import MINUTES_PER_DAY, add_months, day_start, month_of
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.files import DAILY, MONTHLY, BinanceFiles
from tradecore_pipeline.exchanges.binance.listing import Beginnings
from tradecore_pipeline.exchanges.binance.parse import klines_csv
from tradecore_pipeline.exchanges.binance.rest import BinanceRest, NotListedError
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Asked, Piece, assemble, cut, judge, merge, split_gaps
from tradecore_pipeline.quality.gaps import epoch_ms, find_gaps

KLINES = "klines"
DAYS_WORTH_A_MONTH = 10
"""From so many days on, one monthly file costs less than the daily ones."""
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class BarsUnit:
    """Days of one month that are fetched together, or one day."""

    days: tuple[date, ...]
    monthly: bool


class BarsRoute:
    """Where each day of bars comes from."""

    def __init__(self, *, files: BinanceFiles, rest: BinanceRest, beginnings: Beginnings) -> None:
        self._files = files
        self._rest = rest
        self._beginnings = beginnings

    def units(self, listed: Listed, days: Sequence[date]) -> Iterator[BarsUnit]:
        """The days (ascending) as units of work."""
        for month, members in groupby(days, key=month_of):
            wanted = tuple(members)
            if self._files.has(listed, MONTHLY, KLINES, month) and (
                len(wanted) >= DAYS_WORTH_A_MONTH
                or not any(self._files.has(listed, DAILY, KLINES, day) for day in wanted)
            ):
                yield BarsUnit(wanted, monthly=True)
            else:
                yield from (BarsUnit((day,), monthly=False) for day in wanted)

    def fetch(self, listed: Listed, unit: BarsUnit, *, now: datetime) -> Iterator[FetchedDay]:
        """The unit's days, in order."""
        month = self._archived(listed, MONTHLY, month_of(unit.days[0])) if unit.monthly else None
        for day in unit.days:
            yield self._day(listed, day, now=now, month=month)

    def _day(self, listed: Listed, day: date, *, now: datetime, month: Piece | None) -> FetchedDay:
        first_file = self._beginnings.first_bar_file(listed)
        if first_file is None or day < first_file:
            early = self._beginnings.before_listing(listed, BARS_1M, day)
            if early is not None:
                return early
        start = day_start(day)
        piece = self._from_archive(listed, day, month)
        failure, seen_until, opened = "", None, start
        closed_until = min(start + ONE_DAY, now.replace(second=0, microsecond=0))
        if piece is None or piece.rows.num_rows < (closed_until - start) // _MINUTE:
            try:
                piece, seen_until = self._repair(listed, piece, start=start, closed_until=closed_until)
                opened = self._opened(listed, piece, start)
            except SourceUnavailableError as error:
                if piece is None:
                    raise
                failure = str(error)
            except NotListedError:
                # A delisted symbol: what the archive has is all there will ever be.
                if piece is None:
                    raise
        if not piece.rows.num_rows and opened >= start + ONE_DAY:
            early = self._beginnings.before_listing(listed, BARS_1M, day)
            if early is not None:
                return early
        gaps = _gaps(piece, start=opened, end=closed_until)
        verdict = judge(piece, BARS_1M, day=day, gaps=gaps, asked=Asked(now, seen_until, failure))
        return assemble(listed.instrument, BARS_1M, day, piece, verdict)

    def _from_archive(self, listed: Listed, day: date, month: Piece | None) -> Piece | None:
        """The day from the month's file if it is whole there, else from whichever file holds more of it."""
        start = day_start(day)
        best = None if month is None else cut(month, BARS_1M, start=start, end=start + ONE_DAY)
        if best is None or best.rows.num_rows < MINUTES_PER_DAY:
            daily = self._archived(listed, DAILY, day)
            if daily is not None and (best is None or daily.rows.num_rows >= best.rows.num_rows):
                return daily
        return best

    def _archived(self, listed: Listed, rhythm: str, period: date) -> Piece | None:
        piece = self._files.piece(listed, rhythm, KLINES, period, _parse)
        if piece is not None:
            start = day_start(period)
            end = start + ONE_DAY if rhythm == DAILY else day_start(add_months(period, 1))
            inside = cut(piece, BARS_1M, start=start, end=end).rows.num_rows
            if inside != piece.rows.num_rows:
                strays = piece.rows.num_rows - inside
                raise InvalidDataError(f"{piece.files[0].url} holds {strays} rows outside its {rhythm} window")
        return piece

    def _repair(
        self, listed: Listed, archived: Piece | None, *, start: datetime, closed_until: datetime
    ) -> tuple[Piece, datetime | None]:
        """The piece with what REST adds. What stays missing is asked for twice, and a silence to the end checked."""
        piece = archived or self._beginnings.no_rows(listed, BARS_1M)
        seen_until: datetime | None = None
        for _ in range(2):
            gaps = _gaps(piece, start=start, end=closed_until)
            if not gaps:
                return piece, seen_until
            answer = forward.bars(self._rest, listed, start=gaps[0].first_missing, end=gaps[-1].last_missing + _MINUTE)
            piece = merge(piece, answer.piece, BARS_1M)
            seen_until = max(filter(None, (seen_until, answer.seen_until)), default=None)
        gaps = _gaps(piece, start=start, end=closed_until)
        _, silence = split_gaps(gaps, piece, BARS_1M, seen_until=seen_until)
        if silence is not None and closed_until == start + ONE_DAY:
            forward.check_silence(self._rest, listed, BARS_1M, since=silence.first_missing)
        return piece, seen_until

    def _opened(self, listed: Listed, piece: Piece, start: datetime) -> datetime:
        """Where the day's bars begin: later than its start on the day the instrument was listed."""
        if piece.rows.num_rows and int(epoch_ms(piece.rows.column("ts_open"))[0]) == round(start.timestamp() * 1000):
            return start
        return max(start, self._beginnings.first_bar(listed).moment)


def _parse(csv: bytes, name: str) -> pa.Table:
    return klines_csv(csv, name=name)


def _gaps(piece: Piece, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    return find_gaps(piece.rows.column("ts_open"), start=start, end=end, step=_MINUTE)
