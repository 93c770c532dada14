import json
from collections.abc import Iterator

import pytest

from tradecore_pipeline.simulator.answers import Answer, json_answer
from tradecore_pipeline.simulator.asked import Asked
from tradecore_pipeline.simulator.limits import RateLimits
from tradecore_pipeline_tests.simulator.faulty import Server, simulated

KLINES = "/fapi/v1/klines"
HEAVY = "symbol=BTCUSDT&interval=1m&limit=1500&startTime=1738400000000&endTime=1738400060000"


class Clock:
    def __init__(self) -> None:
        self.now = 6000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> RateLimits:
    return RateLimits(monotonic=clock)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with simulated() as found:
        yield found


def get(path: str, query: str = "") -> Asked:
    return Asked("GET", path, query, b"")


def post(kind: str) -> Asked:
    return Asked("POST", "/info", "", json.dumps({"type": kind}).encode())


def first_refusal(limits: RateLimits, asked: Asked) -> tuple[int, Answer]:
    """How many requests pass before one is refused, and how it is."""
    for passed in range(10_000):
        answer = limits.refusal(asked)
        if answer is not None:
            return passed, answer
    raise AssertionError("never refused")


def test_binance_refuses_then_bans_and_forgives_in_time(limits: RateLimits, clock: Clock) -> None:
    passed, answer = first_refusal(limits, get(KLINES, "limit=1500"))
    assert (passed, answer.status, dict(answer.headers)["retry-after"]) == (240, 429, "60")
    statuses = [found.status for _ in range(11) if (found := limits.refusal(get(KLINES))) is not None]
    assert statuses == [429] * 9 + [418] * 2
    clock.now += 61
    assert limits.refusal(get(KLINES)) is not None
    clock.now += 60
    assert limits.refusal(get(KLINES)) is None
    assert limits.refused == 13


def test_a_client_that_waits_as_told_is_never_banned(limits: RateLimits, clock: Clock) -> None:
    clock.now += 13.5
    for _ in range(3):
        answer = first_refusal(limits, get(KLINES, "limit=1500"))[1]
        assert answer.status == 429
        clock.now += int(dict(answer.headers)["retry-after"])


@pytest.mark.parametrize(
    ("asked", "passed", "status", "said"),
    [
        (get(KLINES, "limit=99"), 2400, 429, "-1003"),
        (get(KLINES, "limit=499"), 1200, 429, "-1003"),
        (get(KLINES), 480, 429, "-1003"),
        (get("/api/v3/klines", "limit=1000"), 1200, 429, "-1003"),
        (get("/fapi/v1/fundingRate"), 500, 429, "-1003"),
        (get("/futures/data/openInterestHist"), 1000, 429, "-1003"),
        (get("/v5/market/kline"), 600, 200, "10006"),
        (get("/api/v5/market/history-candles"), 20, 429, "50011"),
        (get("/api/v5/public/funding-rate-history"), 10, 429, "50011"),
        (get("/api/v5/rubik/stat/contracts/open-interest-history"), 10, 429, "50011"),
        (get("/api/v5/public/market-data-history"), 5, 429, "50011"),
        (post("candleSnapshot"), 60, 429, "null"),
        (post("allMids"), 600, 429, "null"),
    ],
)
def test_each_exchange_has_its_own_limits(
    limits: RateLimits, asked: Asked, passed: int, status: int, said: str
) -> None:
    found, answer = first_refusal(limits, asked)
    assert (found, answer.status) == (passed, status)
    assert said in answer.body.decode()


def test_quotas_are_apart(limits: RateLimits) -> None:
    first_refusal(limits, get("/fapi/v1/fundingRate"))
    first_refusal(limits, get("/api/v5/market/history-candles"))
    for path in (KLINES, "/api/v3/klines", "/v5/market/kline", "/api/v5/market/candles"):
        assert limits.refusal(get(path)) is None


def test_bybit_blocks_whoever_goes_on(limits: RateLimits, clock: Clock) -> None:
    asked = get("/v5/market/kline")
    first_refusal(limits, asked)
    answers = [found for _ in range(62) if (found := limits.refusal(asked)) is not None]
    assert [answer.status for answer in answers] == [200] * 60 + [403] * 2
    clock.now += 599
    assert limits.refusal(asked) is not None
    clock.now += 2
    assert limits.refusal(asked) is None


def test_hyperliquid_charges_for_rows(limits: RateLimits) -> None:
    page = json_answer([{}] * 5000, status=200)
    passed = 0
    while limits.refusal(post("candleSnapshot")) is None:
        limits.charge_rows(post("candleSnapshot"), page)
        passed += 1
    assert passed == 12  # 20 before and 83 after each: 1256 in all, when 1200 are allowed


@pytest.mark.parametrize(
    "path", ["/", "/data.binance.vision/", "/data/x.zip", "/data/x.zip.CHECKSUM", "/cdn/okex/x.zip"]
)
def test_files_know_no_limit(limits: RateLimits, path: str) -> None:
    assert all(limits.refusal(get(path)) is None for _ in range(3000))


def test_limits_are_kept_once_they_are_switched_on(server: Server) -> None:
    server.plan(limits=True)
    passed = 0
    while server.get(f"{KLINES}?{HEAVY}").status_code == 200:
        passed += 1
    assert 240 <= passed <= 480  # more than 240 only where a minute ended meanwhile
    assert server.get("/_ctl").json()["refused"] > 0
    assert server.get("/_log").json()["requests"][-1]["fault"] == "limits"
    server.plan()
    assert server.get(f"{KLINES}?{HEAVY}").status_code == 200
