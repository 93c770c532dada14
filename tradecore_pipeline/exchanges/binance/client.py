"""Binance as an exchange: routes each dataset and day to the archive or to REST."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Protocol

from tradecore_pipeline.domain.errors import SourceUnavailableError
from tradecore_pipeline.domain.instruments import PERPETUAL, Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListedInstrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, LONG_SHORT_RATIOS, OPEN_INTEREST, PREMIUM_INDEX
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.archive import Archive
from tradecore_pipeline.exchanges.binance.bars import BarsRoute
from tradecore_pipeline.exchanges.binance.files import BinanceFiles
from tradecore_pipeline.exchanges.binance.funding import FundingRoute
from tradecore_pipeline.exchanges.binance.listing import Beginnings
from tradecore_pipeline.exchanges.binance.metrics import MetricsRoute
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.revisions import revised_days
from tradecore_pipeline.exchanges.binance.symbols import NAME, Listed
from tradecore_pipeline.exchanges.binance.universe import Universe
from tradecore_pipeline.exchanges.days import fetch_ahead, refuse_future, trusted_now
from tradecore_pipeline.exchanges.http import HttpClient
from tradecore_pipeline.exchanges.rest import NotListedError

_MOST_AHEAD = timedelta(days=1)
"""How far this machine's clock may run ahead of the archive's, where no API tells the time."""


class Route(Protocol):
    """Where the days of one dataset come from."""

    def units(self, listed: Listed, days: Sequence[date]) -> Iterator[tuple[date, ...]]:
        """The days (ascending) as units of work, in order."""
        ...

    def fetch(self, listed: Listed, days: Sequence[date], *, now: datetime) -> Iterator[FetchedDay]:
        """The days of one unit, in order."""
        ...

    def first_day(self, listed: Listed, *, now: datetime) -> date:
        """The first day with published rows."""
        ...


class BinanceExchange:
    """Binance's archive and REST endpoints (see ``exchanges.base.Exchange``).

    Where REST cannot be reached, ``access.clock`` stands in for the server's, as far as the archive's answers bear it
    out: days in the archive need nothing else.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._http = HttpClient(
            timeout_seconds=access.timeout_seconds, retries=access.retries, connections=access.workers + 1
        )
        archive = Archive(
            http=self._http,
            objects=access.endpoint("binance_archive_url"),
            listing=access.endpoint("binance_archive_listing_url"),
        )
        self._archive = archive
        rest, files = BinanceRest(access, http=self._http), BinanceFiles(archive)
        beginnings = Beginnings(files=files, rest=rest)
        self._rest = rest
        self._files = files
        self._universe = Universe(archive=archive, rest=rest, access=access)
        self._routes: dict[str, Route] = {
            BARS_1M.name: BarsRoute(BARS_1M, files=files, rest=rest, beginnings=beginnings),
            PREMIUM_INDEX.name: BarsRoute(PREMIUM_INDEX, files=files, rest=rest, beginnings=beginnings),
            FUNDING_RATES.name: FundingRoute(files=files, rest=rest, beginnings=beginnings),
            OPEN_INTEREST.name: MetricsRoute(OPEN_INTEREST, files=files, rest=rest, beginnings=beginnings),
            LONG_SHORT_RATIOS.name: MetricsRoute(LONG_SHORT_RATIOS, files=files, rest=rest, beginnings=beginnings),
        }

    @property
    def name(self) -> str:
        return NAME

    def close(self) -> None:
        """Release connections and end all waiting."""
        self._rest.close()
        self._http.close()

    def server_time(self) -> datetime:
        """The futures server's present moment; ours where only archives may be asked."""
        return self._rest.server_time(PERPETUAL)

    def first_day(self, dataset: str, instrument: Instrument) -> date:
        """See ``Exchange``. Open interest begins with the archive's first file, else with what REST still keeps."""
        listed = Listed.of(instrument)
        table = listed.table(dataset)
        self._rest.reset()
        try:
            return self._routes[table.name].first_day(listed, now=self._now(listed))
        except NotListedError as error:
            raise self._universe.not_listed(listed, error) from error

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """See ``Exchange``."""
        listed = Listed.of(instrument)
        route = self._routes[listed.table(dataset).name]
        return self._fetch(listed, route, sorted(set(days)))

    def revised_days(self, dataset: str, instrument: Instrument, held: Sequence[HeldDay]) -> dict[date, str]:
        """See ``Exchange``."""
        listed = Listed.of(instrument)
        return revised_days(self._files, listed, listed.table(dataset), held, workers=self._access.workers)

    def instruments(self) -> list[ListedInstrument]:
        """See ``Exchange``: perpetuals since their first day, spot as it is quoted in the dollar coins."""
        self._rest.reset()
        return self._universe.instruments()

    def _fetch(self, listed: Listed, route: Route, days: Sequence[date]) -> Iterator[FetchedDay]:
        if not days:
            return
        self._rest.reset()
        now = self._now(listed)
        refuse_future(days, now)
        work = partial(route.fetch, listed, now=now)
        try:
            yield from fetch_ahead(work, route.units(listed, days), workers=self._access.workers)
        except NotListedError as error:
            raise self._universe.not_listed(listed, error) from error

    def _now(self, listed: Listed) -> datetime:
        ours, server = self._access.clock(), self._time_by_rest(listed)
        return self._by_archive(ours) if server is None else trusted_now(server, ours)

    def _time_by_rest(self, listed: Listed) -> datetime | None:
        """REST's clock; None where it must not be asked or is not reached: a day that does need it says why."""
        if not self._rest.allowed:
            return None
        try:
            return self._rest.server_time(listed.market_type)
        except SourceUnavailableError:
            return None

    def _by_archive(self, ours: datetime) -> datetime:
        """Our clock, as far as the archive's bears it out: one far ahead would take files to come for missing ones."""
        dated = self._archive.server_time()
        if dated is not None and ours - dated > _MOST_AHEAD:
            raise SourceUnavailableError(
                f"this machine's clock ({ours:%Y-%m-%d %H:%M} UTC) is ahead of the archive's "
                f"({dated:%Y-%m-%d %H:%M} UTC): set it, then run the same command again"
            )
        return ours if dated is None else trusted_now(dated, ours)
