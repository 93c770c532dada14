"""Open interest by day: five-minute snapshots over REST, for as long as OKX keeps them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import OPEN_INTEREST
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.answers import oldest_key
from tradecore_pipeline.exchanges.days import cut_off, empty_day
from tradecore_pipeline.exchanges.grid import GridSeries, grid_days
from tradecore_pipeline.exchanges.okx.listing import Subject
from tradecore_pipeline.exchanges.okx.paging import MOMENT
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.pieces import ONE_DAY

_EDGE = timedelta(hours=1)
"""While days are fetched, OKX goes on forgetting: what it kept no longer than this may be gone on the next page."""


class OpenInterestRoute:
    """Where each day of open interest comes from."""

    def __init__(self, api: OkxApi) -> None:
        self._api = api

    def oldest(self, subject: Subject, *, since: datetime) -> datetime | None:
        """The oldest snapshot that OKX still serves, or a little before ``since``; None where it has none."""
        series = self._api.open_interest(subject.swap, subject.server)
        if series.newest_before(subject.now + MOMENT) is None:
            return None
        since -= _EDGE
        if series.newest_before(since) is not None:
            return since
        first = day_start(since.date())
        return oldest_key(series.newest_before, series.read, OPEN_INTEREST, since=first, now=subject.now)

    def fetch(self, subject: Subject, oldest: datetime | None, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The days, in order; ``oldest`` as above."""
        for day in days:
            yield subject.before_listing(OPEN_INTEREST, day) or self._day(subject, oldest, day)

    def _day(self, subject: Subject, oldest: datetime | None, day: date) -> FetchedDay:
        start = day_start(day)
        if oldest is None or start + ONE_DAY <= oldest:
            reason = _why(subject, oldest)
            host, market = subject.server.host, subject.server.market
            gone = empty_day(
                subject.instrument, OPEN_INTEREST, day, host=host, market=market, reason=reason, forgotten=True
            )
            return replace(gone, complete=start + ONE_DAY <= subject.now)
        rest = self._api.open_interest(subject.swap, subject.server)
        series = GridSeries(subject.instrument, OPEN_INTEREST, rest.step, rest.read, rest.seen_since)
        until = subject.now + MOMENT
        (fetched,) = grid_days(series, (day,), now=subject.now, opened=oldest, until=until, archived=None)
        # On the day of the listing, open interest begins late by itself.
        forgotten = start < oldest + _EDGE and subject.opened < start
        return cut_off(fetched, oldest, why=_why(subject, oldest)) if forgotten else fetched


def _why(subject: Subject, oldest: datetime | None) -> str:
    if oldest is None:
        return f"not published: OKX has no open interest of {subject.instrument.symbol}"
    kept = (subject.now - oldest) / ONE_DAY
    return f"not published: OKX keeps five-minute open interest for {kept:.0f} days"
