"""Bybit as an exchange: bars, funding and open interest back to the launch of each linear perpetual, over REST."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from tradecore_pipeline.domain.errors import SourceError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListedInstrument
from tradecore_pipeline.domain.offers import offered_table
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.answers import NewestBefore, Read, minute_of, oldest_key
from tradecore_pipeline.exchanges.bybit.rest import BybitRest
from tradecore_pipeline.exchanges.bybit.symbols import NAME, raw_symbol
from tradecore_pipeline.exchanges.days import by_month, empty_day, fetch_ahead, refuse_future, runs, trusted_now
from tradecore_pipeline.exchanges.grid import GridSeries, grid_days
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.exchanges.settlements import LONGEST_INTERVAL, FundingSeries, funding_days
from tradecore_pipeline.exchanges.suggestions import not_listed

DAYS_AT_ONCE = 2
"""Two days of bars, and of open interest, fill three pages almost to the last row."""
_BEFORE_ALL = datetime(2018, 1, 1, tzinfo=UTC)
"""Before the exchange's first trade."""
_KEPT = 4


@dataclass(frozen=True, slots=True)
class _Subject:
    """One series, and when it began as far as the asked days need to know."""

    instrument: Instrument
    symbol: str
    table: Table
    now: datetime
    traded_since: datetime
    """The first bar's opening; or the first asked day, if that is later."""
    published_since: datetime
    """Likewise of the series itself."""
    market: str


class BybitExchange:
    """Bybit's REST endpoints (see ``exchanges.base.Exchange``)."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._rest = BybitRest(access)
        self._listing: Once[list[ListedInstrument]] = Once(keep=_KEPT)

    @property
    def name(self) -> str:
        return NAME

    def close(self) -> None:
        """Release connections and end all waiting."""
        self._rest.close()

    def server_time(self) -> datetime:
        """The exchange's clock; this machine's where no API may be asked."""
        return self._access.clock() if self._access.archive_only else self._rest.server_time().rows

    def first_day(self, dataset: str, instrument: Instrument) -> date:
        """See ``Exchange``."""
        table = offered_table(dataset, instrument)
        self._rest.reset()
        symbol = self._symbol(instrument)
        with_bars = table if table is OPEN_INTEREST else BARS_1M
        return self._opened(instrument, symbol, with_bars, since=_BEFORE_ALL, now=self._now()).date()

    def revised_days(self, dataset: str, instrument: Instrument, held: Sequence[HeldDay]) -> dict[date, str]:  # noqa: ARG002 (the protocol's)
        """None: there is no archive."""
        offered_table(dataset, instrument)
        return {}

    def instruments(self) -> list[ListedInstrument]:
        """See ``Exchange``: what trades, and what the exchange still tells of the rest."""
        self._rest.reset()
        return sorted(self._rest.instruments(), key=lambda listed: listed.instrument)

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """See ``Exchange``. Bybit does not value open interest: ``open_interest_usd`` is null."""
        table = offered_table(dataset, instrument)
        return self._fetch(instrument, table, sorted(set(days)))

    def _fetch(self, instrument: Instrument, table: Table, days: Sequence[date]) -> Iterator[FetchedDay]:
        if not days:
            return
        self._rest.reset()
        now = self._now()
        refuse_future(days, now)
        subject = self._subject(instrument, table, since=day_start(days[0]), now=now)
        early = [day for day in days if day < subject.published_since.date()]
        yield from (self._early(subject, day) for day in early)
        later = days[len(early) :]
        units = by_month(later) if table is FUNDING_RATES else runs(later, longest=DAYS_AT_ONCE)
        yield from fetch_ahead(partial(self._unit, subject), units, workers=self._access.workers)

    def _subject(self, instrument: Instrument, table: Table, *, since: datetime, now: datetime) -> _Subject:
        symbol = self._symbol(instrument)
        published = self._opened(
            instrument, symbol, OPEN_INTEREST if table is OPEN_INTEREST else BARS_1M, since=since, now=now
        )
        traded = published
        if table is OPEN_INTEREST and published > since:
            traded = self._opened(instrument, symbol, BARS_1M, since=since, now=now)
        market = self._rest.server_time().market
        return _Subject(instrument, symbol, table, now, traded, published, market)

    def _opened(self, instrument: Instrument, symbol: str, table: Table, *, since: datetime, now: datetime) -> datetime:
        """``since`` (a midnight), or the first key where that lies later."""
        read, newest_before = self._ask(symbol, table)
        try:
            if newest_before(since) is not None:
                return since
            if newest_before(now) is None:
                raise SourceError(f"{self._rest.host} has no {table.name} of {symbol} at all: try again later")
        except NotListedError as error:
            raise self._unknown(instrument, symbol) from error
        return oldest_key(newest_before, read, table, since=since, now=now)

    def _unit(self, subject: _Subject, days: Sequence[date]) -> Iterator[FetchedDay]:
        read, _ = self._ask(subject.symbol, subject.table)
        seen_since = partial(self._rest.seen_since, subject.symbol, subject.table)
        if subject.table is FUNDING_RATES:
            funding = FundingSeries(subject.instrument, read, seen_since, LONGEST_INTERVAL)
            return funding_days(funding, days, now=subject.now, opened=subject.published_since)
        step = subject.table.step
        assert step is not None  # noqa: S101 (bars and open interest lie on grids)
        # A bar is final a minute after it opened, a snapshot at once.
        until = minute_of(subject.now) if subject.table is BARS_1M else subject.now + timedelta(milliseconds=1)
        series = GridSeries(subject.instrument, subject.table, step, read, seen_since)
        return grid_days(series, days, now=subject.now, opened=subject.published_since, until=until, archived=None)

    def _ask(self, symbol: str, table: Table) -> tuple[Read, NewestBefore]:
        reads = {
            BARS_1M.name: self._rest.bars,
            FUNDING_RATES.name: self._rest.funding,
            OPEN_INTEREST.name: self._rest.open_interest,
        }
        return partial(reads[table.name], symbol), partial(self._rest.newest_before, symbol, table)

    def _early(self, subject: _Subject, day: date) -> FetchedDay:
        """A day before the series began."""
        listed = day >= subject.traded_since.date()
        if listed:
            reason = f"not published: the first open interest is of {subject.published_since:%Y-%m-%d %H:%M} UTC"
        else:
            reason = f"before listing (first bar {subject.traded_since:%Y-%m-%d %H:%M} UTC)"
        return empty_day(
            subject.instrument,
            subject.table,
            day,
            host=self._rest.host,
            market=subject.market,
            reason=reason,
            forgotten=listed,
        )

    def _symbol(self, instrument: Instrument) -> str:
        symbol = raw_symbol(instrument)
        if symbol is None:
            raise self._unknown(instrument, instrument.symbol)
        return symbol

    def _unknown(self, instrument: Instrument, symbol: str) -> NotListedError:
        listed = self._listing.get("listed", self._rest.instruments)
        return not_listed(instrument, symbol, [one.instrument for one in listed])

    def _now(self) -> datetime:
        return trusted_now(self.server_time(), self._access.clock())
