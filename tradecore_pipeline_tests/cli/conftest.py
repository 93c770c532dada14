"""A miniature Binance whose files can be broken, taken for the real market."""

from collections.abc import Iterator

import pytest

from tradecore_pipeline_tests.exchanges.fake import FakeBinance, serving


@pytest.fixture
def fake() -> Iterator[FakeBinance]:
    with serving() as fake:
        yield fake
