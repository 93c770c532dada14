"""HyperLiquid as an exchange: all funding, the newest 5,000 bars, and open interest as it is when asked.

What it forgets is only there if it was recorded in time: such days are ``forgotten``, so that stored rows stay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial

from tradecore_pipeline.domain.errors import SourceError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListedInstrument, ListingStatus, SourceFile
from tradecore_pipeline.domain.offers import offered_table
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.answers import REST, first_key, minute_of
from tradecore_pipeline.exchanges.days import (
    by_month,
    cut_off,
    empty_day,
    fetch_ahead,
    refuse_future,
    runs,
    trusted_now,
)
from tradecore_pipeline.exchanges.grid import GridSeries, grid_days
from tradecore_pipeline.exchanges.hyperliquid.parse import NAME, snapshot_rows
from tradecore_pipeline.exchanges.hyperliquid.rest import MAX_CANDLES, SETTLEMENT, HyperliquidRest
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import LATE_ROWS, ONE_DAY, Piece, Verdict, assemble, cut, nothing
from tradecore_pipeline.exchanges.settlements import FundingSeries, funding_days
from tradecore_pipeline.exchanges.suggestions import not_listed

ONLY_NEWEST = "not published: HyperLiquid serves only its newest 5,000 candles"
NO_HISTORY = "not published: HyperLiquid keeps no open-interest history; days are recorded by the hourly schedule"
RECORDED = "day not over (recorded)"
_MINUTE = timedelta(minutes=1)
_KEPT = 4096
_AT_THE_EDGE = 200
"""Candles that may be forgotten while a day is fetched, with room to spare."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """One series, and what the exchange said about its ends."""

    instrument: Instrument
    coin: str
    table: Table
    now: datetime
    listed_since: datetime
    """Between this and an hour later came the first settlement: the coin was listed no earlier."""
    first_settlement: datetime
    market: str


class HyperliquidExchange:
    """HyperLiquid's info endpoint (see ``exchanges.base.Exchange``)."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._rest = HyperliquidRest(access)
        self._coins: Once[dict[Instrument, ListedInstrument]] = Once(keep=1)
        self._beginnings: Once[datetime] = Once(keep=_KEPT)

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
        """See ``Exchange``: the first day of what is still served."""
        table = offered_table(dataset, instrument)
        self._rest.reset()
        coin = self._coin(instrument)
        now = self._now()
        if table is OPEN_INTEREST:
            return now.date()
        return (self._first_settlement(coin) if table is FUNDING_RATES else self._reach(instrument, now)).date()

    def revised_days(self, dataset: str, instrument: Instrument, held: Sequence[HeldDay]) -> dict[date, str]:  # noqa: ARG002 (the protocol's)
        """None: there is no archive."""
        offered_table(dataset, instrument)
        return {}

    def instruments(self) -> list[ListedInstrument]:
        """See ``Exchange``: since when they trade is not told."""
        self._rest.reset()
        return sorted(self._rest.meta(), key=lambda listed: listed.instrument)

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """See ``Exchange``. Bars have no traded value; open interest is one snapshot, of today."""
        table = offered_table(dataset, instrument)
        return self._fetch(instrument, table, sorted(set(days)))

    def _fetch(self, instrument: Instrument, table: Table, days: Sequence[date]) -> Iterator[FetchedDay]:
        if not days:
            return
        self._rest.reset()
        now = self._now()
        refuse_future(days, now)
        subject = self._subject(instrument, table, now)
        opened = subject.first_settlement if table is FUNDING_RATES else subject.listed_since
        early = [day for day in days if day < opened.date()]
        reason = f"before listing (first settlement {subject.first_settlement:%Y-%m-%d %H:%M} UTC)"
        yield from (self._empty(subject, day, reason, forgotten=False) for day in early)
        later = days[len(early) :]
        if table is BARS_1M:
            yield from self._bars(subject, later)
        elif table is FUNDING_RATES:
            yield from fetch_ahead(partial(self._funding, subject), by_month(later), workers=self._access.workers)
        else:
            yield from (self._open_interest(subject, day) for day in later)

    def _subject(self, instrument: Instrument, table: Table, now: datetime) -> _Subject:
        coin = self._coin(instrument)
        first = self._first_settlement(coin)
        return _Subject(instrument, coin, table, now, first - SETTLEMENT, first, self._rest.server_time().market)

    def _bars(self, subject: _Subject, days: Sequence[date]) -> Iterator[FetchedDay]:
        reach = self._reach_of(subject, day_start(days[0])) if days else subject.now
        gone = [day for day in days if day_start(day) + ONE_DAY <= reach]
        yield from (self._empty(subject, day, ONLY_NEWEST, forgotten=True) for day in gone)
        served = days[len(gone) :]
        work = partial(self._served, subject, reach)
        yield from fetch_ahead(work, runs(served, longest=1), workers=self._access.workers)

    def _served(self, subject: _Subject, reach: datetime, days: Sequence[date]) -> Iterator[FetchedDay]:
        series = GridSeries(
            subject.instrument,
            BARS_1M,
            _MINUTE,
            partial(self._rest.bars, subject.coin),
            partial(self._rest.bar_since, subject.coin, subject.now),
        )
        for day in grid_days(series, days, now=subject.now, opened=reach, until=minute_of(subject.now), archived=None):
            is_cut = day_start(day.day) < reach and reach - subject.listed_since > SETTLEMENT
            yield cut_off(day, reach, why=ONLY_NEWEST) if is_cut else day

    def _funding(self, subject: _Subject, days: Sequence[date]) -> Iterator[FetchedDay]:
        series = FundingSeries(
            subject.instrument,
            partial(self._rest.funding, subject.coin),
            partial(self._settlement_since, subject),
            SETTLEMENT,
        )
        return funding_days(series, days, now=subject.now, opened=subject.first_settlement)

    def _settlement_since(self, subject: _Subject, moment: datetime) -> datetime | None:
        """A settlement's key, if there is one from ``moment`` on.

        The exchange tells no newest one, so that an answer without any is all there is: of a coin that trades, which
        settles every hour, it is not believed for longer than such a silence may pass for a delay.
        """
        seen = self._rest.settlement_since(subject.coin, moment)
        trades = self._listed(subject.instrument).status is ListingStatus.TRADING
        if seen is None and trades and subject.now - moment > LATE_ROWS:
            raise SourceError(
                f"{self._rest.host} shows no settlement of {subject.coin} since {moment:%Y-%m-%d %H:%M} UTC, though it "
                "trades: try again later"
            )
        return seen

    def _open_interest(self, subject: _Subject, day: date) -> FetchedDay:
        if day < subject.now.date():
            return self._empty(subject, day, NO_HISTORY, forgotten=True)
        page = self._rest.snapshot(subject.coin)
        # Asked for after the value: it was measured no later than this.
        measured = self._now()
        rows = snapshot_rows(page.rows, measured=measured)
        whole = Piece(rows, REST, self._rest.host, page.market, (SourceFile(page.url, ""),))
        start = day_start(day)
        piece = cut(whole, OPEN_INTEREST, start=start, end=start + ONE_DAY)
        if not piece.rows.num_rows:
            piece = nothing(OPEN_INTEREST, host=whole.host, market=whole.market)
        verdict = Verdict((), complete=False, reason=RECORDED)
        return replace(assemble(subject.instrument, OPEN_INTEREST, day, piece, verdict), forgotten=True)

    def _reach_of(self, subject: _Subject, start: datetime) -> datetime:
        """The oldest bar that is still served, as far as bars from ``start`` on are concerned."""
        # Well inside what is always served there is nothing to find out, and asking costs half a minute's budget.
        sure = subject.first_settlement <= start and start >= subject.now - (MAX_CANDLES - _AT_THE_EDGE) * _MINUTE
        return start if sure else self._reach(subject.instrument, subject.now)

    def _reach(self, instrument: Instrument, now: datetime) -> datetime:
        """The oldest bar that is still served. Asked twice: a short answer would make days look forgotten."""
        listed, last = self._listed(instrument), minute_of(now)
        start, end = last - MAX_CANDLES * _MINUTE, last + _MINUTE
        answers = [self._rest.bars(listed.raw_symbol, start, last) for _ in range(2)]
        pieces = [answer.window(BARS_1M, start=start, end=end) for answer in answers]
        keys = [first_key(piece.rows, BARS_1M) for piece in pieces if piece.rows.num_rows]
        if not keys and listed.status is ListingStatus.TRADING:
            raise SourceError(f"{self._rest.host} answered without any bar of {listed.raw_symbol}: try again later")
        return min(keys, default=last)

    def _first_settlement(self, coin: str) -> datetime:
        return self._beginnings.get(coin, lambda: self._ask_first_settlement(coin))

    def _ask_first_settlement(self, coin: str) -> datetime:
        first = self._rest.first_settlement(coin)
        if first is None:
            raise SourceError(f"{self._rest.host} answered without any settlement of {coin}: try again later")
        return first

    def _coin(self, instrument: Instrument) -> str:
        return self._listed(instrument).raw_symbol

    def _listed(self, instrument: Instrument) -> ListedInstrument:
        """The coin's entry; its name may hold a small letter that ours cannot."""
        if instrument.exchange != NAME:
            raise UsageError(f"{instrument} is not an instrument of {NAME}")
        coins = self._coins.get("coins", lambda: {listed.instrument: listed for listed in self._rest.meta()})
        if instrument not in coins:
            raise not_listed(instrument, instrument.symbol, coins)
        return coins[instrument]

    def _empty(self, subject: _Subject, day: date, reason: str, *, forgotten: bool) -> FetchedDay:
        return empty_day(
            subject.instrument,
            subject.table,
            day,
            host=self._rest.host,
            market=subject.market,
            reason=reason,
            forgotten=forgotten,
        )

    def _now(self) -> datetime:
        return trusted_now(self.server_time(), self._access.clock())
