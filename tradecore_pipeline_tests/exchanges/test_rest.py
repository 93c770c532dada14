import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.exchanges.budget import Limit
from tradecore_pipeline.exchanges.http import HttpClient
from tradecore_pipeline.exchanges.rest import NotListedError, RestConnection, Venue
from tradecore_pipeline.exchanges.retry import Retriable, retry_after_seconds
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance

Connection = Callable[..., RestConnection]
PARAMS = {"symbol": "BTCUSDT", "interval": "1m", "limit": 5}
USED = "X-MBX-USED-WEIGHT-1M"


def explain(text: str, subject: str) -> TradecoreError | Retriable | None:
    if "-1121" in text:
        return NotListedError(f"no {subject}")
    if "slow down" in text:
        return Retriable(SourceUnavailableError("busy"), pause_seconds=30, throttled=True)
    return None


@pytest.fixture
def connection(fake: FakeBinance, tmp_path: Path) -> Iterator[Connection]:
    opened: list[RestConnection] = []

    def build(*, weight: float = 2400, archive_only: bool = False, retries: int = 1) -> RestConnection:
        access = local_access(
            fake.url, budgets=tmp_path, clock=lambda: fake.now, retries=retries, archive_only=archive_only, share=1
        )
        venue = Venue("binanceusdm", "https://fapi.binance.com", {"w": Limit(weight, 60)}, explain, {"w": USED})
        opened.append(RestConnection(venue, access.endpoint("binance_rest_url"), access))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def rows(payload: Any) -> list[Any]:
    if type(payload) is not list:
        raise InvalidDataError("not a list")
    return payload


def ask(connection: RestConnection) -> list[Any]:
    page = connection.call("fapiPublicGetKlines", PARAMS, rows, bucket="w", weight=1, subject="BTCUSDT")
    assert page.market == "real"
    assert page.url.endswith("limit=5")
    return page.rows


def state(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())


def test_a_reply_is_parsed_and_paid_for(fake: FakeBinance, connection: Connection, tmp_path: Path) -> None:
    fake.bars.update({0, 60_000})
    assert [row[0] for row in ask(connection())] == [0, 60_000]
    assert state(tmp_path)["buckets"]["w"]["own"] == 1


@pytest.mark.parametrize("body", [b"<html>", b'[[1718000040000,"1"', b'{"code": 0}', b""])
def test_a_payload_that_does_not_parse_is_asked_for_again_and_then_refused(
    fake: FakeBinance, connection: Connection, *, body: bytes
) -> None:
    fake.faults.append(("klines", 1, Answer(200, body)))
    assert ask(connection()) == []
    fake.faults.append(("klines", 2, Answer(200, body)))
    with pytest.raises((InvalidDataError, SourceUnavailableError)):
        ask(connection())
    assert fake.asked("klines") == 4


@pytest.mark.parametrize("status", [403, 451])
def test_a_refusal_is_not_retried_and_gives_the_host_up_until_reset(
    fake: FakeBinance, connection: Connection, *, status: int
) -> None:
    fake.faults.append(("klines", 1, Answer(status, b"<html>")))
    one = connection(retries=3)
    for _ in range(2):
        with pytest.raises(SourceUnavailableError, match=f"HTTP {status}"):
            ask(one)
    assert fake.asked("klines") == 1
    one.reset()
    assert ask(one) == []


def test_an_unknown_symbol_fails_at_once(fake: FakeBinance, connection: Connection) -> None:
    fake.symbols.clear()
    with pytest.raises(NotListedError, match="no BTCUSDT"):
        ask(connection(retries=3))
    assert fake.asked("klines") == 1


def test_a_ban_is_obeyed_by_every_connection_and_says_until_when(fake: FakeBinance, connection: Connection) -> None:
    until = round((time.time() + 7200) * 1000)
    text = f'{{"code":-1003,"msg":"Way too many requests; IP banned until {until}."}}'
    fake.faults.append(("klines", 1, Answer(418, text.encode(), {"Retry-After": "3"})))
    with pytest.raises(SourceUnavailableError, match="HTTP 418: too many requests"):
        ask(connection(retries=3))
    began = time.monotonic()
    with pytest.raises(SourceUnavailableError, match=r"banned this address until .* \((7200|7199) s\)"):
        ask(connection(retries=3))
    assert time.monotonic() - began < 2
    assert fake.asked("klines") == 1


def test_a_busy_host_is_left_alone_by_others_for_the_pause_it_asks_for(
    fake: FakeBinance, connection: Connection
) -> None:
    fake.faults.append(("klines", 1, Answer(429, b"{}", {"Retry-After": "1"})))
    with pytest.raises(SourceUnavailableError, match="HTTP 429"):
        ask(connection(retries=0))
    began = time.monotonic()
    assert ask(connection()) == []
    assert 0.5 < time.monotonic() - began < 5


def test_a_busy_host_that_names_no_pause_is_backed_off_from(
    fake: FakeBinance, connection: Connection, tmp_path: Path
) -> None:
    fake.faults.append(("klines", 2, Answer(429, b"{}")))
    began = time.monotonic()
    assert ask(connection(retries=2)) == []
    assert time.monotonic() - began > 2.9  # a second, then two
    assert state(tmp_path)["complaints"] == 2


@pytest.mark.parametrize("status", [418, 429])
def test_a_busy_host_that_names_a_pause_of_nothing_is_backed_off_from_as_well(
    fake: FakeBinance, connection: Connection, tmp_path: Path, *, status: int
) -> None:
    past = round((time.time() - 60) * 1000)
    text = f'{{"code":-1003,"msg":"IP banned until {past}."}}'
    fake.faults.append(("klines", 1, Answer(status, b"{}", {"Retry-After": "0"})))
    fake.faults.append(("klines", 1, Answer(status, text.encode(), {"Retry-After": "0"})))
    one = connection(retries=0)
    for complaints in (1, 2):
        with pytest.raises(SourceUnavailableError, match=f"HTTP {status}"):
            ask(one)
        assert state(tmp_path)["complaints"] == complaints
        one.reset()


def test_a_refusal_inside_a_200_is_explained_by_the_venue(
    fake: FakeBinance, connection: Connection, tmp_path: Path
) -> None:
    fake.faults.append(("klines", 1, Answer(200, b'{"retCode": 10006, "retMsg": "slow down"}')))
    with pytest.raises(SourceUnavailableError, match="busy"):
        ask(connection(retries=0))
    assert state(tmp_path)["banned_seconds"] == 30


@pytest.mark.parametrize(
    ("header", "pause"),
    [("30", 30), ("0", None), ("", None), ("\u00b2", None), ("Fri, 01 Mar 2024", None), (None, None)],
)
def test_a_pause_is_read_where_one_is_named(header: str | None, pause: float | None) -> None:
    assert retry_after_seconds(header) == pause


def test_the_hosts_own_count_slows_us_down(fake: FakeBinance, connection: Connection, tmp_path: Path) -> None:
    fake.faults.append(("klines", 1, Answer(200, b"[]", {USED: "2000"})))
    ask(connection())
    assert state(tmp_path)["buckets"]["w"]["level"] > 1900


def test_only_archives_means_no_request_at_all(fake: FakeBinance, connection: Connection, tmp_path: Path) -> None:
    one = connection(archive_only=True)
    with pytest.raises(SourceUnavailableError, match="only archives are"):
        ask(one)
    assert (fake.log, list(tmp_path.iterdir())) == ([], [])


def test_a_plain_get_is_paid_for_and_fenced_in_the_same_way(
    fake: FakeBinance, connection: Connection, tmp_path: Path
) -> None:
    http = HttpClient(timeout_seconds=2, retries=0, connections=1)
    one = connection()
    reply = one.get(http, "/fapi/v1/time", bucket="w", weight=5, subject="the time")
    assert reply is not None
    assert reply.json()["serverTime"] > 0
    assert state(tmp_path)["buckets"]["w"]["own"] == 5
    fake.faults.append(("/time", 1, Answer(429, b"{}", {"Retry-After": "600"})))
    with pytest.raises(SourceUnavailableError, match="HTTP 429"):
        one.get(http, "/fapi/v1/time", bucket="w", weight=1, subject="the time")
    with pytest.raises(SourceUnavailableError, match="banned this address"):
        ask(connection())
    http.close()


def test_closing_ends_the_wait_for_a_turn(fake: FakeBinance, connection: Connection) -> None:
    one = connection(weight=0.01)
    assert ask(one) == []
    one.close()
    with pytest.raises(SourceUnavailableError, match="closed"):
        ask(one)
    assert fake.asked("klines") == 1
