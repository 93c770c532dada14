"""When an instrument's data begins and ends: the archive's files, and the first row that REST knows."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

from tradecore_pipeline.domain.errors import SourceError, TradecoreError
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import BARS_1M, PREMIUM_INDEX, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.files import BinanceFiles
from tradecore_pipeline.exchanges.binance.parse import klines_csv
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import DAILY, FOLDERS, MONTHLY, Listed
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Piece, Verdict, assemble, nothing
from tradecore_pipeline.exchanges.rest import NotListedError

ARCHIVE_SETTLES = timedelta(days=40)
"""A file that is not in the archive so long after its day (monthly ones come a week after the month) never will be."""
_KEPT = 4096
_UNASKED = "only archives were asked"
"""Such days are not final: whoever may ask REST does."""


@dataclass(frozen=True, slots=True)
class FirstBar:
    """The first row's opening, and which market said so of it."""

    moment: datetime
    host: str
    market: str


class Beginnings:
    """Remembered answers to "since when"."""

    def __init__(self, *, files: BinanceFiles, rest: BinanceRest) -> None:
        self._files = files
        self._rest = rest
        self._first_bars: Once[FirstBar | None] = Once(keep=_KEPT)

    def first_bar(self, listed: Listed) -> FirstBar:
        """The first bar: as REST knows it, or as the archive does where REST is not asked or has forgotten the symbol.

        Raises:
            NotListedError: neither knows the symbol.
            SourceError: REST does not answer, or knows no bar.
        """
        first = self.first_row(listed, BARS_1M)
        if first is None:
            raise SourceError(f"binance answered without any bar of {listed.symbol}: try again later")
        return first

    def first_row(self, listed: Listed, table: Table) -> FirstBar | None:
        """The same of any table of minutes; None where it was never published."""
        return self._first_bars.get(f"{listed.instrument} {table.name}", lambda: self._ask(listed, table))

    def first_day(self, listed: Listed, table: Table) -> date | None:
        """The first day with rows of a table of minutes, in the archive or over REST."""
        first = self.first_row(listed, table)
        archived = self._files.first_period(listed, DAILY, FOLDERS[table.name])
        return min((day for day in (first and first.moment.date(), archived) if day is not None), default=None)

    def before_listing(self, listed: Listed, table: Table, day: date) -> FetchedDay | None:
        """The empty day before the first bar, or before the first premium index; None for later days.

        It is final, unless only archives were asked: REST may know of earlier rows than their files have.
        """
        first = self.first_bar(listed)
        opened = self.first_day(listed, BARS_1M)
        if opened is not None and day < opened:
            return self._before(listed, table, day, f"before listing (first bar {first.moment:%Y-%m-%d %H:%M} UTC)")
        if table.name != PREMIUM_INDEX.name:
            return None
        first_row, began = self.first_row(listed, table), self.first_day(listed, table)
        if began is not None and day >= began:
            return None
        if first_row is None:
            reason = f"not published: neither the archive nor REST has any {table.name} of {listed.symbol}"
        else:
            reason = f"not published: {table.name} begins at {first_row.moment:%Y-%m-%d %H:%M} UTC"
        return self._before(listed, table, day, reason)

    def _before(self, listed: Listed, table: Table, day: date, reason: str) -> FetchedDay:
        verdict = Verdict((), complete=True, reason=reason)
        if not self._rest.allowed:
            began = self.first_day(listed, table)
            files = "have none" if began is None else f"begin on {began.isoformat()}"
            reason = f"{_UNASKED}: their files of {table.name} {files}"
            verdict = Verdict((), complete=False, reason=reason)
        return assemble(listed.instrument, table, day, self.no_rows(listed, table), verdict)

    def absent(self, listed: Listed, table: Table, day: date, *, now: datetime, why: str) -> FetchedDay:
        """A day that the archive has no file for, and REST has not either: final once no file will come."""
        over = now >= day_start(day) + ONE_DAY
        final = over and now >= day_start(day) + ONE_DAY + ARCHIVE_SETTLES
        reason = f"not published: the archive has no file for this day, and {why}"
        if not final:
            reason = f"not in the archive yet, and {why}" if over else "day not over"
        return self._empty(listed, table, day, Verdict((), complete=final, reason=reason))

    def alone(self, listed: Listed, table: Table, day: date, *, now: datetime, error: TradecoreError) -> FetchedDay:
        """A day without a file where REST's ``error`` is for good: it must not be asked, or has forgotten the symbol.

        Raises:
            TradecoreError: ``error``, where it may go away, or the archive does not know the symbol either.
        """
        if not self._rest.allowed:
            over = now >= day_start(day) + ONE_DAY
            reason = f"{_UNASKED}: they have no file for this day" if over else "day not over"
            return self._empty(listed, table, day, Verdict((), complete=False, reason=reason))
        last = self._files.last_day(listed, FOLDERS[table.name])
        if not isinstance(error, NotListedError) or last is None:
            raise error
        why = f"{listed.symbol} is no longer listed (last file {last.isoformat()})"
        return self.absent(listed, table, day, now=now, why=why)

    def _empty(self, listed: Listed, table: Table, day: date, verdict: Verdict) -> FetchedDay:
        """A day that the archive was asked about."""
        listing = self._files.listing(listed, DAILY, FOLDERS[table.name])
        piece = nothing(table, host=listing.host, market=listing.market)
        return replace(assemble(listed.instrument, table, day, piece, verdict), forgotten=True)

    def no_rows(self, listed: Listed, table: Table) -> Piece:
        """An empty piece of the market that told the first bar."""
        first = self.first_bar(listed)
        return nothing(table, host=first.host, market=first.market)

    def _ask(self, listed: Listed, table: Table) -> FirstBar | None:
        if not self._rest.allowed:
            first = self._archived(listed, table)
            if first is None and table.name == BARS_1M.name:
                raise NotListedError(f"binance has no file of {listed.symbol} ({listed.market_type}) in its archive")
            return first
        try:
            page = forward.first_bar(self._rest, listed, table)
        except NotListedError:
            first = self._archived(listed, table)
            if first is None:
                raise
            return first
        if not page.rows.num_rows and table.name != BARS_1M.name:
            # One empty answer is no proof.
            if forward.newest_key(self._rest, listed, table) is not None:
                raise SourceError(f"binance answered without any {table.name} of {listed.symbol}: try again later")
            return self._archived(listed, table)
        if not page.rows.num_rows:
            return None
        moment: datetime = page.rows.column(table.key)[0].as_py()
        return FirstBar(moment.astimezone(UTC), self._rest.endpoint(listed.market_type).host, page.market)

    def _archived(self, listed: Listed, table: Table) -> FirstBar | None:
        """The first row of the archive's first file."""
        kind = FOLDERS[table.name]
        firsts = {rhythm: self._files.first_period(listed, rhythm, kind) for rhythm in (DAILY, MONTHLY)}
        known = [(period, rhythm) for rhythm, period in firsts.items() if period is not None]
        if not known:
            return None
        period, rhythm = min(known)
        found = self._files.find(listed, rhythm, kind, period, partial(klines_csv, table=table))
        if found.unusable:
            raise found.unusable[0].error
        piece = found.piece
        assert piece is not None  # noqa: S101 (it is listed)
        moment = piece.rows.column(table.key)[0].as_py() if piece.rows.num_rows else day_start(period)
        return FirstBar(moment, piece.host, piece.market)


def doubt(error: TradecoreError) -> str:
    """Why the rows that a file lacks may still come from REST; empty where it knows nothing of a symbol any more."""
    return "" if isinstance(error, NotListedError) else str(error)
