"""A running miniature Binance, and exchanges connected to it."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, serving


@pytest.fixture
def fake() -> Iterator[FakeBinance]:
    with serving() as fake:
        yield fake


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
