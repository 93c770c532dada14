"""A small demo market behind a running server, and ccxt pointed at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import ccxt
import pytest

from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running

START, END = date(2024, 12, 1), date(2025, 2, 10)
NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)
SEED = 11


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return SimulatedMarket(demo_parameters(), SEED, start=START, end=END)


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    with running(build_simulated(demo_parameters(), SEED, start=START, end=END, now=NOW)) as url:
        yield url


@contextmanager
def _client(kind: str, market_types: list[str] | None, base_url: str) -> Iterator[Any]:
    options = {} if market_types is None else {"fetchMarkets": {"types": market_types}}
    exchange = getattr(ccxt, kind)({"enableRateLimit": False, "options": options})
    for name, address in exchange.urls["api"].items():
        if isinstance(address, str):
            host = "/".join(address.split("/")[:3])
            exchange.urls["api"][name] = address.replace(host, base_url)
    yield exchange
    exchange.session.close()


@pytest.fixture
def futures(base_url: str) -> Iterator[Any]:
    with _client("binanceusdm", ["linear"], base_url) as exchange:
        yield exchange


@pytest.fixture
def spot(base_url: str) -> Iterator[Any]:
    with _client("binance", ["spot"], base_url) as exchange:
        yield exchange


@pytest.fixture
def bybit(base_url: str) -> Iterator[Any]:
    with _client("bybit", None, base_url) as exchange:
        yield exchange


@pytest.fixture
def okx(base_url: str) -> Iterator[Any]:
    with _client("okx", None, base_url) as exchange:
        yield exchange


@pytest.fixture
def hyperliquid(base_url: str) -> Iterator[Any]:
    with _client("hyperliquid", None, base_url) as exchange:
        # This client, unlike the others, ends every window at its own machine's present.
        exchange.milliseconds = lambda: int(NOW.timestamp() * 1000)
        yield exchange
