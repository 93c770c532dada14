"""The server: one application over any back end, run in the foreground or beside a test; loopback only."""

import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.market_data import MARKET_HEADER
from tradecore_pipeline.domain.time import Clock, utc_now
from tradecore_pipeline.simulator.archive import ArchiveFace
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import MarketParameters
from tradecore_pipeline.simulator.queries import ApiError, refuse
from tradecore_pipeline.simulator.recorded import RecordedBackend
from tradecore_pipeline.simulator.rest import RestFace
from tradecore_pipeline.simulator.simulated import SimulatedBackend

HOST = "127.0.0.1"

_REMEMBERED_REQUESTS = 1000


def build_simulated(
    parameters: MarketParameters, seed: int, *, start: date, end: date, now: datetime | None
) -> Starlette:
    """The application over a simulated market of the days ``start`` to ``end`` (excluded).

    ``now`` freezes the server's clock at that moment; None lets it run with this machine's.
    """
    return create_app(SimulatedBackend(SimulatedMarket(parameters, seed, start=start, end=end)), clock_at(now))


def build_recorded(directory: Path, *, now: datetime | None) -> Starlette:
    """The application over recorded archive files below ``directory``.

    ``now`` freezes the clock, and files then appear at their publication dates; None serves all that is there.
    """
    return create_app(RecordedBackend(directory, delayed=now is not None), clock_at(now))


def clock_at(now: datetime | None) -> Clock:
    """A clock that stands still at ``now``, or this machine's.

    Raises:
        UsageError: ``now`` does not say its time zone.
    """
    if now is None:
        return utc_now
    if now.tzinfo is None:
        raise UsageError(
            f"{now.isoformat()} has no time zone: write the simulator's moment as 2024-06-01T12:00:00+00:00"
        )
    frozen = now.astimezone(UTC)
    return lambda: frozen


def create_app(backend: Backend, clock: Clock) -> Starlette:
    """The application. Every response passes through ``middleware``: what should meddle with them goes in there."""
    journal = _Journal()
    middleware = [
        Middleware(_MarketHeader, market=backend.market),
        Middleware(_Journaled, journal=journal),
    ]
    routes = [
        *RestFace(backend, clock).routes(),
        *ArchiveFace(backend, clock).routes(),
        Route("/_log", journal.report),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={ApiError: refuse})


def serve(app: Starlette, *, port: int) -> None:
    """Serves on 127.0.0.1 until interrupted; one Ctrl-C ends it."""
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False, lifespan="off")


@contextmanager
def running(app: Starlette) -> Generator[str]:
    """Serves from a thread of this process, on a free port, and gives the base URL.

    Raises:
        RuntimeError: the server did not start within ten seconds.
    """
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="simulator")
        thread.start()
        try:
            _wait_until_started(server)
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _wait_until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + 10
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError("the simulator did not start within ten seconds")
        time.sleep(0.005)


class _Journal:
    """The kinds of the last requests, for ``GET /_log``."""

    def __init__(self) -> None:
        self._kinds: deque[str] = deque(maxlen=_REMEMBERED_REQUESTS)
        self._total = 0

    def note(self, path: str) -> None:
        self._kinds.append(_kind_of(path))
        self._total += 1

    async def report(self, request: Request) -> JSONResponse:  # noqa: ARG002 (an endpoint is given its request)
        """All requests so far, and the last thousand by kind."""
        return JSONResponse({"total": self._total, "recent": dict(Counter(self._kinds))})


def _kind_of(path: str) -> str:
    if path.startswith("/data/"):
        return "checksum" if path.endswith(".CHECKSUM") else "archive"
    if path in {"/", "/data.binance.vision", "/data.binance.vision/"}:
        return "listing"
    known = path.startswith(("/fapi/v1/", "/api/v3/", "/futures/data/"))
    return path if known and len(path) < 64 else "other"


class _Journaled:
    """Notes every request but those for the journal itself."""

    def __init__(self, app: ASGIApp, journal: _Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/_log":
            self._journal.note(scope["path"])
        await self._app(scope, receive, send)


class _MarketHeader:
    """Says in every response which market it speaks for."""

    def __init__(self, app: ASGIApp, market: str) -> None:
        self._app = app
        self._market = market

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[MARKET_HEADER] = self._market
            await send(message)

        await self._app(scope, receive, send_named)
