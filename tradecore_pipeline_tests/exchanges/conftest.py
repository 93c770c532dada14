"""A running miniature Binance, and exchanges connected to it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, serving


@pytest.fixture
def fake() -> Iterator[FakeBinance]:
    with serving() as fake:
        yield fake


@pytest.fixture
def connect(fake: FakeBinance, tmp_path: Path) -> Iterator[Callable[..., BinanceExchange]]:
    opened: list[BinanceExchange] = []

    def build(
        *, rest_url: str | None = None, retries: int = 1, clock: datetime | None = None, archive_only: bool = False
    ) -> BinanceExchange:
        access = local_access(
            fake.url,
            budgets=tmp_path / "budgets",
            clock=lambda: clock or fake.now,
            retries=retries,
            archive_only=archive_only,
            binance_rest_url=rest_url or fake.url,
            binance_spot_rest_url=rest_url or fake.url,
        )
        exchange = BinanceExchange(access)
        opened.append(exchange)
        return exchange

    yield build
    for exchange in opened:
        exchange.close()
