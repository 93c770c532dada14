"""What OKX lists, and since when an instrument has bars."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from tradecore_pipeline.domain.errors import SourceError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.answers import oldest_key
from tradecore_pipeline.exchanges.days import empty_day
from tradecore_pipeline.exchanges.okx.paging import MOMENT, Server
from tradecore_pipeline.exchanges.okx.parse import Swap
from tradecore_pipeline.exchanges.okx.venue import NAME, OkxApi
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import ONE_DAY
from tradecore_pipeline.exchanges.suggestions import not_listed

BEFORE_ALL = datetime(2018, 1, 1, tzinfo=UTC)
"""OKX had no swaps then."""
_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """An instrument, and what the server said when the fetch began."""

    swap: Swap
    server: Server
    opened: datetime
    """The first bar's opening; or two days before the first asked day, if that is later."""

    @property
    def instrument(self) -> Instrument:
        return self.swap.instrument

    @property
    def now(self) -> datetime:
        return self.server.now

    def before_listing(self, table: Table, day: date) -> FetchedDay | None:
        """The empty, final day before the first bar; None for later days."""
        if day_start(day) + ONE_DAY > self.opened:
            return None
        reason = f"before listing (first bar {self.opened:%Y-%m-%d %H:%M} UTC)"
        host, market = self.server.host, self.server.market
        return empty_day(self.instrument, table, day, host=host, market=market, reason=reason, forgotten=False)


class Swaps:
    """Remembered answers to "what is there" and "since when"."""

    def __init__(self, api: OkxApi) -> None:
        self._api = api
        self._listed: Once[tuple[Swap, ...]] = Once(keep=1)
        self._first_bars: Once[datetime] = Once(keep=_KEPT)

    def find(self, instrument: Instrument) -> Swap:
        """The instrument in OKX's words.

        Raises:
            UsageError: it belongs to another exchange.
            NotListedError: OKX does not list it; the message names the nearest symbols.
        """
        if instrument.exchange != NAME:
            raise UsageError(f"{instrument} is not an instrument of {NAME}")
        known = {swap.instrument: swap for swap in self._all()}
        if instrument not in known:
            raise not_listed(instrument, instrument.symbol, known)
        return known[instrument]

    def opened(self, swap: Swap, server: Server, *, since: datetime) -> datetime:
        """``since``, or the first bar's opening where that lies later.

        Raises:
            SourceError: OKX does not answer, or has no bar.
        """
        if self._api.bars(swap, server).newest_before(since) is not None:
            return since
        return self._first_bars.get(swap.inst_id, lambda: self._first_bar(swap, server))

    def instruments(self) -> list[ListedInstrument]:
        """What is listed; ``first_day`` is that of the listing time OKX tells, bars may begin later."""
        now = self._api.server().now
        return [_as_listed(swap, now=now) for swap in self._all()]

    def _all(self) -> tuple[Swap, ...]:
        return self._listed.get("SWAP", self._api.swaps)

    def _first_bar(self, swap: Swap, server: Server) -> datetime:
        series = self._api.bars(swap, server)
        if series.newest_before(server.now + MOMENT) is None:
            raise SourceError(f"{NAME} answered without any bar of {swap.instrument.symbol}: try again later")
        return oldest_key(series.newest_before, series.read, BARS_1M, since=BEFORE_ALL, now=server.now)


def _as_listed(swap: Swap, *, now: datetime) -> ListedInstrument:
    gone = swap.ends_at is not None and swap.ends_at <= now
    return ListedInstrument(
        instrument=swap.instrument,
        raw_symbol=swap.inst_id,
        status=ListingStatus.DELISTED if gone else ListingStatus.TRADING,
        first_day=None if swap.listed_at is None else swap.listed_at.date(),
        last_day=swap.ends_at.date() if gone and swap.ends_at is not None else None,
    )
