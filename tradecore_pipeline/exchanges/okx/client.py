"""OKX as an exchange: routes each dataset and day to bulk files or to REST."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial

from tradecore_pipeline.domain.errors import SourceError, SourceUnavailableError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListedInstrument
from tradecore_pipeline.domain.offers import offered_table
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.days import Work, by_month, fetch_ahead, refuse_future, trusted_now
from tradecore_pipeline.exchanges.http import HttpClient
from tradecore_pipeline.exchanges.okx.bars import BarsRoute
from tradecore_pipeline.exchanges.okx.bulk import BulkFiles
from tradecore_pipeline.exchanges.okx.funding import FundingRoute
from tradecore_pipeline.exchanges.okx.listing import Listed, Listings
from tradecore_pipeline.exchanges.okx.open_interest import OpenInterestRoute
from tradecore_pipeline.exchanges.okx.venue import NAME, VENUE, OkxApi
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
        self._listings = Listings(self._api)
        self._bars = BarsRoute(api=self._api, files=self._files, listings=self._listings)
        self._funding = FundingRoute(api=self._api, files=self._files, listings=self._listings)
        self._open_interest = OpenInterestRoute(api=self._api, listings=self._listings)

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
        listed = self._listed(instrument)
        first = self._listings.first_bar(listed).date()
        if table in {BARS_1M, FUNDING_RATES}:
            return first
        oldest = self._open_interest.oldest(listed)
        if oldest is None:
            raise SourceError(f"OKX has no open interest of {instrument.symbol}: try again later")
        return max(first, oldest.date())

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """See ``Exchange``."""
        offered_table(dataset, instrument)
        return self._fetch(dataset, instrument, sorted(set(days)))

    def revised_days(self, dataset: str, instrument: Instrument, held: Sequence[HeldDay]) -> dict[date, str]:
        """See ``Exchange``: bars that came over REST before their bulk files were published."""
        if offered_table(dataset, instrument) != BARS_1M or not held:
            return {}
        return self._bars.revised(self._listed(instrument), held)

    def instruments(self) -> list[ListedInstrument]:
        """See ``Exchange``. OKX tells of delisted instruments only for as long as it lists them."""
        self._check_allowed()
        return self._listings.instruments()

    def _fetch(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        if not days:
            return
        listed = self._listed(instrument)
        refuse_future(days, listed.now)
        work, units = self._route(listed, dataset, days)
        yield from fetch_ahead(work, units, workers=self._access.workers)

    def _listed(self, instrument: Instrument) -> Listed:
        """The instrument, and what the server says at this moment: earlier refusals are forgotten."""
        self._check_allowed()
        self._connection.reset()
        self._files.reset()
        swap = self._listings.find(instrument)
        server = self._api.server()
        now = trusted_now(server.now, self._access.clock())
        return Listed(swap, replace(server, now=now))

    def _check_allowed(self) -> None:
        if self._access.archive_only:
            raise SourceUnavailableError(
                "OKX has no archive apart from its API, and only archives are to be asked (TRADECORE_ARCHIVE_ONLY)"
            )

    def _route(self, listed: Listed, dataset: str, days: Sequence[date]) -> tuple[Work, Iterable[Sequence[date]]]:
        if dataset == BARS_1M.name:
            return partial(self._bars.fetch, listed), self._bars.units(listed, days)
        if dataset == FUNDING_RATES.name:
            return partial(self._funding.fetch, listed), by_month(days)
        return partial(self._open_interest.fetch, listed), ((day,) for day in days)
