"""Reading a REST series forward in time, page by page, with proof of progress and of what lies behind a hole."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import SPOT
from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, PREMIUM_INDEX, Table
from tradecore_pipeline.exchanges.answers import REST
from tradecore_pipeline.exchanges.binance.parse import funding_json, klines_json, open_interest_json
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import FOLDERS, Listed
from tradecore_pipeline.exchanges.pieces import Piece, cut, nothing
from tradecore_pipeline.exchanges.rest import Page
from tradecore_pipeline.quality.gaps import epoch_ms

MAX_FUTURES_BARS = 499
"""499 rows cost 2 units of weight, 500 to 1000 cost 5: the most rows per unit."""
MAX_SPOT_BARS = 1000
MAX_FUNDING = 1000
MAX_OPEN_INTEREST = 500
_MINUTE = timedelta(minutes=1)
_NEWEST: dict[str, tuple[dict[str, Any], Callable[..., pa.Table]]] = {
    BARS_1M.name: ({"interval": "1m"}, partial(klines_json, table=BARS_1M)),
    PREMIUM_INDEX.name: ({"interval": "1m"}, partial(klines_json, table=PREMIUM_INDEX)),
    FUNDING_RATES.name: ({}, funding_json),
    OPEN_INTEREST.name: ({"period": "5m"}, open_interest_json),
}
"""Without times, each endpoint answers with its newest rows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a window, and the newest key the exchange showed: what is missing before it is really missing."""

    piece: Piece
    seen_until: datetime | None


def bars(rest: BinanceRest, listed: Listed, table: Table, *, start: datetime, end: datetime) -> Answer:
    """1-minute bars of ``table`` in [start, end); ``end`` must not lie beyond the last closed bar."""
    most = MAX_SPOT_BARS if listed.market_type == SPOT else MAX_FUTURES_BARS

    def params(since: datetime) -> dict[str, Any]:
        # One row more than needed: a row behind the window shows that holes before it are real.
        limit = min(most, (end - since) // _MINUTE + 1)
        return {"interval": "1m", "startTime": _ms(since), "limit": limit}

    parse = partial(klines_json, table=table, name=f"REST {FOLDERS[table.name]}")
    return _read(rest, listed, table, params, parse, start=start, end=end)


def first_bar(rest: BinanceRest, listed: Listed, table: Table) -> Page[pa.Table]:
    """The first row of ``table`` that was ever published, if there is one."""
    params = {"interval": "1m", "startTime": 0, "limit": 1}
    return rest.page(listed, table, params, partial(klines_json, table=table, name=f"REST {FOLDERS[table.name]}"))


def funding(rest: BinanceRest, listed: Listed, *, start: datetime, end: datetime) -> Answer:
    """Settlements in [start, end); the first one's interval is unknown."""

    def params(since: datetime) -> dict[str, Any]:
        return {"startTime": _ms(since), "limit": MAX_FUNDING}

    parse = partial(funding_json, name="REST fundingRate")
    return _read(rest, listed, FUNDING_RATES, params, parse, start=start, end=end)


def open_interest(rest: BinanceRest, listed: Listed, *, start: datetime, end: datetime) -> Answer:
    """Open interest in [start, end), at most a day: the endpoint is anchored at its end."""
    until = end + 2 * (OPEN_INTEREST.step or _MINUTE)

    def params(since: datetime) -> dict[str, Any]:
        return {"period": "5m", "startTime": _ms(since), "endTime": _ms(until), "limit": MAX_OPEN_INTEREST}

    def parse(payload: Any) -> pa.Table:
        rows = open_interest_json(payload, name="REST openInterestHist")
        # A page of other rows would pass for proof that those asked for do not exist.
        if rows.num_rows and rows.column(OPEN_INTEREST.key)[-1].as_py() > until:
            raise InvalidDataError(f"REST openInterestHist answered with rows after {until:%Y-%m-%d %H:%M} UTC")
        return rows

    return _read(rest, listed, OPEN_INTEREST, params, parse, start=start, end=end)


def newest_key(rest: BinanceRest, listed: Listed, table: Table) -> datetime | None:
    """The newest published row's key, or None where nothing was ever published."""
    params, parse = _NEWEST[table.name]
    page = rest.page(listed, table, params | {"limit": 1}, partial(parse, name=f"REST {table.name}"))
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
    rest: BinanceRest,
    listed: Listed,
    table: Table,
    params: Callable[[datetime], dict[str, Any]],
    parse: Callable[[Any], pa.Table],
    *,
    start: datetime,
    end: datetime,
) -> Answer:
    """Pages from ``start`` on until one reaches ``end`` or is empty: a page with few rows may have had them twice."""
    since, seen_until = start, None
    tables: list[pa.Table] = []
    files: list[SourceFile] = []
    while True:
        page = rest.page(listed, table, params(since), partial(_from, since, table=table, parse=parse))
        if not page.rows.num_rows:
            break
        seen_until = page.rows.column(table.key)[-1].as_py()
        tables.append(page.rows)
        files.append(SourceFile(page.url, ""))
        since = seen_until + _MINUTE
        if since >= end:
            break
    host = rest.endpoint(listed.market_type).host
    if not tables:
        return Answer(nothing(table, host=host, market=page.market), None)
    piece = Piece(pa.concat_tables(tables), REST, host, page.market, tuple(files))
    return Answer(cut(piece, table, start=start, end=end), seen_until)


def _from(since: datetime, payload: Any, *, table: Table, parse: Callable[[Any], pa.Table]) -> pa.Table:
    """The parsed rows; all of them must lie at or after what was asked for, or paging would not advance."""
    rows = parse(payload)
    if rows.num_rows and int(epoch_ms(rows.column(table.key))[0]) < _ms(since):
        raise InvalidDataError(f"binance answered with {table.name} before {since.isoformat()}: startTime was ignored")
    return rows


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
