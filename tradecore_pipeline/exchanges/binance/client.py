"""Binance as an exchange: routes each dataset and day to the archive or to REST."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial

from tradecore_pipeline.domain.errors import SourceUnavailableError, TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.exchanges.archive import Archive
from tradecore_pipeline.exchanges.base import PERPETUAL, SPOT
from tradecore_pipeline.exchanges.binance.bars import BarsRoute
from tradecore_pipeline.exchanges.binance.files import DAILY, BinanceFiles
from tradecore_pipeline.exchanges.binance.funding import FundingRoute
from tradecore_pipeline.exchanges.binance.listing import Beginnings
from tradecore_pipeline.exchanges.binance.open_interest import METRICS, REST_DEPTH, OpenInterestRoute
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import CAPABILITIES, NAME, Listed
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient
from tradecore_pipeline.exchanges.prefetch import prefetch

Outcome = tuple[list[FetchedDay], TradecoreError | None]


class BinanceExchange:
    """Binance's archive and REST endpoints (see ``exchanges.base.Exchange``).

    ``clock`` stands in for the server's where REST cannot be reached: days in the archive need nothing else of it.
    """

    def __init__(
        self,
        *,
        archive_url: str,
        listing_url: str,
        futures_rest_url: str,
        spot_rest_url: str,
        timeout_seconds: float,
        retries: int,
        workers: int,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._http = HttpClient(timeout_seconds=timeout_seconds, retries=retries, connections=workers + 1)
        archive = Archive(
            http=self._http,
            objects=Endpoint(archive_url, "TRADECORE_BINANCE_ARCHIVE_URL"),
            listing=Endpoint(listing_url, "TRADECORE_BINANCE_ARCHIVE_LISTING_URL"),
        )
        endpoints = {
            PERPETUAL: Endpoint(futures_rest_url, "TRADECORE_BINANCE_REST_URL"),
            SPOT: Endpoint(spot_rest_url, "TRADECORE_BINANCE_SPOT_REST_URL"),
        }
        self._rest = BinanceRest(http=self._http, endpoints=endpoints, timeout_seconds=timeout_seconds, retries=retries)
        self._files = BinanceFiles(archive)
        self._beginnings = Beginnings(files=self._files, rest=self._rest)
        self._bars = BarsRoute(files=self._files, rest=self._rest, beginnings=self._beginnings)
        self._funding = FundingRoute(files=self._files, rest=self._rest, beginnings=self._beginnings)
        self._open_interest = OpenInterestRoute(files=self._files, rest=self._rest)

    @property
    def name(self) -> str:
        return NAME

    @property
    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        return CAPABILITIES

    def close(self) -> None:
        """Release connections and end all waiting."""
        self._rest.close()
        self._http.close()

    def server_time(self) -> datetime:
        """The futures server's present moment."""
        return self._rest.server_time(PERPETUAL)

    def first_day(self, dataset: str, instrument: Instrument) -> date:
        """See ``Exchange``. Open interest begins with the archive's first file, else with what REST still keeps."""
        listed = Listed.of(instrument)
        table = listed.table(dataset)
        self._rest.reset()
        if table.name != "open_interest":
            return self._beginnings.first_day(listed)
        first = self._files.first_period(listed, DAILY, METRICS)
        return first or (self._now(listed) - REST_DEPTH).date()

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """See ``Exchange``."""
        listed = Listed.of(instrument)
        listed.table(dataset)
        return self._fetch(listed, dataset, sorted(set(days)))

    def _fetch(self, listed: Listed, dataset: str, days: Sequence[date]) -> Iterator[FetchedDay]:
        if not days:
            return
        self._rest.reset()
        now = self._now(listed)
        if days[-1] > now.date():
            raise UsageError(
                f"{days[-1].isoformat()} is in the future (exchange time {now:%Y-%m-%d %H:%M} UTC): "
                "ask for days up to today"
            )
        for fetched, error in prefetch(_outcome, self._units(listed, dataset, days, now), workers=self._workers):
            yield from fetched
            if error is not None:
                raise error

    def _units(
        self, listed: Listed, dataset: str, days: Sequence[date], now: datetime
    ) -> Iterator[Callable[[], Iterator[FetchedDay]]]:
        """Pieces of work in the order of their days."""
        if dataset == "bars_1m":
            for unit in self._bars.units(listed, days):
                yield partial(self._bars.fetch, listed, unit, now=now)
        elif dataset == "funding_rates":
            for month_days in self._funding.units(days):
                yield partial(self._funding.fetch, listed, month_days, now=now)
        else:
            for day in days:
                yield partial(_single, partial(self._open_interest.fetch, listed, day, now=now))

    def _now(self, listed: Listed) -> datetime:
        try:
            return self._rest.server_time(listed.market_type)
        except SourceUnavailableError:
            # A day that does need REST fails when it asks, and says why.
            return self._clock()


def _outcome(work: Callable[[], Iterator[FetchedDay]]) -> Outcome:
    """The days before the first one that failed, and its error: they must not be lost with it."""
    fetched: list[FetchedDay] = []
    try:
        fetched.extend(work())
    except TradecoreError as error:
        return fetched, error
    return fetched, None


def _single(fetch: Callable[[], FetchedDay]) -> Iterator[FetchedDay]:
    yield fetch()
