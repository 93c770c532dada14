"""A miniature Binance whose files can be broken, taken for the real market."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

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
