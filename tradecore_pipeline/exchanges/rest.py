"""REST endpoints through ccxt's implicit methods, fenced: budgets, bounded retries, and no payload taken on trust.

ccxt's unified methods turn a web page or a cut body into rows of nothing without an error, so only the raw payload is
used, and its type is checked by the parsers. ccxt takes a second to import: it is, when the first request is made.
"""

import queue
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, TradecoreError, UsageError
from tradecore_pipeline.domain.market_data import MARKET_HEADER, REAL_MARKET
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.budget import Budget, Limit
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient, Reply, refusal, unreachable
from tradecore_pipeline.exchanges.retry import Retriable, Retrier, retry_after_seconds

Parsed = TypeVar("Parsed")
Explain = Callable[[str, str], TradecoreError | Retriable | None]
"""An exchange's own refusals: of the reply's text and what was asked about, our error; None for all others.

A ``Retriable`` with ``throttled=True`` keeps every process from the host: for its pause, or for a growing one.
"""

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class NotListedError(UsageError):
    """The exchange does not (or no longer) list the symbol."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Parsed]):
    """One parsed reply."""

    rows: Parsed
    url: str
    market: str


@dataclass(frozen=True, slots=True)
class Venue:
    """What one host of one exchange needs said about it."""

    ccxt_id: str
    live_url: str
    """What ccxt's own addresses of this host begin with."""
    limits: Mapping[str, Limit]
    """The host's documented limits by bucket; every call names the bucket it spends from."""
    explain: Explain
    used_headers: Mapping[str, str] = field(default_factory=dict)
    """By bucket, the header in which the host tells what was spent of it."""


class RestConnection:
    """One host. Calls may come from several threads: each uses a ccxt exchange of its own, at most ``access.workers``.

    A request that is still refused after its retries gives the host up: later calls fail at once until ``reset``,
    so that a host that is down is not asked a thousand times.
    """

    def __init__(self, venue: Venue, endpoint: Endpoint, access: Access) -> None:
        self.endpoint = endpoint
        self._venue = venue
        self._access = access
        self._retrier = Retrier(retries=access.retries)
        self._budget = Budget(access.budgets, endpoint.host, limits=venue.limits, share=access.share)
        self._idle: queue.LifoQueue[_Client] = queue.LifoQueue()
        self._permits = threading.BoundedSemaphore(access.workers)
        self._broken: SourceUnavailableError | None = None

    def reset(self) -> None:
        """Forget an earlier refusal."""
        self._broken = None

    def close(self) -> None:
        """End all waiting and close ccxt's connections, if any were opened."""
        self._retrier.close()
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def call(
        self,
        method: str,
        params: Mapping[str, Any],
        parse: Callable[[Any], Parsed],
        *,
        bucket: str,
        weight: float,
        subject: str,
    ) -> Page[Parsed]:
        """The parsed reply of a ccxt implicit method; a payload that does not parse is asked for again.

        Args:
            method: of ccxt, e.g. ``fapiPublicGetKlines``.
            params: of the request.
            parse: from the decoded payload to rows; raises InvalidDataError where it is not what was asked for.
            bucket: which of the venue's limits it counts towards.
            weight: how much.
            subject: the symbol, for messages.

        Raises:
            NotListedError: the exchange does not know the symbol.
            SourceUnavailableError: unreachable, refused, banned, or archives only are allowed.
            SourceError: the exchange does not keep data that old, or the payload is not data.
        """
        return self._run(lambda: self._attempt(method, params, parse, bucket, subject), bucket, weight, subject)

    def get(self, http: HttpClient, path: str, *, bucket: str, weight: float, subject: str) -> Reply | None:
        """GET ``path`` without ccxt: the same fences, the bare reply (None where the host says 404)."""
        return self._run(lambda: http.attempt(self.endpoint, self.endpoint.url + path), bucket, weight, subject)

    def _run(self, attempt: Callable[[], Parsed], bucket: str, weight: float, subject: str) -> Parsed:
        """``attempt`` until it succeeds, each try paid for."""
        if self._access.archive_only:
            raise SourceUnavailableError(
                f"{self.endpoint.host} is not asked about {subject}: only archives are (TRADECORE_ARCHIVE_ONLY)"
            )
        if self._broken is not None:
            raise self._broken

        def paid() -> Parsed:
            self._budget.spend(bucket, weight, self._retrier.wait)
            try:
                return attempt()
            except Retriable as failure:
                raise self._spared(failure) from failure.__cause__

        try:
            return self._retrier.run(paid)
        except SourceUnavailableError as error:
            self._broken = error
            raise

    def _attempt(
        self,
        method: str,
        params: Mapping[str, Any],
        parse: Callable[[Any], Parsed],
        bucket: str,
        subject: str,
    ) -> Page[Parsed]:
        with self._client() as client:
            try:
                payload = client.call(method, params)
            except client.errors as error:
                raise self._translate(client, error, subject) from error
            finally:
                self._report(client, bucket)
            try:
                rows = parse(_decoded(payload, client.url))
            except InvalidDataError as error:
                refused = self._venue.explain(str(payload)[:2000], subject)
                raise refused or Retriable(error, pause_seconds=None) from error
            return Page(rows, client.url, client.headers.get(MARKET_HEADER, REAL_MARKET))

    def _spared(self, failure: Retriable) -> Retriable:
        """The failure, with the pause that every process now makes if the host complained."""
        if failure.throttled and failure.pause_seconds:
            self._budget.ban(failure.pause_seconds)
        elif failure.throttled:
            failure.pause_seconds = self._budget.back_off()
        return failure

    def _report(self, client: "_Client", bucket: str) -> None:
        header = self._venue.used_headers.get(bucket)
        used = client.headers.get(header, "") if header is not None else ""
        if used.isascii() and used.isdigit():
            self._budget.report(bucket, float(used))

    @contextmanager
    def _client(self) -> Generator["_Client"]:
        with self._permits:
            try:
                client = self._idle.get_nowait()
            except queue.Empty:
                client = _Client(self._venue, self.endpoint, self._access.timeout_seconds)
            try:
                yield client
            finally:
                self._idle.put(client)

    def _translate(self, client: "_Client", error: Exception, subject: str) -> Exception:
        """Our error for ccxt's, wrapped as retriable where it may go away."""
        status, text = client.status, str(error)
        pause = retry_after_seconds(client.headers.get("Retry-After"))
        if status in {418, 429}:
            if (banned := _BANNED_UNTIL.search(text)) is not None:
                pause = max(pause or 0.0, int(banned[1]) / 1000 - time.time()) or None
            return Retriable(refusal(self.endpoint, status), pause_seconds=pause, throttled=True)
        if (explained := self._venue.explain(text, subject)) is not None:
            return explained
        if status in {403, 451}:
            return refusal(self.endpoint, status)
        if status >= 500:
            return Retriable(refusal(self.endpoint, status), pause_seconds=pause)
        return self._unexplained(client, error, subject)

    def _unexplained(self, client: "_Client", error: Exception, subject: str) -> Exception:
        """Our error where neither the status nor the exchange's words say enough: by ccxt's reading of the reply."""
        if client.is_throttled(error):
            return Retriable(refusal(self.endpoint, 429), pause_seconds=None, throttled=True)
        if client.is_network_error(error):
            return Retriable(unreachable(self.endpoint, client.why(error)), pause_seconds=None)
        return InvalidDataError(f"{self.endpoint.host} refused the request for {subject}: {str(error)[:200]}")


def _decoded(payload: Any, url: str) -> Any:
    """The payload; text is what ccxt could not decode.

    Raises:
        InvalidDataError: it is text.
    """
    if not isinstance(payload, str):
        return payload
    if payload[:64].lstrip().lower().startswith(("<!doctype html", "<html")):
        raise InvalidDataError(f"{url} answered with a web page instead of data (a proxy or a login page?)")
    raise InvalidDataError(f"{url} did not answer with JSON: {' '.join(payload[:120].split())!r}")


class _Client:
    """One ccxt exchange pointed at our endpoint, and what its exceptions do not tell: status and headers."""

    def __init__(self, venue: Venue, endpoint: Endpoint, timeout_seconds: float) -> None:
        import ccxt  # noqa: PLC0415 (a second of import, only where REST is needed)

        self._ccxt = ccxt
        self.errors: type[Exception] = ccxt.BaseError
        # Our budget paces requests: ccxt's own pacing knows of one process only.
        exchange: Any = getattr(ccxt, venue.ccxt_id)(
            {"enableRateLimit": False, "timeout": round(timeout_seconds * 1000), "requests_trust_env": True}
        )
        exchange.urls["api"] = _redirected(exchange.urls["api"], venue.live_url, endpoint.url, exchange.hostname)
        self.status = 0
        self.headers: Mapping[str, str] = {}
        unpack = exchange.on_rest_response

        def remember(code: int, *rest: Any) -> Any:
            self.status = code
            return unpack(code, *rest)

        # ccxt's exceptions do not carry the HTTP status: a geo-block looks like a hiccup without it.
        exchange.on_rest_response = remember
        self._exchange = exchange

    @property
    def url(self) -> str:
        return str(self._exchange.last_request_url)

    def call(self, method: str, params: Mapping[str, Any]) -> Any:
        self.status, self.headers = 0, {}
        self._exchange.last_response_headers = None
        try:
            return getattr(self._exchange, method)(dict(params))
        finally:
            self.headers = self._exchange.last_response_headers or {}

    def close(self) -> None:
        self._exchange.session.close()

    def is_throttled(self, error: Exception) -> bool:
        return isinstance(error, self._ccxt.DDoSProtection | self._ccxt.RateLimitExceeded)

    def is_network_error(self, error: Exception) -> bool:
        return isinstance(error, self._ccxt.NetworkError)

    def why(self, error: Exception) -> str:
        return "timed out" if isinstance(error, self._ccxt.RequestTimeout) else type(error).__name__


def _redirected(addresses: Any, live_url: str, url: str, hostname: str | None) -> Any:
    """Ccxt's addresses with ``live_url`` replaced; others stay as they are."""
    if isinstance(addresses, str):
        spelled = addresses.replace("{hostname}", hostname or "")
        return url + spelled.removeprefix(live_url) if spelled.startswith(live_url) else addresses
    if isinstance(addresses, dict):
        return {name: _redirected(value, live_url, url, hostname) for name, value in addresses.items()}
    return addresses
