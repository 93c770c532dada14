"""Bybit's v5 market endpoints: pages of bars, settlements and open interest of one symbol, and the listing."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.answers import Answer, answer_of, first_key, last_key
from tradecore_pipeline.exchanges.budget import Limit
from tradecore_pipeline.exchanges.bybit.parse import (
    funding_json,
    instruments_json,
    kline_json,
    open_interest_json,
    time_json,
)
from tradecore_pipeline.exchanges.payloads import within
from tradecore_pipeline.exchanges.rest import NotListedError, Page, RestConnection, Venue
from tradecore_pipeline.exchanges.retry import Retriable

MAX_BARS = 1000
MAX_ROWS = 200
"""Rows of one page of settlements or of open interest."""
MAX_LISTING_PAGES = 50
_MILLISECOND = timedelta(milliseconds=1)
_REQUESTS = "requests"
_CODE = re.compile(r"""['"]retCode['"]:\s*(\d+)""")
_MALFORMED, _TOO_MANY = 10001, {10006, 10018}
_BAN_SECONDS = 600.0
_SERVER_FAILS = {10000, 10016}

Parsed = TypeVar("Parsed")


class BybitRest:
    """One host. Times are half-open windows; every page must lie inside the one that was asked for."""

    def __init__(self, access: Access) -> None:
        venue = Venue("bybit", "https://api.bybit.com", {_REQUESTS: Limit(weight=600, seconds=5)}, explain)
        self._connection = RestConnection(venue, access.endpoint("bybit_rest_url"), access)

    @property
    def host(self) -> str:
        return self._connection.endpoint.host

    def reset(self) -> None:
        """Forget that the host was given up on."""
        self._connection.reset()

    def close(self) -> None:
        """End all waiting and close connections."""
        self._connection.close()

    def server_time(self) -> Page[datetime]:
        """The exchange's clock, and which market the host serves."""
        return self._call("publicGetV5MarketTime", {}, partial(time_json, name="REST time"), subject="time")

    def bars(self, symbol: str, start: datetime, end: datetime) -> Answer:
        """1-minute bars of [start, end), and the one behind."""
        return self._grid(symbol, BARS_1M, start, end, most=MAX_BARS)

    def open_interest(self, symbol: str, start: datetime, end: datetime) -> Answer:
        """Five-minute snapshots of [start, end), and the one behind."""
        return self._grid(symbol, OPEN_INTEREST, start, end, most=MAX_ROWS)

    def funding(self, symbol: str, start: datetime, end: datetime) -> Answer:
        """Settlements of [start, end) and the last one before, read backwards from the end."""
        pages: list[Page[pa.Table]] = []
        until = end - _MILLISECOND
        while True:
            page = self._page(symbol, FUNDING_RATES, first=None, last=until, limit=MAX_ROWS)
            pages.append(page)
            if not page.rows.num_rows or (oldest := first_key(page.rows, FUNDING_RATES)) < start:
                return answer_of(pages, FUNDING_RATES, host=self.host)
            until = oldest - _MILLISECOND

    def newest_before(self, symbol: str, table: Table, moment: datetime) -> datetime | None:
        """The newest key before ``moment``; one empty page is not believed."""
        for _ in range(2):
            page = self._page(symbol, table, first=None, last=moment - _MILLISECOND, limit=1)
            if page.rows.num_rows:
                return last_key(page.rows, table)
        return None

    def seen_since(self, symbol: str, table: Table, moment: datetime) -> datetime | None:
        """The newest key of all, if it is not before ``moment``; a symbol that is asked for this has rows.

        Raises:
            InvalidDataError: it has none.
        """
        newest = self._page(symbol, table, first=None, last=None, limit=1)
        if not newest.rows.num_rows:
            raise InvalidDataError(f"{self.host} shows no {table.name} of {symbol} at all: try again later")
        return last if (last := last_key(newest.rows, table)) >= moment else None

    def instruments(self) -> list[ListedInstrument]:
        """The linear perpetuals that trade or once did."""
        known: dict[Instrument, ListedInstrument] = {}
        for listed in (*self._listed("Trading"), *self._listed("Closed")):
            before = known.get(listed.instrument)
            known[listed.instrument] = listed if before is None else _together(before, listed)
        return list(known.values())

    def _listed(self, status: str) -> list[ListedInstrument]:
        listed: list[ListedInstrument] = []
        cursor = ""
        for _ in range(MAX_LISTING_PAGES):
            params = {"category": "linear", "status": status, "limit": 1000} | ({"cursor": cursor} if cursor else {})
            parse = partial(instruments_json, name="REST instruments-info")
            page = self._call("publicGetV5MarketInstrumentsInfo", params, parse, subject="instruments").rows
            listed.extend(page.listed)
            if page.cursor in {"", cursor}:
                return listed
            cursor = page.cursor
        raise InvalidDataError(f"{self.host} lists instruments without end: try again later")

    def _grid(self, symbol: str, table: Table, start: datetime, end: datetime, *, most: int) -> Answer:
        """Pages of one row less than they may hold: the row behind them shows that holes before it are real."""
        assert table.step is not None  # noqa: S101 (bars and open interest lie on grids)
        pages: list[Page[pa.Table]] = []
        since = start
        while since < end or not pages:
            until = min(end, since + (most - 1) * table.step)
            pages.append(self._page(symbol, table, first=since, last=max(until, since), limit=most))
            since = until
        return answer_of(pages, table, host=self.host)

    def _page(
        self, symbol: str, table: Table, *, first: datetime | None, last: datetime | None, limit: int
    ) -> Page[pa.Table]:
        """Rows with keys in [first, last], the newest ``limit`` of them."""
        method, fixed, begin, end, parse = _SERIES[table.name]
        name = f"REST {method.removeprefix('publicGetV5Market')}"
        window = {side: _ms(moment) for side, moment in ((begin, first), (end, last)) if moment is not None}
        params = {"category": "linear", "symbol": symbol, "limit": limit, **fixed, **window}

        def read(payload: Any) -> pa.Table:
            return within(parse(payload, name=name, symbol=symbol), table, first=first, last=last, name=name)

        return self._call(method, params, read, subject=symbol)

    def _call(
        self, method: str, params: Mapping[str, Any], parse: Callable[[Any], Parsed], *, subject: str
    ) -> Page[Parsed]:
        return self._connection.call(method, params, parse, bucket=_REQUESTS, weight=1, subject=subject)


_SERIES: Mapping[str, tuple[str, Mapping[str, Any], str, str, Callable[..., pa.Table]]] = {
    BARS_1M.name: ("publicGetV5MarketKline", {"interval": "1"}, "start", "end", kline_json),
    FUNDING_RATES.name: ("publicGetV5MarketFundingHistory", {}, "startTime", "endTime", funding_json),
    OPEN_INTEREST.name: (
        "publicGetV5MarketOpenInterest",
        {"intervalTime": "5min"},
        "startTime",
        "endTime",
        open_interest_json,
    ),
}
"""Per table: the method, what it always is asked, what it calls the window's ends, and its parser."""


def explain(text: str, subject: str) -> TradecoreError | Retriable | None:
    """Bybit's own refusals come with HTTP 200 and a code."""
    found = _CODE.search(text)
    code = int(found[1]) if found is not None else 0
    if code == _MALFORMED and "symbol" in text.lower():
        return NotListedError(f"bybit does not list {subject}")
    if code in _TOO_MANY:
        busy = SourceUnavailableError(f"bybit: too many requests ({code}), try again later")
        return Retriable(busy, pause_seconds=None, throttled=True)
    if "access too frequent" in text.lower():
        banned = SourceUnavailableError("bybit: too many requests: this address is refused for ten minutes, then retry")
        return Retriable(banned, pause_seconds=_BAN_SECONDS, throttled=True)
    if code in _SERVER_FAILS:
        return Retriable(SourceUnavailableError(f"bybit fails ({code}): try again later"), pause_seconds=None)
    return None


def _together(one: ListedInstrument, other: ListedInstrument) -> ListedInstrument:
    """Two lives of one symbol, or one told twice: from the first day to the last, trading if either is."""
    first = min((day for day in (one.first_day, other.first_day) if day is not None), default=None)
    last = max((day for day in (one.last_day, other.last_day) if day is not None), default=None)
    newer = other if one.status is ListingStatus.DELISTED else one
    return replace(newer, first_day=first, last_day=None if newer.status is ListingStatus.TRADING else last)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
