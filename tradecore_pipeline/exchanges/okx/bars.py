"""1-minute bars by day: bulk files where there are any, REST for everything else and for minutes that files lack."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import add_months, day_start, month_of
from tradecore_pipeline.exchanges.answers import REST, Answer
from tradecore_pipeline.exchanges.days import DAYS_WORTH_A_MONTH, by_month
from tradecore_pipeline.exchanges.grid import GridSeries, grid_days
from tradecore_pipeline.exchanges.okx import bulk
from tradecore_pipeline.exchanges.okx.bulk import DAILY, MONTHLY, BulkFiles
from tradecore_pipeline.exchanges.okx.listing import Subject
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Piece, nothing

MONTH_PUBLISHED = timedelta(days=10)
"""So long after its end, a month without a monthly file has no daily ones either (before 2021-09)."""
FILES_PUBLISHED = timedelta(days=4)
"""A day that was fetched so long after its end had its chance of files."""


class BarsRoute:
    """Where each day of bars comes from."""

    def __init__(self, *, api: OkxApi, files: BulkFiles) -> None:
        self._api = api
        self._files = files

    def units(self, subject: Subject, days: Sequence[date]) -> Iterator[tuple[date, ...]]:
        """The days (ascending) as units of work: those of one month that share its file, or one day."""
        for month_days in by_month(days):
            try:
                together = self._rhythm(subject, month_days) == MONTHLY
            except SourceError:
                # Whether REST answers is found out, and said, where the days are fetched.
                together = False
            yield from (month_days,) if together else ((day,) for day in month_days)

    def fetch(self, subject: Subject, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The unit's days, in order."""
        for day in days:
            yield subject.before_listing(BARS_1M, day) or self._day(subject, day, days)

    def revised(self, subject: Subject, held: Sequence[HeldDay]) -> dict[date, str]:
        """Days that came over REST before there were files to look into, and have files by now."""
        found: dict[date, str] = {}
        for day in held:
            had_files = any(file.sha256 for file in day.files)
            had_chance = day.ingested_at >= day_start(day.day) + ONE_DAY + FILES_PUBLISHED
            if day.source != REST or had_files or had_chance or not self._expected(subject, day.day):
                continue
            if all(self._listed_file(subject, one) for one in (day.day, day.day + ONE_DAY)):
                found[day.day] = "its bulk files are published by now"
        return found

    def _expected(self, subject: Subject, day: date) -> bool:
        """Whether listings of daily files are worth a request."""
        return self._rhythm(subject, (day,)) == DAILY

    def _listed_file(self, subject: Subject, day: date) -> bool:
        return self._files.find(bulk.BARS, subject, DAILY, day) is not None

    def _rhythm(self, subject: Subject, days: Sequence[date]) -> str:
        """Which files to look for, for days of one month; empty where there are none."""
        month = month_of(days[0])
        over = day_start(add_months(month, 1))
        if subject.swap.listed_at is not None and over <= subject.swap.listed_at:
            return ""
        monthly = self._files.find(bulk.BARS, subject, MONTHLY, month) is not None
        if monthly and len(days) >= DAYS_WORTH_A_MONTH:
            return MONTHLY
        return DAILY if monthly or over + MONTH_PUBLISHED > subject.now else ""

    def _day(self, subject: Subject, day: date, unit: Sequence[date]) -> FetchedDay:
        files, unusable = self._from_files(subject, day, unit)
        asked = nothing(BARS_1M, host=subject.server.host, market=subject.server.market)
        rest = self._api.bars(subject.swap, subject.server)
        series = GridSeries(subject.instrument, BARS_1M, rest.step, rest.read, rest.seen_since)
        (fetched,) = grid_days(
            series,
            (day,),
            now=subject.now,
            opened=subject.opened,
            until=subject.server.last_minute,
            archived=Answer((asked, *files), None),
        )
        # Files without rows for the day have been looked into as well: nobody need do so again.
        consulted = dict.fromkeys(file for piece in files for file in piece.files)
        reason = "; ".join(filter(None, (fetched.reason, *(f"a file was not used: {error}" for error in unusable))))
        return replace(fetched, files=tuple(consulted | dict.fromkeys(fetched.files)), reason=reason)

    def _from_files(self, subject: Subject, day: date, unit: Sequence[date]) -> tuple[list[Piece], list[SourceError]]:
        """The two files that hold a part of the day, and why one could not be used: REST has all that they have."""
        found: list[Piece] = []
        unusable: list[SourceError] = []
        for one in (day, day + ONE_DAY):
            try:
                piece = self._file(subject, one, self._rhythm(subject, unit))
            except (SourceUnavailableError, InvalidDataError) as error:
                unusable.append(error)
                continue
            if piece is not None:
                found.append(piece)
        return found, unusable

    def _file(self, subject: Subject, day: date, rhythm: str) -> Piece | None:
        if rhythm == MONTHLY:
            piece = self._files.piece(bulk.BARS, subject, MONTHLY, month_of(day))
            if piece is not None:
                return piece
        return self._files.piece(bulk.BARS, subject, DAILY, day) if rhythm else None
