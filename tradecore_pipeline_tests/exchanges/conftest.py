"""A running miniature Binance, and exchanges connected to it."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import ThreadingHTTPServer

import pytest

from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, handler


@pytest.fixture
def fake() -> Iterator[FakeBinance]:
    fake = FakeBinance()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connect(fake: FakeBinance) -> Iterator[Callable[..., BinanceExchange]]:
    opened: list[BinanceExchange] = []

    def build(*, rest_url: str | None = None, retries: int = 1, clock: datetime | None = None) -> BinanceExchange:
        exchange = BinanceExchange(
            archive_url=fake.url,
            listing_url=fake.url,
            futures_rest_url=rest_url or fake.url,
            spot_rest_url=rest_url or fake.url,
            timeout_seconds=5,
            retries=retries,
            workers=2,
            clock=lambda: clock or fake.now,
        )
        opened.append(exchange)
        return exchange

    yield build
    for exchange in opened:
        exchange.close()
