"""Binance's REST hosts: what a request costs, what its refusals mean, and the server's clock."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.domain.instruments import PERPETUAL, SPOT
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, PREMIUM_INDEX, Table
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.budget import Limit
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient, Reply
from tradecore_pipeline.exchanges.rest import NotListedError, Page, RestConnection, Venue

Parsed = TypeVar("Parsed")

_WEIGHT = "weight"
_FUNDING = "funding"
_DATA = "data"
_LIMITS = {
    PERPETUAL: {_WEIGHT: Limit(2400, 60), _FUNDING: Limit(500, 300), _DATA: Limit(1000, 300)},
    SPOT: {_WEIGHT: Limit(6000, 60)},
}
"""As documented per address: weight a minute, and two series of endpoints that are counted by themselves."""
_CCXT = {PERPETUAL: ("binanceusdm", "https://fapi.binance.com"), SPOT: ("binance", "https://api.binance.com")}
_SETTINGS = {PERPETUAL: "binance_rest_url", SPOT: "binance_spot_rest_url"}
_TIME = {PERPETUAL: "/fapi/v1/time", SPOT: "/api/v3/time"}
_INFO = {PERPETUAL: ("fapiPublicGetExchangeInfo", 1), SPOT: ("publicGetExchangeInfo", 20)}
_SPOT_KLINES = "publicGetKlines"
_METHODS = {
    BARS_1M.name: "fapiPublicGetKlines",
    PREMIUM_INDEX.name: "fapiPublicGetPremiumIndexKlines",
    FUNDING_RATES.name: "fapiPublicGetFundingRate",
    OPEN_INTEREST.name: "fapiDataGetOpenInterestHist",
}
_OTHERWISE = "days in the archive (data.binance.vision, not geo-blocked) still work, also with TRADECORE_ARCHIVE_ONLY"
_LATEST_MS = 10_000_000_000_000
"""The year 2286: a time beyond it is in another unit."""
_UNKNOWN_SYMBOL = re.compile(r'"code":\s*-1121\b')
_TOO_OLD = re.compile(r'"code":\s*-1130\b')


class BinanceRest:
    """Pages of klines, funding rates and open interest, and the server's clock."""

    def __init__(self, access: Access, *, http: HttpClient) -> None:
        self._access = access
        self._http = http
        self._connections = {kind: _connection(kind, access) for kind in _CCXT}

    def close(self) -> None:
        """End all waiting and close connections."""
        for connection in self._connections.values():
            connection.close()

    def reset(self) -> None:
        """Forget that a host was given up on."""
        for connection in self._connections.values():
            connection.reset()

    @property
    def allowed(self) -> bool:
        """Whether REST may be asked at all."""
        return not self._access.archive_only

    def endpoint(self, market_type: str) -> Endpoint:
        """The host that serves a kind of instrument."""
        return self._connections[market_type].endpoint

    def server_time(self, market_type: str) -> datetime:
        """The server's clock, or ours where only archives may be asked; by plain HTTP: archives do without ccxt."""
        if self._access.archive_only:
            return self._access.clock()
        connection = self._connections[market_type]
        endpoint, path = connection.endpoint, _TIME[market_type]
        reply = connection.get(self._http, path, bucket=_WEIGHT, weight=1, subject="the time")
        if reply is None:
            raise SourceUnavailableError(
                f"{endpoint.host} has no {path}: check {endpoint.setting} (now {endpoint.url})"
            )
        return _time(reply)

    def page(
        self, listed: Listed, table: Table, params: Mapping[str, Any], parse: Callable[[Any], pa.Table]
    ) -> Page[pa.Table]:
        """One parsed reply about ``table`` of the instrument.

        Raises:
            NotListedError: the exchange does not know the symbol.
            SourceUnavailableError: unreachable, refused or banned, or only archives may be asked.
            SourceError: the exchange does not keep data that old, or the payload is not data.
        """
        method = _SPOT_KLINES if listed.market_type == SPOT else _METHODS[table.name]
        bucket, weight = _cost(method, int(params["limit"]))
        connection = self._connections[listed.market_type]
        asked = {"symbol": listed.symbol, **params}
        return connection.call(method, asked, parse, bucket=bucket, weight=weight, subject=listed.symbol)

    def symbols(self, market_type: str, parse: Callable[[Any], Parsed]) -> Page[Parsed]:
        """The parsed document about all symbols of a kind."""
        method, weight = _INFO[market_type]
        return self._connections[market_type].call(
            method, {}, parse, bucket=_WEIGHT, weight=weight, subject="its symbols"
        )


def _connection(market_type: str, access: Access) -> RestConnection:
    ccxt_id, live_url = _CCXT[market_type]
    endpoint = access.endpoint(_SETTINGS[market_type], otherwise=_OTHERWISE)
    venue = Venue(
        ccxt_id=ccxt_id,
        live_url=live_url,
        limits=_LIMITS[market_type],
        explain=partial(_explain, market_type=market_type, host=endpoint.host),
        used_headers={_WEIGHT: "X-MBX-USED-WEIGHT-1M"},
    )
    return RestConnection(venue, endpoint, access)


def _cost(method: str, limit: int) -> tuple[str, float]:
    """The bucket a request counts towards, and its weight."""
    if method.startswith("fapiData"):
        return _DATA, 1
    if method == _METHODS[FUNDING_RATES.name]:
        return _FUNDING, 1
    if method == _SPOT_KLINES:
        return _WEIGHT, 2
    return _WEIGHT, 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _time(reply: Reply) -> datetime:
    payload = reply.json()
    stamp = payload.get("serverTime") if isinstance(payload, dict) else None
    if type(stamp) is not int or not 0 < stamp < _LATEST_MS:
        raise InvalidDataError(f"{reply.url} did not answer with a time: {str(payload)[:120]}")
    return datetime.fromtimestamp(stamp / 1000, tz=UTC)


def _explain(text: str, subject: str, *, market_type: str, host: str) -> TradecoreError | None:
    """Binance's own refusals that asking again does not mend."""
    if _UNKNOWN_SYMBOL.search(text):
        return NotListedError(f"binance does not list {subject} ({market_type}): check the instrument")
    if _TOO_OLD.search(text):
        return SourceError(f"{host} keeps no data that old for {subject} (-1130): only the archive has it")
    return None
