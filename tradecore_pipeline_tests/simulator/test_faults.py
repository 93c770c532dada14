import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from tradecore_pipeline_tests.simulator.faulty import NOW, Server, simulated, stubbed

MINUTE = int(datetime(2025, 2, 1, tzinfo=UTC).timestamp() * 1000)
KLINES = f"/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={MINUTE}&limit=100"
ZIP = "/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-01.zip"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with simulated() as found:
        yield found


@pytest.fixture(scope="module")
def stub() -> Iterator[Server]:
    with stubbed() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_plan_left(server: Server) -> Iterator[None]:
    yield
    server.clear()


@pytest.fixture
def reported() -> Iterator[list[str]]:
    """What the web server complains about."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("uvicorn.error").addHandler(handler)
    yield lines
    logging.getLogger("uvicorn.error").removeHandler(handler)


@pytest.mark.parametrize("target", [KLINES, ZIP, ZIP + ".CHECKSUM", "/?prefix=data/", "/fapi/v1/klines", "/nowhere"])
def test_without_a_rule_that_hits_no_byte_is_touched(server: Server, target: str) -> None:
    truth = server.get(target)
    server.plan({"fault": "http_500", "path": "/elsewhere"})
    passed = server.get(target)
    assert (passed.status_code, passed.content) == (truth.status_code, truth.content)
    names = {name: value for name, value in truth.headers.items() if name not in {"date", "x-mbx-used-weight-1m"}}
    assert names.items() <= dict(passed.headers).items()
    server.clear()
    again = server.get(target)
    assert (again.status_code, again.content) == (truth.status_code, truth.content)
    assert "x-tradecore-market" in passed.headers


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("http_403", 403, "<!DOCTYPE HTML"),
        ("http_451", 451, "restricted location"),
        ("http_500", 500, "<!DOCTYPE HTML"),
        ("http_503", 503, '{"code":-1001'),
        ("html_200", 200, "<!DOCTYPE HTML"),
    ],
)
def test_a_refusal_replaces_the_answer_once(server: Server, fault: str, status: int, body: str) -> None:
    truth = server.get(KLINES).json()
    server.plan({"fault": fault, "path": "/fapi/"})
    hit = server.get(KLINES)
    assert hit.status_code == status
    assert body in hit.text
    assert hit.headers["x-tradecore-market"].startswith("simulated:")
    assert server.get(KLINES).json() == truth
    assert server.fired() == [1]


def test_429_says_when_to_come_back(server: Server) -> None:
    server.plan({"fault": "http_429", "argument": 3})
    hit = server.get(KLINES)
    assert (hit.status_code, hit.headers["retry-after"], hit.json()["code"]) == (429, "3", -1003)


def test_418_says_until_when_the_ban_lasts(server: Server) -> None:
    server.plan({"fault": "http_418", "argument": 120})
    hit = server.get(KLINES)
    assert (hit.status_code, hit.headers["retry-after"], hit.json()["code"]) == (418, "120", -1003)
    until = int(hit.json()["msg"].split("banned until ")[1].split(".")[0])
    assert until / 1000 - time.time() == pytest.approx(120, abs=5)


@pytest.mark.parametrize(
    ("exchange", "status", "said"),
    [("binance", 429, "-1003"), ("bybit", 200, "10006"), ("okx", 429, "50011"), ("hyperliquid", 429, "null")],
)
def test_each_exchange_refuses_in_its_own_words(stub: Server, exchange: str, status: int, said: str) -> None:
    stub.plan({"fault": "rate_limited"})
    hit = stub.page(exchange)
    assert hit.status_code == status
    assert said in hit.text
    assert stub.page(exchange).status_code == 200


def test_truncated_json_has_the_length_that_it_claims(server: Server) -> None:
    truth = server.get(KLINES)
    server.plan({"fault": "truncated_body"})
    hit = server.get(KLINES)
    assert (hit.status_code, hit.headers["content-length"]) == (200, str(len(hit.content)))
    assert hit.content == truth.content[: len(truth.content) // 2]
    with pytest.raises(requests.exceptions.JSONDecodeError):
        hit.json()


@pytest.mark.parametrize("target", [KLINES, ZIP])
def test_a_cut_connection_breaks_in_mid_body(server: Server, target: str, reported: list[str]) -> None:
    length = len(server.get(target).content)
    server.plan({"fault": "cut_body"})
    with requests.get(server.url + target, stream=True, timeout=10) as hit:
        assert hit.headers["content-length"] == str(length)
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            hit.content  # noqa: B018 (reading it is what fails)
    assert len(server.get(target).content) == length
    assert reported == []


def test_a_stalled_answer_comes_late_and_an_impatient_client_holds_nothing_up(server: Server) -> None:
    truth = server.get(KLINES).json()
    server.plan({"fault": "stall", "argument": 0.3, "times": 2}, {"fault": "stall", "argument": 600, "nth": [3]})
    for _ in range(2):
        began = time.monotonic()
        assert server.get(KLINES).json() == truth
        assert time.monotonic() - began >= 0.3
    with pytest.raises(requests.exceptions.ReadTimeout):
        server.get(KLINES, seconds=0.3)
    assert server.get(KLINES).json() == truth
    assert server.fired() == [2, 1]


def test_a_server_that_stops_keeps_nobody_waiting() -> None:
    answers: list[int] = []
    with stubbed() as stub:
        stub.plan({"fault": "stall", "argument": 600})
        waiting = threading.Thread(target=lambda: answers.append(stub.page("binance").status_code))
        waiting.start()
        while requests.get(f"{stub.url}/_ctl", timeout=10).json()["rules"][0]["fired"] == 0:
            time.sleep(0.01)
        assert answers == []
    waiting.join(10)
    assert answers == [200]


def test_server_time_is_off_by_the_argument(server: Server, stub: Server) -> None:
    server.plan({"fault": "clock_skew", "argument": -90.5, "times": 0})
    for _ in range(2):
        assert server.get("/fapi/v1/time").json()["serverTime"] == int(NOW.timestamp() * 1000) - 90_500
    stub.plan({"fault": "clock_skew", "argument": 10})
    assert stub.get("/v5/market/time").json() == {
        "retCode": 0,
        "result": {"timeSecond": "1010", "timeNano": "1010000000000"},
        "time": 1_010_000,
    }
    assert stub.get("/api/v5/public/time").json()["data"] == [{"ts": "1010000"}]


def test_the_log_tells_what_befell_each_request(server: Server) -> None:
    server.plan({"fault": "http_503", "path": "/fapi/v1/klines"})
    server.get(KLINES)
    server.get(KLINES)
    report = server.get("/_log").json()
    first, second = report["requests"][-2:]
    assert first == {"method": "GET", "kind": "/fapi/v1/klines", "url": KLINES, "status": 503, "fault": "http_503"}
    assert second == first | {"status": 200, "fault": None}
    assert report["total"] >= 2
    assert sum(report["recent"].values()) == len(report["requests"])
