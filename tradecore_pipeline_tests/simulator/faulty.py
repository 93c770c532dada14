"""A server whose fault plan tests switch, and a stub of every exchange's pages of rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import requests
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tradecore_pipeline.simulator.asked import Exchange
from tradecore_pipeline.simulator.faults import FaultPlan
from tradecore_pipeline.simulator.meddling import FaultControl, Meddling
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running

START, END = date(2025, 1, 25), date(2025, 2, 6)
NOW = datetime(2025, 2, 4, 10, 30, 30, tzinfo=UTC)
SECONDS = 10

PAGES: dict[Exchange, str] = {
    "binance": "/fapi/v1/klines?symbol=BTCUSDT",
    "bybit": "/v5/market/kline?symbol=BTCUSDT&start=1",
    "okx": "/api/v5/market/history-candles?instId=BTC-USDT-SWAP&after=9",
    "hyperliquid": "/info",
}
CANDLE_REQUEST = {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": 5, "endTime": 9}}


class Server:
    """Requests to a running simulator, and to its control port."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def plan(self, *rules: dict[str, Any], seed: int = 1, limits: bool = False) -> dict[str, Any]:
        answer = self._session.post(
            f"{self.url}/_ctl", json={"seed": seed, "rules": list(rules), "limits": limits}, timeout=SECONDS
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, target: str, *, seconds: float = SECONDS) -> requests.Response:
        return self._session.get(self.url + target, timeout=seconds)

    def info(self, document: dict[str, Any]) -> requests.Response:
        return self._session.post(f"{self.url}/info", json=document, timeout=SECONDS)

    def page(self, exchange: Exchange) -> requests.Response:
        return self.info(CANDLE_REQUEST) if exchange == "hyperliquid" else self.get(PAGES[exchange])

    def fired(self) -> list[int]:
        return [rule["fired"] for rule in self.get("/_ctl").json()["rules"]]

    def clear(self) -> None:
        self._session.delete(f"{self.url}/_ctl", timeout=SECONDS)

    def close(self) -> None:
        self._session.close()


@contextmanager
def simulated() -> Iterator[Server]:
    with running(build_simulated(demo_parameters(), 11, start=START, end=END, now=NOW)) as url:
        server = Server(url)
        yield server
        server.close()


@contextmanager
def stubbed() -> Iterator[Server]:
    with running(stub_app(FaultPlan.none())) as url:
        server = Server(url)
        yield server
        server.close()


def stub_app(plan: FaultPlan) -> Starlette:
    """Ten candles of each exchange in its own envelope, newest first where it sends them so; the newest is open."""
    control = FaultControl(plan)
    routes = [
        Route("/fapi/v1/klines", _binance),
        Route("/fapi/v1/time", lambda _: JSONResponse({"serverTime": 1_000_000})),
        Route("/v5/market/kline", _bybit),
        Route("/v5/market/time", lambda _: JSONResponse(_BYBIT_TIME)),
        Route("/api/v5/market/history-candles", _okx),
        Route("/api/v5/rubik/stat/contracts/open-interest-history", _okx_interest),
        Route("/api/v5/public/time", lambda _: JSONResponse({"code": "0", "msg": "", "data": [{"ts": "1000000"}]})),
        Route("/api/v5/public/market-data-history", _okx_files),
        Route("/cdn/okex/{name}", lambda _: Response(b"zip", media_type="application/zip")),
        Route("/info", _hyperliquid, methods=["POST"]),
        Route("/_ctl", control.endpoint, methods=["GET", "POST", "DELETE"]),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Meddling, control=control)])
    app.state.control = control
    return app


_BYBIT_TIME = {"retCode": 0, "result": {"timeSecond": "1000", "timeNano": "1000000000000"}, "time": 1_000_000}


def candle(minute: int) -> list[str]:
    return [str(minute * 60_000), "100.5", f"10{minute % 9 + 1}.5", "100.1", "101.0", f"{minute}.125", "1", "1"]


async def _binance(request: Request) -> JSONResponse:  # noqa: ARG001 (an endpoint is given its request)
    return JSONResponse([[int(row[0]), *row[1:]] for row in map(candle, range(10))])


async def _bybit(request: Request) -> JSONResponse:
    first = int(request.query_params.get("start", "100"))
    rows = [candle(minute)[:7] for minute in reversed(range(first, first + 10))]
    result = {"symbol": "BTCUSDT", "list": rows, "nextPageCursor": "more"}
    return JSONResponse({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1_000_000})


async def _okx(request: Request) -> JSONResponse:  # noqa: ARG001 (an endpoint is given its request)
    rows = [[*candle(minute), "0" if minute == 9 else "1"] for minute in reversed(range(10))]
    return JSONResponse({"code": "0", "msg": "", "data": rows})


async def _okx_interest(request: Request) -> JSONResponse:  # noqa: ARG001 (likewise)
    rows = [[str(minute * 300_000), "100", "1.00", "100000.5"] for minute in reversed(range(10))]
    return JSONResponse({"code": "0", "msg": "", "data": rows})


async def _okx_files(request: Request) -> JSONResponse:
    names = ("BTC-USDT-SWAP-candlesticks-2025-02-01.zip", "BTC-USDT-SWAP-candlesticks-2025-02-02.zip")
    files = [{"filename": name, "url": f"{request.base_url}cdn/okex/{name}"} for name in names]
    return JSONResponse({"code": "0", "msg": "", "data": [{"details": [{"groupDetails": files}]}]})


async def _hyperliquid(request: Request) -> JSONResponse:
    document = await request.json()
    first = document["req"]["startTime"] if document["type"] == "candleSnapshot" else document["startTime"]
    return JSONResponse(
        [
            {"t": int(row[0]), "s": "BTC", "o": row[1], "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": 3}
            for row in map(candle, range(first, first + 10))
        ]
    )
