"""Plain HTTP GET with the fences that market data needs: refusals, error pages and short bodies never pass as data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import MARKET_HEADER, REAL_MARKET
from tradecore_pipeline.exchanges.retry import Retriable, Retrier, retry_after_seconds

MAX_BODY_BYTES = 256 * 1024 * 1024
CONNECT_SECONDS = 5
_AGE_DIGITS = 9
"""More of them are no number of seconds that anything was kept for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base address and the setting a person changes to point it elsewhere."""

    url: str
    setting: str
    otherwise: str = ""
    """What still works for a person whom this host does not serve."""

    @property
    def host(self) -> str:
        """Host and port, as recorded beside the data."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete body, and the market its host serves."""

    url: str
    body: bytes
    market: str
    date: datetime | None
    """The host's clock when it answered, where it says (to the second)."""

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises:
            InvalidDataError: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise InvalidDataError(f"{self.url} did not answer with JSON: {_excerpt(self.body)}") from error


def refusal(endpoint: Endpoint, status: int) -> SourceUnavailableError:
    """The error for an HTTP status that means this caller is not served."""
    if status in {418, 429}:
        why = f"HTTP {status}: too many requests from this address, wait before trying again"
    elif status not in {403, 451}:
        why = f"HTTP {status}, the server fails: try again later"
    else:
        why = "HTTP 403: it refuses this network (firewall or geo-block)"
        if status == 451:
            why = "HTTP 451: it does not serve this country (geo-block)"
        otherwise = f"{endpoint.otherwise}; for the rest " if endpoint.otherwise else ""
        why += f": {otherwise}use another network or point {endpoint.setting} at a reachable host"
    return SourceUnavailableError(f"{endpoint.host}: {why}")


def unreachable(endpoint: Endpoint, why: str) -> SourceUnavailableError:
    """The error for a host that does not answer."""
    return SourceUnavailableError(
        f"cannot reach {endpoint.host} ({why}): check the network, or {endpoint.setting} (now {endpoint.url})"
    )


def _redirect(endpoint: Endpoint, location: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"{endpoint.host} points to {location[:200]!r}, which is not followed (a proxy or a login page?): where it has "
        f"really moved, point {endpoint.setting} there (now {endpoint.url})"
    )


class HttpClient:
    """GET requests with retries; redirects are not followed. Safe to share between threads."""

    def __init__(self, *, timeout_seconds: float, retries: int, connections: int) -> None:
        self._timeout = (min(CONNECT_SECONDS, timeout_seconds), timeout_seconds)
        self._retrier = Retrier(retries=retries)
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=8, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # A length can only be checked on a body that is not compressed on the way.
        self._session.headers["Accept-Encoding"] = "identity"

    def close(self) -> None:
        """Close all connections and end all waiting."""
        self._retrier.close()
        self._session.close()

    def get(self, endpoint: Endpoint, path: str, params: Mapping[str, str] | None = None) -> Reply | None:
        """The reply to GET ``endpoint.url + path``, or None where the server says 404.

        Raises:
            SourceUnavailableError: unreachable, refused (403 and 451 are not retried), banned or failing for good.
            InvalidDataError: an error page, a short body, or a status that says the request is wrong.
        """
        url = endpoint.url + path + (f"?{urlencode(params)}" if params else "")
        return self._retrier.run(lambda: self.attempt(endpoint, url))

    def attempt(self, endpoint: Endpoint, url: str) -> Reply | None:
        """One try of ``get`` at ``url``; raises ``Retriable`` where another may do better."""
        try:
            with self._session.get(url, timeout=self._timeout, stream=True, allow_redirects=False) as response:
                body = bytes(response.raw.read(MAX_BODY_BYTES + 1))
        except requests.exceptions.InvalidURL as error:
            raise unreachable(endpoint, "not a valid address") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Retriable(unreachable(endpoint, _short(error)), pause_seconds=None) from error
        status = response.status_code
        if status == 404:
            return None
        if status in {403, 451}:
            raise refusal(endpoint, status)
        if response.is_redirect:
            raise _redirect(endpoint, response.headers["Location"])
        if status in {418, 429} or status >= 500:
            pause = retry_after_seconds(response.headers.get("Retry-After"))
            raise Retriable(refusal(endpoint, status), pause_seconds=pause, throttled=status < 500)
        if status != 200:
            raise InvalidDataError(f"{url} answered HTTP {status}: {_excerpt(body)}")
        _check_body(url, body, length=response.headers.get("Content-Length"))
        market = response.headers.get(MARKET_HEADER, REAL_MARKET)
        return Reply(url, body, market, _date(response.headers.get("Date"), age=response.headers.get("Age")))


def _date(text: str | None, *, age: str | None) -> datetime | None:
    """The moment of an answer; a cache hands on an older one, and says how old it is. None where it is no moment."""
    seconds = int(age) if age is not None and age.isdecimal() and len(age) < _AGE_DIGITS else 0
    try:
        moment = parsedate_to_datetime(text or "")
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC) + timedelta(seconds=seconds)
    except (ValueError, OverflowError):  # an age, or a zone, that leads out of the calendar
        return None


def _check_body(url: str, body: bytes, *, length: str | None) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidDataError(f"{url} is larger than {MAX_BODY_BYTES} bytes")
    if length is not None and length.isdigit() and int(length) != len(body):
        short = InvalidDataError(f"{url} was cut short: {len(body)} of {length} bytes")
        raise Retriable(short, pause_seconds=None)
    if body[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise InvalidDataError(f"{url} answered with a web page instead of data (a proxy or a login page?)")


def _excerpt(body: bytes) -> str:
    return repr(body[:120].decode("utf-8", "replace"))


def _short(error: Exception) -> str:
    text = str(error)
    for sign, why in (
        ("refused", "connection refused"),
        ("timed out", "timed out"),
        ("resolve", "unknown host"),
        ("IncompleteRead", "the body was cut short"),
    ):
        if sign in text:
            return why
    return type(error).__name__


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether an address answers, in words for a person."""

    url: str
    ok: bool
    explanation: str


def probe(endpoint: Endpoint, path: str, *, timeout_seconds: float) -> Probe:
    """Whether GET ``endpoint.url + path`` is served to this machine; never raises for what the network does."""
    client = HttpClient(timeout_seconds=timeout_seconds, retries=0, connections=1)
    try:
        reply = client.get(endpoint, path)
    except (SourceUnavailableError, InvalidDataError) as error:
        return Probe(endpoint.url, ok=False, explanation=str(error))
    finally:
        client.close()
    if reply is None:
        return Probe(endpoint.url, ok=False, explanation=f"{endpoint.host} answers, but has no {path} (HTTP 404)")
    market = "" if reply.market == REAL_MARKET else f", {reply.market}"
    return Probe(endpoint.url, ok=True, explanation=f"reachable{market}")
