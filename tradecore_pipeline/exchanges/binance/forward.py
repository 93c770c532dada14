"""Reading a REST series forward in time, page by page, with proof of progress and of what lies behind a hole."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.exchanges.base import SPOT
from tradecore_pipeline.exchanges.binance.parse import funding_json, klines_json, open_interest_json
from tradecore_pipeline.exchanges.binance.rest import BinanceRest, Page
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.pieces import Piece, cut, nothing
from tradecore_pipeline.quality.gaps import epoch_ms

REST = "rest"
MAX_FUTURES_BARS = 499
"""499 rows cost 2 units of weight, 500 to 1000 cost 5: the most rows per unit."""
MAX_SPOT_BARS = 1000
MAX_FUNDING = 1000
MAX_OPEN_INTEREST = 500
_MINUTE = timedelta(minutes=1)
_NEWEST: dict[str, tuple[str, dict[str, Any], Callable[..., pa.Table]]] = {
    BARS_1M.name: ("fapiPublicGetKlines", {"interval": "1m"}, klines_json),
    FUNDING_RATES.name: ("fapiPublicGetFundingRate", {}, funding_json),
    OPEN_INTEREST.name: ("fapiDataGetOpenInterestHist", {"period": "5m"}, open_interest_json),
}
"""Without times, each endpoint answers with its newest rows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a window, and the newest key the exchange showed: what is missing before it is really missing."""

    piece: Piece
    seen_until: datetime | None


def bars(rest: BinanceRest, listed: Listed, *, start: datetime, end: datetime) -> Answer:
    """1-minute bars in [start, end); ``end`` must not lie beyond the last closed bar."""
    most = MAX_SPOT_BARS if listed.market_type == SPOT else MAX_FUTURES_BARS
    method = "publicGetKlines" if listed.market_type == SPOT else "fapiPublicGetKlines"

    def page(since: datetime) -> tuple[Page, int]:
        # One row more than needed: a row behind the window shows that holes before it are real.
        limit = min(most, (end - since) // _MINUTE + 1)
        params = {"interval": "1m", "startTime": _ms(since), "limit": limit}
        return rest.page(listed, method, params, partial(klines_json, name="REST klines")), limit

    host = rest.endpoint(listed.market_type).host
    return _read(page, BARS_1M, host=host, start=start, end=end)


def funding(rest: BinanceRest, listed: Listed, *, start: datetime, end: datetime) -> Answer:
    """Settlements in [start, end); the first one's interval is unknown."""

    def page(since: datetime) -> tuple[Page, int]:
        params = {"startTime": _ms(since), "limit": MAX_FUNDING}
        parse = partial(funding_json, name="REST fundingRate")
        return rest.page(listed, "fapiPublicGetFundingRate", params, parse), MAX_FUNDING

    host = rest.endpoint(listed.market_type).host
    return _read(page, FUNDING_RATES, host=host, start=start, end=end)


def open_interest(rest: BinanceRest, listed: Listed, *, start: datetime, end: datetime) -> Answer:
    """Open interest in [start, end), at most a day: the endpoint is anchored at its end, so it is asked once."""

    def page(since: datetime) -> tuple[Page, int]:
        until = end + 2 * (OPEN_INTEREST.step or _MINUTE)
        params = {"period": "5m", "startTime": _ms(since), "endTime": _ms(until), "limit": MAX_OPEN_INTEREST}
        parse = partial(open_interest_json, name="REST openInterestHist")
        return rest.page(listed, "fapiDataGetOpenInterestHist", params, parse), MAX_OPEN_INTEREST

    host = rest.endpoint(listed.market_type).host
    return _read(page, OPEN_INTEREST, host=host, start=start, end=end)


def newest_key(rest: BinanceRest, listed: Listed, table: Table) -> datetime | None:
    """The newest published row's key, or None where nothing was ever published."""
    method, params, parse = _NEWEST[table.name]
    if listed.market_type == SPOT:
        method = "publicGetKlines"
    page = rest.page(listed, method, params | {"limit": 1}, partial(parse, name=f"REST {table.name}"))
    return page.rows.column(table.key)[-1].as_py() if page.rows.num_rows else None


def check_silence(rest: BinanceRest, listed: Listed, table: Table, *, since: datetime) -> None:
    """Make sure that an answer without rows from ``since`` on is no lie: the newest row must lie before that.

    Raises:
        InvalidDataError: it does not.
    """
    newest = newest_key(rest, listed, table)
    if newest is None or newest >= since:
        raise InvalidDataError(
            f"{rest.endpoint(listed.market_type).host} contradicts itself about {table.name} of {listed.symbol}: "
            f"nothing since {since:%Y-%m-%d %H:%M} UTC, but the newest row is of {newest}; try again later"
        )


def _read(
    page: Callable[[datetime], tuple[Page, int]],
    table: Table,
    *,
    host: str,
    start: datetime,
    end: datetime,
) -> Answer:
    since, seen_until = start, None
    tables: list[pa.Table] = []
    files: list[SourceFile] = []
    while True:
        reply, limit = page(since)
        if reply.rows.num_rows:
            seen_until = _check_window(reply, table, since=since)
            tables.append(reply.rows)
            files.append(SourceFile(reply.url, ""))
            since = seen_until + _MINUTE
        if reply.rows.num_rows < limit or since >= end:
            break
    if not tables:
        return Answer(nothing(table, host=host, market=reply.market), None)
    piece = Piece(pa.concat_tables(tables), REST, host, reply.market, tuple(files))
    return Answer(cut(piece, table, start=start, end=end), seen_until)


def _check_window(reply: Page, table: Table, *, since: datetime) -> datetime:
    """The page's last key; every key must lie at or after what was asked for, or paging would not advance."""
    first = int(epoch_ms(reply.rows.column(table.key))[0])
    if first < _ms(since):
        raise InvalidDataError(f"{reply.url} answered with rows before {since.isoformat()}: startTime was ignored")
    return reply.rows.column(table.key)[-1].as_py()


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
