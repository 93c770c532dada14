"""Binance's REST endpoints through ccxt's implicit methods, which keep its weight budget.

ccxt's unified methods turn a web page or a cut body into rows of nothing without an error, so only the raw payload is
used, and its type is checked by the parsers. ccxt takes a second to import: it is, when the first request is made.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError, UsageError
from tradecore_pipeline.domain.market_data import MARKET_HEADER, REAL_MARKET
from tradecore_pipeline.exchanges.base import SPOT
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient, refusal, unreachable
from tradecore_pipeline.exchanges.retry import Retriable, Retrier, retry_after_seconds

_LIVE_FUTURES = "https://fapi.binance.com"
_LIVE_SPOT = "https://api.binance.com"
_OLD_OPEN_INTEREST = "-1130"


class NotListedError(UsageError):
    """The exchange does not (or no longer) list the symbol."""


@dataclass(frozen=True, slots=True)
class Page:
    """The parsed rows of one reply."""

    rows: pa.Table
    url: str
    market: str


class _Connection:
    """One ccxt exchange; calls are made one at a time, as its pacing is not made for threads."""

    def __init__(self, *, market_type: str, endpoint: Endpoint, timeout_seconds: float, retrier: Retrier) -> None:
        self.endpoint = endpoint
        self._market_type = market_type
        self._timeout_seconds = timeout_seconds
        self._retrier = retrier
        self._lock = threading.Lock()
        self._exchange: Any = None
        self._status = 0
        self._broken: SourceUnavailableError | None = None

    def reset(self) -> None:
        """Forget an earlier refusal."""
        self._broken = None

    def close(self) -> None:
        """Close ccxt's connections, if any were opened."""
        with self._lock:
            if self._exchange is not None:
                self._exchange.session.close()

    def call(self, method: str, params: dict[str, Any], parse: Callable[[Any], pa.Table]) -> Page:
        """The parsed reply of an implicit method; a payload that does not parse is asked for again.

        After a host was given up on, later calls fail at once until ``reset``.
        """
        with self._lock:
            if self._broken is not None:
                raise self._broken
            try:
                return self._retrier.run(lambda: self._attempt(method, params, parse))
            except SourceUnavailableError as error:
                self._broken = error
                raise

    def _attempt(self, method: str, params: dict[str, Any], parse: Callable[[Any], pa.Table]) -> Page:
        import ccxt  # noqa: PLC0415 (a second of import, only where REST is needed)

        if self._exchange is None:
            self._exchange = self._connect(ccxt)
        exchange = self._exchange
        try:
            payload = getattr(exchange, method)(params)
        except ccxt.BaseError as error:
            raise self._translate(ccxt, error, symbol=str(params.get("symbol"))) from error
        try:
            rows = parse(payload)
        except InvalidDataError as error:
            raise Retriable(error, pause_seconds=None) from error
        headers: dict[str, str] = exchange.last_response_headers or {}
        return Page(rows, str(exchange.last_request_url), headers.get(MARKET_HEADER, REAL_MARKET))

    def _connect(self, ccxt: Any) -> Any:
        build = ccxt.binance if self._market_type == SPOT else ccxt.binanceusdm
        exchange = build(
            {"enableRateLimit": True, "timeout": round(self._timeout_seconds * 1000), "requests_trust_env": True}
        )
        live = _LIVE_SPOT if self._market_type == SPOT else _LIVE_FUTURES
        api: dict[str, Any] = exchange.urls["api"]
        for name, url in api.items():
            if isinstance(url, str):
                api[name] = url.replace(live, self.endpoint.url, 1) if url.startswith(live) else url
        unpack = exchange.on_rest_response

        def remember_status(code: int, *rest: Any) -> Any:
            self._status = code
            return unpack(code, *rest)

        # ccxt's exceptions do not carry the HTTP status: a geo-block looks like a hiccup without it.
        exchange.on_rest_response = remember_status
        return exchange

    def _translate(self, ccxt: Any, error: Exception, *, symbol: str) -> Exception:
        """Our error for ccxt's, wrapped as retriable where it may go away."""
        status, self._status = self._status, 0
        if status in {403, 451}:
            return refusal(self.endpoint, status)
        if status in {418, 429} or status >= 500:
            headers: dict[str, str] = self._exchange.last_response_headers or {}
            pause = retry_after_seconds(headers.get("Retry-After"))
            return Retriable(refusal(self.endpoint, status), pause_seconds=pause)
        if isinstance(error, ccxt.NetworkError):
            why = "timed out" if isinstance(error, ccxt.RequestTimeout) else type(error).__name__
            return Retriable(unreachable(self.endpoint, why), pause_seconds=None)
        if isinstance(error, ccxt.BadSymbol):
            return NotListedError(f"binance does not list {symbol} ({self._market_type}): check the instrument")
        if isinstance(error, ccxt.BadRequest) and _OLD_OPEN_INTEREST in str(error):
            host = self.endpoint.host
            return SourceError(f"{host} keeps no data that old for {symbol} (-1130): only the archive has it")
        return InvalidDataError(f"{self.endpoint.host} refused the request for {symbol}: {str(error)[:200]}")


class BinanceRest:
    """Pages of klines, funding rates and open interest, and the server's clock."""

    def __init__(
        self, *, http: HttpClient, endpoints: dict[str, Endpoint], timeout_seconds: float, retries: int
    ) -> None:
        self._http = http
        self._retrier = Retrier(retries=retries)
        self._connections = {
            kind: _Connection(
                market_type=kind, endpoint=endpoint, timeout_seconds=timeout_seconds, retrier=self._retrier
            )
            for kind, endpoint in endpoints.items()
        }

    def close(self) -> None:
        """End all waiting and close connections."""
        self._retrier.close()
        for connection in self._connections.values():
            connection.close()

    def reset(self) -> None:
        """Forget that a host was given up on."""
        for connection in self._connections.values():
            connection.reset()

    def endpoint(self, market_type: str) -> Endpoint:
        """The host that serves a kind of instrument."""
        return self._connections[market_type].endpoint

    def server_time(self, market_type: str) -> datetime:
        """The server's clock; by plain HTTP, so that days in the archive do without ccxt."""
        endpoint = self.endpoint(market_type)
        path = "/api/v3/time" if market_type == SPOT else "/fapi/v1/time"
        reply = self._http.get(endpoint, path)
        if reply is None:
            raise SourceUnavailableError(
                f"{endpoint.host} has no {path}: check {endpoint.setting} (now {endpoint.url})"
            )
        payload = reply.json()
        stamp = payload.get("serverTime") if isinstance(payload, dict) else None
        if type(stamp) is not int:
            raise InvalidDataError(f"{reply.url} did not answer with a time: {str(payload)[:120]}")
        return datetime.fromtimestamp(stamp / 1000, tz=UTC)

    def page(self, listed: Listed, method: str, params: dict[str, Any], parse: Callable[[Any], pa.Table]) -> Page:
        """One parsed reply of an implicit method for the instrument.

        Raises:
            NotListedError: the exchange does not know the symbol.
            SourceUnavailableError: unreachable, refused or banned.
            SourceError: the exchange does not keep data that old, or the payload is not data.
        """
        return self._connections[listed.market_type].call(method, {"symbol": listed.symbol} | params, parse)
