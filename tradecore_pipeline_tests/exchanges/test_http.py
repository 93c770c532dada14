import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import SourceError, SourceUnavailableError
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient, _date, probe
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.prefetch import prefetch
from tradecore_pipeline.exchanges.retry import Retriable, Retrier
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance

SETTING = "TRADECORE_BINANCE_REST_URL"
STILL = "days in the archive (data.binance.vision) still work"


def free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        return probing.getsockname()[1]


def test_a_host_that_refuses_connections_is_named_with_its_setting() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    client = HttpClient(timeout_seconds=1, retries=0, connections=1)
    with pytest.raises(SourceUnavailableError, match=rf"127\.0\.0\.1:\d+ \(connection refused\).*{SETTING}"):
        client.get(Endpoint(url, SETTING), "/x")
    client.close()


@pytest.mark.parametrize("status", [403, 451])
def test_a_refusal_is_not_retried(fake: FakeBinance, *, status: int) -> None:
    fake.faults.append(("/x", 9, Answer(status, b"")))
    client = HttpClient(timeout_seconds=1, retries=3, connections=1)
    with pytest.raises(SourceUnavailableError, match=r"data\.binance\.vision.* point TRADECORE_BINANCE_REST_URL at"):
        client.get(Endpoint(fake.url, SETTING, STILL), "/x")
    assert fake.asked("/x") == 1
    client.close()


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed_and_its_aim_is_named(fake: FakeBinance, status: int) -> None:
    fake.faults.append(("/x", 9, Answer(status, b"", {"Location": f"{fake.url}/fapi/v1/time"})))
    client = HttpClient(timeout_seconds=1, retries=3, connections=1)
    with pytest.raises(SourceUnavailableError, match=rf"points to '{fake.url}/fapi/v1/time', .* point {SETTING} there"):
        client.get(Endpoint(fake.url, SETTING), "/x")
    assert (fake.asked("/x"), fake.asked("/fapi/v1/time")) == (1, 0)
    client.close()


def test_a_busy_server_is_asked_again_after_the_pause_it_wants(fake: FakeBinance) -> None:
    fake.faults.append(("/fapi/v1/time", 1, Answer(429, b"", {"Retry-After": "1"})))
    client = HttpClient(timeout_seconds=1, retries=1, connections=1)
    began = time.monotonic()
    reply = client.get(Endpoint(fake.url, SETTING), "/fapi/v1/time")
    assert reply is not None
    assert reply.json()["serverTime"] > 0
    assert time.monotonic() - began >= 1
    client.close()


def test_a_reply_is_dated_by_its_host_and_one_out_of_a_cache_by_its_age(fake: FakeBinance) -> None:
    client = HttpClient(timeout_seconds=1, retries=0, connections=1)
    fake.faults.append(("/old", 9, Answer(200, b"{}", {"Age": "7200"})))
    fresh, old = (client.get(Endpoint(fake.url, SETTING), path) for path in ("/fapi/v1/time", "/old"))
    client.close()
    assert fresh is not None
    assert old is not None
    assert fresh.date is not None
    assert old.date is not None
    assert abs(datetime.now(UTC) - fresh.date) < timedelta(minutes=1)
    assert timedelta(hours=1, minutes=59) < old.date - fresh.date < timedelta(hours=2, minutes=1)


@pytest.mark.parametrize(
    ("date", "age"),
    [
        ("Fri, 31 Dec 9999 23:59:59 GMT", "99"),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("soon", "99"),
        (None, "99"),
    ],
)
def test_a_date_that_leads_out_of_the_calendar_is_no_date(date: str | None, age: str | None) -> None:
    assert _date(date, age=age) is None


def test_a_missing_page_is_none_and_the_market_header_is_read(fake: FakeBinance) -> None:
    client = HttpClient(timeout_seconds=1, retries=0, connections=1)
    endpoint = Endpoint(fake.url, SETTING)
    assert client.get(endpoint, "/data/none.zip") is None
    fake.market = "simulated:seed7"
    reply = client.get(endpoint, "/fapi/v1/time")
    assert reply is not None
    assert reply.market == "simulated:seed7"
    client.close()


def test_a_probe_explains_what_it_met(fake: FakeBinance) -> None:
    endpoint = Endpoint(fake.url, SETTING)
    assert probe(endpoint, "/fapi/v1/time", timeout_seconds=1).explanation == "reachable"
    fake.faults.append(("/fapi/v1/time", 1, Answer(451, b"")))
    blocked = probe(endpoint, "/fapi/v1/time", timeout_seconds=1)
    assert (blocked.ok, "geo-block" in blocked.explanation) == (False, True)
    assert "HTTP 404" in probe(endpoint, "/data/x", timeout_seconds=1).explanation
    closed = probe(Endpoint(f"http://127.0.0.1:{free_port()}", SETTING), "/", timeout_seconds=1)
    assert "connection refused" in closed.explanation


def test_closing_ends_a_pause() -> None:
    retrier = Retrier(retries=3)
    retrier.close()

    def attempt() -> None:
        raise Retriable(SourceError("busy"), pause_seconds=50)

    with pytest.raises(SourceUnavailableError, match="closed"):
        retrier.run(attempt)


def test_prefetch_keeps_order_and_raises_at_its_place() -> None:
    def job(number: int) -> int:
        time.sleep(0.002 * (5 - number % 5))
        return 10 // (7 - number)

    results = prefetch(job, range(20), workers=3)
    assert [next(results) for _ in range(7)] == [10 // (7 - number) for number in range(7)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_failed_answer_is_asked_again() -> None:
    once: Once[int] = Once(keep=2)
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        return 7 // (len(asked) - 1)

    with pytest.raises(ZeroDivisionError):
        once.get("k", ask)
    assert [once.get("k", ask), once.get("k", ask)] == [7, 7]
    assert len(asked) == 2
