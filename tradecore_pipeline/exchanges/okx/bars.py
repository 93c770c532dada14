"""1-minute bars by day: bulk files where there are any, REST for everything else and for minutes that files lack."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap, HeldDay
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import add_months, day_start, month_of
from tradecore_pipeline.exchanges.days import by_month
from tradecore_pipeline.exchanges.okx import bulk
from tradecore_pipeline.exchanges.okx.bulk import DAILY, MONTHLY, BulkFiles
from tradecore_pipeline.exchanges.okx.listing import Listed, Listings
from tradecore_pipeline.exchanges.okx.paging import ASKED_IN_VAIN, MOST_ASKS, REST, Series, newest_key, read
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.pieces import (
    ONE_DAY,
    Asked,
    Piece,
    assemble,
    cut,
    judge,
    merge,
    nothing,
    split_gaps,
)
from tradecore_pipeline.quality.gaps import epoch_ms, find_gaps

DAYS_WORTH_A_MONTH = 10
"""From so many days on, one monthly file costs less than the daily ones."""
MONTH_PUBLISHED = timedelta(days=10)
"""So long after its end, a month without a monthly file has no daily ones either (before 2021-09)."""
FILES_PUBLISHED = timedelta(days=4)
"""A day that was fetched so long after its end had its chance of files."""
_MINUTE = timedelta(minutes=1)
_ONE_READ_EACH = 5
"""Up to so many holes are asked for one by one."""


class BarsRoute:
    """Where each day of bars comes from."""

    def __init__(self, *, api: OkxApi, files: BulkFiles, listings: Listings) -> None:
        self._api = api
        self._files = files
        self._listings = listings

    def units(self, listed: Listed, days: Sequence[date]) -> Iterator[tuple[date, ...]]:
        """The days (ascending) as units of work: those of one month that share its file, or one day."""
        for month_days in by_month(days):
            try:
                together = self._rhythm(listed, month_days) == MONTHLY
            except SourceError:
                # Whether REST answers is found out, and said, where the days are fetched.
                together = False
            yield from (month_days,) if together else ((day,) for day in month_days)

    def fetch(self, listed: Listed, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The unit's days, in order."""
        for day in days:
            yield self._day(listed, day, days)

    def revised(self, listed: Listed, held: Sequence[HeldDay]) -> dict[date, str]:
        """Days that came over REST before their files were there, and have files by now."""
        found: dict[date, str] = {}
        for day in held:
            over = day_start(day.day) + ONE_DAY
            if day.source != REST or day.ingested_at >= over + FILES_PUBLISHED or not self._expected(listed, day.day):
                continue
            if all(self._listed_file(listed, one) for one in (day.day, day.day + ONE_DAY)):
                found[day.day] = "its bulk files are published by now"
        return found

    def _expected(self, listed: Listed, day: date) -> bool:
        """Whether listings of daily files are worth a request."""
        return self._rhythm(listed, (day,)) == DAILY

    def _listed_file(self, listed: Listed, day: date) -> bool:
        return self._files.find(bulk.BARS, listed, DAILY, day) is not None

    def _rhythm(self, listed: Listed, days: Sequence[date]) -> str:
        """Which files to look for, for days of one month; empty where there are none."""
        month = month_of(days[0])
        over = day_start(add_months(month, 1))
        if listed.swap.listed_at is not None and over <= listed.swap.listed_at:
            return ""
        monthly = self._files.find(bulk.BARS, listed, MONTHLY, month) is not None
        if monthly and len(days) >= DAYS_WORTH_A_MONTH:
            return MONTHLY
        return DAILY if monthly or over + MONTH_PUBLISHED > listed.now else ""

    def _day(self, listed: Listed, day: date, unit: Sequence[date]) -> FetchedDay:
        start = day_start(day)
        early = self._listings.before_listing(listed, BARS_1M, start)
        if early is not None:
            return early
        closed_until = min(start + ONE_DAY, listed.last_minute)
        piece = self._from_files(listed, day, unit)
        opened = start
        series = self._api.bars(listed.swap, now=listed.now)
        unheard = 0
        for _ in range(MOST_ASKS):
            gaps = _gaps(piece, start=opened, end=closed_until)
            if not gaps or unheard == ASKED_IN_VAIN:
                break
            known = piece.rows.num_rows
            piece = self._add(series, listed, piece, gaps)
            unheard = 0 if piece.rows.num_rows > known else unheard + 1
            opened = self._opened(listed, piece, start, closed_until)
            if opened >= start + ONE_DAY:
                return self._listings.empty_before(listed, BARS_1M, start, first=opened)
        gaps = _gaps(piece, start=opened, end=closed_until)
        over = start + ONE_DAY <= listed.now
        asked = Asked(listed.now, self._seen_until(series, listed, piece, gaps) if over else None, "")
        verdict = judge(piece, BARS_1M, day=day, gaps=gaps, asked=asked)
        return assemble(listed.instrument, BARS_1M, day, piece, verdict)

    def _from_files(self, listed: Listed, day: date, unit: Sequence[date]) -> Piece:
        """What the two files that hold a part of the day have of it. REST has all that they have: it is only slower."""
        start = day_start(day)
        whole = nothing(BARS_1M, host=listed.server.host, market=listed.server.market)
        for one in (day, day + ONE_DAY):
            try:
                piece = self._file(listed, one, self._rhythm(listed, unit))
            except (SourceUnavailableError, InvalidDataError):
                continue
            if piece is not None:
                whole = merge(whole, cut(piece, BARS_1M, start=start, end=start + ONE_DAY), BARS_1M)
        return whole

    def _file(self, listed: Listed, day: date, rhythm: str) -> Piece | None:
        if rhythm == MONTHLY:
            piece = self._files.piece(bulk.BARS, listed, MONTHLY, month_of(day))
            if piece is not None:
                return piece
        return self._files.piece(bulk.BARS, listed, DAILY, day) if rhythm else None

    def _add(self, series: Series, listed: Listed, piece: Piece, gaps: tuple[Gap, ...]) -> Piece:
        """The piece with what REST has for the gaps, and in the same answers one row behind each, if it is closed."""
        if len(gaps) > _ONE_READ_EACH:
            gaps = (Gap(gaps[0].first_missing, gaps[-1].last_missing, 0),)
        known = listed.last_minute
        for gap in gaps:
            end = min(gap.last_missing + 2 * _MINUTE, known)
            answer = read(
                series, start=gap.first_missing, end=end, host=listed.server.host, market=listed.server.market
            )
            inside = cut(answer.piece, BARS_1M, start=gap.first_missing, end=gap.last_missing + _MINUTE)
            piece = merge(piece, inside, BARS_1M)
        return piece

    def _opened(self, listed: Listed, piece: Piece, start: datetime, end: datetime) -> datetime:
        """Where the day's bars begin: later than its start if the instrument was listed on it, or after it."""
        rows = piece.rows.column("ts_open")
        if (len(rows) and int(epoch_ms(rows)[0]) == round(start.timestamp() * 1000)) or start >= end:
            return start
        first = self._listings.first_bar(listed)
        if len(rows) and rows[0].as_py() < first:
            raise InvalidDataError(
                f"OKX contradicts itself about the first bar of {listed.swap.inst_id}: "
                f"{first:%Y-%m-%d %H:%M}, but it has one of {rows[0].as_py():%Y-%m-%d %H:%M} UTC; try again later"
            )
        return max(start, first)

    def _seen_until(self, series: Series, listed: Listed, piece: Piece, gaps: tuple[Gap, ...]) -> datetime | None:
        """The newest bar, asked for only where nothing on the day follows its last gap.

        Raises:
            InvalidDataError: OKX does not show its newest bar, or one older than what it has just shown.
        """
        _, silence = split_gaps(gaps, piece, BARS_1M, seen_until=None)
        if silence is None:
            return None
        newest = newest_key(series, before=listed.last_minute)
        last = piece.rows.column("ts_open")[-1].as_py() if piece.rows.num_rows else None
        if newest is None or (last is not None and newest < last):
            raise InvalidDataError(f"OKX contradicts itself about its newest bar ({newest} UTC): try again later")
        return newest


def _gaps(piece: Piece, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    return find_gaps(piece.rows.column("ts_open"), start=start, end=end, step=_MINUTE)
