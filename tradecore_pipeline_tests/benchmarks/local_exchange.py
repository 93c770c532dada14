"""A recorded exchange in a process of its own, as a benchmark's other side, and ccxt pointed at it."""

import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ccxt

from tradecore_pipeline.cli.services import HOST, stop
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import utc_now
from tradecore_pipeline.exchanges import make_exchange
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.base import Exchange
from tradecore_pipeline_tests.access import local_access

INSTRUMENT = Instrument("binance", "BTC/USDT")
_PAGE_ROWS = 1000
_MINUTE_MS = 60_000


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def recorded_exchange(folder: Path) -> Generator[str]:
    """Serves the archive ``folder`` and REST over the same files; gives the base URL."""
    port = unused_port()
    command = [sys.executable, "-c", "from tradecore_pipeline.cli import main; main()", "simulator"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--archive-dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(process, port)
        yield f"http://{HOST}:{port}"
    finally:
        stop(process)


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the recorded exchange did not start")


def our_access(url: str, *, budgets: Path, workers: int) -> Access:
    """Access to the exchange at ``url`` with the limits that hold for the real one."""
    return local_access(url, budgets=budgets, clock=utc_now, retries=2, workers=workers, timeout_seconds=20, share=1)


def our_exchange(url: str, *, budgets: Path, workers: int) -> Exchange:
    return make_exchange("binance", our_access(url, budgets=budgets, workers=workers))


def ccxt_exchange(url: str, *, limited: bool) -> Any:
    """ccxt's spot exchange talking to ``url``, its own pacing on or off."""
    exchange = ccxt.binance({"enableRateLimit": limited, "options": {"fetchMarkets": {"types": ["spot"]}}})
    exchange.urls["api"] |= local_urls(exchange, url)
    exchange.load_markets()
    return exchange


def local_urls(exchange: Any, url: str) -> dict[str, str]:
    """The addresses of a ccxt exchange, all of them on ``url``."""
    addresses = {name: text for name, text in exchange.urls["api"].items() if isinstance(text, str)}
    return {name: text.replace("/".join(text.split("/")[:3]), url) for name, text in addresses.items()}


def ccxt_pages(exchange: Any, first_ms: int, end_ms: int, *, symbol: str = INSTRUMENT.symbol) -> list[list[float]]:
    """Minutes in [first_ms, end_ms), page by page, as everybody's loop does it."""
    rows: list[list[float]] = []
    since = first_ms
    while since < end_ms:
        page = exchange.fetch_ohlcv(symbol, "1m", since=since, limit=_PAGE_ROWS)
        if not page:
            break
        rows += page
        since = page[-1][0] + _MINUTE_MS
    return [row for row in rows if row[0] < end_ms]
