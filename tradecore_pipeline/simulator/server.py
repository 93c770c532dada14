"""The server: one application over any back end, run in the foreground or beside a test; loopback only."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import LOGGING_CONFIG

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.market_data import MARKET_HEADER
from tradecore_pipeline.domain.time import Clock, utc_now
from tradecore_pipeline.simulator.archive import ArchiveFace
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.bybit import BybitFace
from tradecore_pipeline.simulator.faults import FaultPlan
from tradecore_pipeline.simulator.hyperliquid import HyperliquidFace
from tradecore_pipeline.simulator.journal import Journal, Journaled
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.meddling import CutOnPurpose, FaultControl, Meddling
from tradecore_pipeline.simulator.okx import OkxFace
from tradecore_pipeline.simulator.parameters import MarketParameters
from tradecore_pipeline.simulator.queries import ApiError, refuse
from tradecore_pipeline.simulator.recorded import RecordedBackend
from tradecore_pipeline.simulator.rest import RestFace
from tradecore_pipeline.simulator.restatement_face import RestatementFace
from tradecore_pipeline.simulator.simulated import SimulatedBackend

HOST = "127.0.0.1"

_LOGGING: dict[str, Any] = LOGGING_CONFIG | {
    "filters": {"cut_on_purpose": {"()": CutOnPurpose}},
    "loggers": LOGGING_CONFIG["loggers"] | {"uvicorn.error": {"level": "INFO", "filters": ["cut_on_purpose"]}},
}


def build_simulated(
    parameters: MarketParameters,
    seed: int,
    *,
    start: date,
    end: date,
    now: datetime | None,
    faults: FaultPlan | None = None,
) -> Starlette:
    """The application over a simulated market of the days ``start`` to ``end`` (excluded).

    ``now`` freezes the server's clock at that moment; None lets it run with this machine's.
    """
    backend = SimulatedBackend(SimulatedMarket(parameters, seed, start=start, end=end))
    return create_app(backend, clock_at(now), faults=faults)


def build_recorded(directory: Path, *, now: datetime | None, faults: FaultPlan | None = None) -> Starlette:
    """The application over recorded archive files below ``directory``.

    ``now`` freezes the clock, and files then appear at their publication dates; None serves all that is there.
    """
    return create_app(RecordedBackend(directory, delayed=now is not None), clock_at(now), faults=faults)


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


def create_app(backend: Backend, clock: Clock, *, faults: FaultPlan | None = None) -> Starlette:
    """The application. It starts with the plan ``faults``, or none; ``/_ctl`` switches plans while it runs."""
    journal = Journal()
    control = FaultControl(FaultPlan.none() if faults is None else faults)
    middleware = [
        Middleware(_MarketHeader, market=backend.market),
        Middleware(Journaled, journal=journal),
        Middleware(Meddling, control=control),
    ]
    routes = [
        *RestFace(backend, clock).routes(),
        *ArchiveFace(backend, clock).routes(),
        *BybitFace(backend, clock).routes(),
        *OkxFace(backend, clock).routes(),
        *HyperliquidFace(backend, clock).routes(),
        *RestatementFace(backend, clock).routes(),
        Route("/_log", journal.report),
        Route("/_ctl", control.endpoint, methods=["GET", "POST", "DELETE"]),
    ]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={ApiError: refuse})
    app.state.control = control
    return app


def serve(app: Starlette, *, port: int) -> None:
    """Serves on 127.0.0.1 until interrupted; one Ctrl-C ends it."""
    with suppress(KeyboardInterrupt):
        _Server(app, port=port).run()


@contextmanager
def running(app: Starlette) -> Generator[str]:
    """Serves from a thread of this process, on a free port, and gives the base URL.

    Raises:
        RuntimeError: the server did not start within ten seconds.
    """
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
        server = _Server(app, port=port)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="simulator")
        thread.start()
        try:
            _wait_until_started(server)
            yield f"http://{HOST}:{port}"
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """Sends stalled answers at once when it is to stop, where others would wait for them."""

    def __init__(self, app: Starlette, *, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=HOST,
                port=port,
                log_config=_LOGGING,
                log_level="warning",
                access_log=False,
                lifespan="off",
            )
        )
        self._control: FaultControl = app.state.control
        self._control.closing.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._control.closing.set()
        await super().shutdown(sockets)


def _wait_until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + 10
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError("the simulator did not start within ten seconds")
        time.sleep(0.005)


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
