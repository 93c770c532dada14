"""Open interest by day: five-minute snapshots over REST, for as long as OKX keeps them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import OPEN_INTEREST
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.okx.listing import Listed, Listings
from tradecore_pipeline.exchanges.okx.paging import ASKED_IN_VAIN, MOST_ASKS, Series, newest_key, oldest_key, read
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import (
    ONE_DAY,
    Asked,
    Piece,
    Verdict,
    assemble,
    cut,
    judge,
    merge,
    nothing,
    split_gaps,
)
from tradecore_pipeline.quality.gaps import find_gaps

_STEP = timedelta(minutes=5)
_MOMENT = timedelta(milliseconds=1)
_KEPT = 1024


class OpenInterestRoute:
    """Where each day of open interest comes from."""

    def __init__(self, *, api: OkxApi, listings: Listings) -> None:
        self._api = api
        self._listings = listings
        self._oldest: Once[datetime | None] = Once(keep=_KEPT)

    def oldest(self, listed: Listed) -> datetime | None:
        """The oldest snapshot that OKX still serves (at the first question); None where it has none."""
        return self._oldest.get(listed.swap.inst_id, lambda: self._search(listed))

    def fetch(self, listed: Listed, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The days, in order."""
        for day in days:
            yield self._day(listed, day)

    def _day(self, listed: Listed, day: date) -> FetchedDay:
        start = day_start(day)
        end = start + ONE_DAY
        early = self._listings.before_listing(listed, OPEN_INTEREST, start)
        if early is not None:
            return early
        oldest = self.oldest(listed)
        empty = nothing(OPEN_INTEREST, host=listed.server.host, market=listed.server.market)
        if oldest is None or end <= oldest:
            return self._forgotten(listed, day, empty, oldest, gaps=())
        until = min(end, listed.now + _MOMENT)
        series = self._api.open_interest(listed.swap, now=listed.now)
        piece, kept_from = empty, start
        unheard = 0
        for _ in range(MOST_ASKS):
            gaps = _gaps(piece, start=kept_from, end=until)
            if not gaps or unheard == ASKED_IN_VAIN:
                break
            known = piece.rows.num_rows
            piece, told = self._add(series, listed, piece, gaps)
            unheard = 0 if piece.rows.num_rows > known else unheard + 1
            kept_from = max(kept_from, told or start)
        gaps = _gaps(piece, start=kept_from, end=until)
        if kept_from > start and not self._opened_on(listed, day):
            return self._forgotten(listed, day, piece, kept_from, gaps=gaps)
        asked = Asked(listed.now, self._seen_until(series, listed, piece, gaps) if end <= listed.now else None, "")
        verdict = judge(piece, OPEN_INTEREST, day=day, gaps=gaps, asked=asked)
        return assemble(listed.instrument, OPEN_INTEREST, day, piece, verdict)

    def _search(self, listed: Listed) -> datetime | None:
        series = self._api.open_interest(listed.swap, now=listed.now)
        newest = newest_key(series, before=listed.now + _MOMENT)
        if newest is None:
            return None
        return oldest_key(series, floor=min(self._listings.first_bar(listed), newest), newest=newest)

    def _add(
        self, series: Series, listed: Listed, piece: Piece, gaps: tuple[Gap, ...]
    ) -> tuple[Piece, datetime | None]:
        """The piece with what REST has for the gaps; and since when it has anything, where they reach beyond that."""
        end = min(gaps[-1].last_missing + _STEP + _MOMENT, listed.now + _MOMENT)
        answer = read(
            series, start=gaps[0].first_missing, end=end, host=listed.server.host, market=listed.server.market
        )
        begins_inside = answer.oldest is not None and answer.oldest > gaps[0].first_missing
        inside = cut(answer.piece, OPEN_INTEREST, start=gaps[0].first_missing, end=gaps[-1].last_missing + _STEP)
        return merge(piece, inside, OPEN_INTEREST), answer.oldest if begins_inside else None

    def _opened_on(self, listed: Listed, day: date) -> bool:
        """Whether open interest begins on the day because the instrument does."""
        return self._listings.first_bar(listed) >= day_start(day)

    def _forgotten(
        self, listed: Listed, day: date, piece: Piece, oldest: datetime | None, *, gaps: tuple[Gap, ...]
    ) -> FetchedDay:
        symbol = listed.instrument.symbol
        if oldest is None:
            reason = f"not published: OKX has no open interest of {symbol}"
        else:
            kept = (listed.now - oldest) / ONE_DAY
            reason = f"not published: OKX keeps five-minute open interest for {kept:.0f} days"
        over = day_start(day) + ONE_DAY <= listed.now
        verdict = Verdict(gaps, complete=over, reason=reason)
        return replace(assemble(listed.instrument, OPEN_INTEREST, day, piece, verdict), forgotten=True)

    def _seen_until(self, series: Series, listed: Listed, piece: Piece, gaps: tuple[Gap, ...]) -> datetime | None:
        """The newest snapshot, asked for only where nothing on the day follows its last gap."""
        _, silence = split_gaps(gaps, piece, OPEN_INTEREST, seen_until=None)
        if silence is None:
            return None
        newest = newest_key(series, before=listed.now + _MOMENT)
        last = piece.rows.column("ts_event")[-1].as_py() if piece.rows.num_rows else None
        if newest is None or (last is not None and newest < last):
            raise InvalidDataError(f"OKX contradicts itself about its newest open interest ({newest}): try again later")
        return newest


def _gaps(piece: Piece, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    return find_gaps(piece.rows.column("ts_event"), start=start, end=end, step=_STEP)
