"""One simulated market, served as all four exchanges: what the suites that compare them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import requests

from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import clock_at, create_app, running
from tradecore_pipeline.simulator.simulated import SimulatedBackend

START, END = date(2024, 11, 20), date(2025, 1, 20)
BEGINNING = day_start(START)
NOW = datetime(2025, 1, 12, 9, 30, 20, tzinfo=UTC)
MARKET = "simulated:seed3-2024-11-20"


def make_market() -> SimulatedMarket:
    return SimulatedMarket(demo_parameters(), 3, start=START, end=END)


@contextmanager
def serving(market: SimulatedMarket) -> Iterator[str]:
    """The base URL of all exchanges at ``NOW``."""
    app = create_app(SimulatedBackend(market), clock_at(NOW))
    with running(app) as url:
        yield url


@contextmanager
def faults(url: str, *rules: dict[str, Any], seed: int = 1) -> Iterator[None]:
    """The server misbehaves by these rules of a fault plan."""
    requests.post(f"{url}/_ctl", json={"seed": seed, "rules": list(rules)}, timeout=5).raise_for_status()
    try:
        yield
    finally:
        requests.delete(f"{url}/_ctl", timeout=5).raise_for_status()
