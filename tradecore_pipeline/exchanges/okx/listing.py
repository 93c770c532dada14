"""What OKX lists, and since when an instrument has bars."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tradecore_pipeline.domain.errors import SourceError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.exchanges.okx.paging import newest_key, oldest_key
from tradecore_pipeline.exchanges.okx.parse import Swap
from tradecore_pipeline.exchanges.okx.venue import NAME, OkxApi, Server
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Verdict, assemble, nothing
from tradecore_pipeline.exchanges.suggestions import not_listed

LATE_START = timedelta(days=60)
"""Bars may begin so long after the listing time that OKX tells."""
_KEPT = 1024
_OPENED = datetime(2018, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument and what the server said when the fetch began."""

    swap: Swap
    server: Server

    @property
    def instrument(self) -> Instrument:
        return self.swap.instrument

    @property
    def now(self) -> datetime:
        return self.server.now

    @property
    def last_minute(self) -> datetime:
        """The end of the last minute that is over."""
        return self.server.now.replace(second=0, microsecond=0)


class Listings:
    """Remembered answers to "what is there" and "since when"."""

    def __init__(self, api: OkxApi) -> None:
        self._api = api
        self._swaps: Once[tuple[Swap, ...]] = Once(keep=1)
        self._first_bars: Once[datetime] = Once(keep=_KEPT)

    def swaps(self) -> tuple[Swap, ...]:
        """Every linear perpetual that OKX lists."""
        return self._swaps.get("SWAP", self._api.swaps)

    def find(self, instrument: Instrument) -> Swap:
        """The instrument in OKX's words.

        Raises:
            UsageError: it belongs to another exchange.
            NotListedError: OKX does not list it; the message names the nearest symbols.
        """
        if instrument.exchange != NAME:
            raise UsageError(f"{instrument} is not an instrument of {NAME}")
        known = {swap.instrument.symbol: swap for swap in self.swaps()}
        if instrument.symbol not in known:
            raise not_listed(instrument, instrument.symbol, [swap.instrument for swap in known.values()])
        return known[instrument.symbol]

    def first_bar(self, listed: Listed) -> datetime:
        """The first bar's opening.

        Raises:
            SourceError: OKX does not answer, or has no bar.
        """
        return self._first_bars.get(listed.swap.inst_id, lambda: self._ask(listed))

    def before_listing(self, listed: Listed, table: Table, day: datetime) -> FetchedDay | None:
        """The empty, final day before the first bar; None for later days. Costs nothing long after listing."""
        told = listed.swap.listed_at
        if told is not None and day >= told + LATE_START:
            return None
        first = self.first_bar(listed)
        return None if day + ONE_DAY > first else self.empty_before(listed, table, day, first=first)

    def empty_before(self, listed: Listed, table: Table, day: datetime, *, first: datetime) -> FetchedDay:
        """The empty, final day before ``first``, the first bar."""
        verdict = Verdict((), complete=True, reason=f"before listing (first bar {first:%Y-%m-%d %H:%M} UTC)")
        piece = nothing(table, host=listed.server.host, market=listed.server.market)
        return assemble(listed.instrument, table, day.date(), piece, verdict)

    def instruments(self) -> list[ListedInstrument]:
        """What is listed; ``first_day`` is that of the listing time OKX tells, bars may begin later."""
        now = self._api.server().now
        return [_as_listed(swap, now=now) for swap in self.swaps()]

    def _ask(self, listed: Listed) -> datetime:
        series = self._api.bars(listed.swap, now=listed.now)
        newest = newest_key(series, before=listed.last_minute)
        if newest is None:
            raise SourceError(f"{NAME} answered without any bar of {listed.instrument.symbol}: try again later")
        told = listed.swap.listed_at or _OPENED
        return oldest_key(series, floor=min(told, newest), newest=newest).astimezone(UTC)


def _as_listed(swap: Swap, *, now: datetime) -> ListedInstrument:
    gone = swap.ends_at is not None and swap.ends_at <= now
    return ListedInstrument(
        instrument=swap.instrument,
        raw_symbol=swap.inst_id,
        status=ListingStatus.DELISTED if gone else ListingStatus.TRADING,
        first_day=None if swap.listed_at is None else swap.listed_at.date(),
        last_day=swap.ends_at.date() if gone and swap.ends_at is not None else None,
    )
