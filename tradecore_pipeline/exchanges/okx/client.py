"""OKX as an exchange: routes each dataset and day to bulk files or to REST."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial

from tradecore_pipeline.domain.errors import SourceError, SourceUnavailableError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListedInstrument
from tradecore_pipeline.domain.offers import offered_table
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.days import Work, by_month, fetch_ahead, refuse_future, trusted_now
from tradecore_pipeline.exchanges.http import HttpClient
from tradecore_pipeline.exchanges.okx.bars import BarsRoute
from tradecore_pipeline.exchanges.okx.bulk import BulkFiles
from tradecore_pipeline.exchanges.okx.funding import FundingRoute
from tradecore_pipeline.exchanges.okx.listing import BEFORE_ALL, Subject, Swaps
from tradecore_pipeline.exchanges.okx.open_interest import OpenInterestRoute
from tradecore_pipeline.exchanges.okx.venue import NAME, VENUE, OkxApi
from tradecore_pipeline.exchanges.pieces import ONE_DAY
from tradecore_pipeline.exchanges.rest import RestConnection


class OkxExchange:
    """OKX's bulk files and REST endpoints (see ``exchanges.base.Exchange``)."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._http = HttpClient(
            timeout_seconds=access.timeout_seconds, retries=access.retries, connections=access.workers + 1
        )
        self._connection = RestConnection(VENUE, access.endpoint("okx_rest_url"), access)
        self._api = OkxApi(self._connection)
        self._files = BulkFiles(api=self._api, http=self._http)
        self._swaps = Swaps(self._api)
        self._bars = BarsRoute(api=self._api, files=self._files)
        self._funding = FundingRoute(api=self._api, files=self._files)
        self._open_interest = OpenInterestRoute(self._api)

    @property
    def name(self) -> str:
        return NAME

    def close(self) -> None:
        """Release connections and end all waiting."""
        self._connection.close()
        self._http.close()

    def server_time(self) -> datetime:
        """See ``Exchange``; our own clock where OKX must not be asked."""
        return self._access.clock() if self._access.archive_only else self._api.server().now

    def first_day(self, dataset: str, instrument: Instrument) -> date:
        """See ``Exchange``. Open interest begins with what OKX still keeps of it."""
        table = offered_table(dataset, instrument)
        subject = self._subject(instrument, since=BEFORE_ALL)
        first = subject.opened.date()
        if table is not OPEN_INTEREST:
            return first
        oldest = self._open_interest.oldest(subject, since=day_start(first))
        if oldest is None:
            raise SourceError(f"OKX has no open interest of {instrument.symbol}: try again later")
        return max(first, oldest.date())

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """See ``Exchange``."""
        table = offered_table(dataset, instrument)
        return self._fetch(table, instrument, sorted(set(days)))

    def revised_days(self, dataset: str, instrument: Instrument, held: Sequence[HeldDay]) -> dict[date, str]:
        """See ``Exchange``: bars that came over REST before their bulk files were published."""
        if offered_table(dataset, instrument) != BARS_1M or not held:
            return {}
        return self._bars.revised(self._subject(instrument, since=day_start(held[0].day)), held)

    def instruments(self) -> list[ListedInstrument]:
        """See ``Exchange``. OKX tells of delisted instruments only for as long as it lists them."""
        self._check_allowed()
        return self._swaps.instruments()

    def _fetch(self, table: Table, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        if not days:
            return
        subject = self._subject(instrument, since=day_start(days[0]) - 2 * ONE_DAY)
        refuse_future(days, subject.now)
        work, units = self._route(subject, table, days)
        yield from fetch_ahead(work, units, workers=self._access.workers)

    def _subject(self, instrument: Instrument, *, since: datetime) -> Subject:
        """The instrument, and what the server says at this moment: earlier refusals are forgotten."""
        self._check_allowed()
        self._connection.reset()
        self._files.reset()
        swap, server = self._swaps.find(instrument), self._api.server()
        server = replace(server, now=trusted_now(server.now, self._access.clock()))
        return Subject(swap, server, self._swaps.opened(swap, server, since=since))

    def _check_allowed(self) -> None:
        if self._access.archive_only:
            raise SourceUnavailableError(
                "OKX has no archive apart from its API, and only archives are to be asked (TRADECORE_ARCHIVE_ONLY)"
            )

    def _route(self, subject: Subject, table: Table, days: Sequence[date]) -> tuple[Work, Iterable[Sequence[date]]]:
        if table is BARS_1M:
            return partial(self._bars.fetch, subject), self._bars.units(subject, days)
        if table is FUNDING_RATES:
            return partial(self._funding.fetch, subject), by_month(days)
        oldest = self._open_interest.oldest(subject, since=day_start(days[0]))
        return partial(self._open_interest.fetch, subject, oldest), ((day,) for day in days)
