from collections.abc import Iterator
from typing import Any

import pytest

from tradecore_pipeline.simulator.asked import Exchange
from tradecore_pipeline.simulator.page_faults import rows_of
from tradecore_pipeline_tests.simulator.faulty import CANDLE_REQUEST, PAGES, Server, candle, simulated, stubbed

EXCHANGES: list[Exchange] = list(PAGES)


@pytest.fixture(scope="module")
def stub() -> Iterator[Server]:
    with stubbed() as found:
        yield found


@pytest.fixture(scope="module")
def simulator() -> Iterator[Server]:
    with simulated() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_plan_left(simulator: Server) -> Iterator[None]:
    yield
    simulator.clear()


def rows_before_and_after(stub: Server, exchange: Exchange, **rule: Any) -> tuple[list[Any], list[Any]]:
    """The true rows and those of one answer under the rule; checks that all but the rows is as it was."""
    stub.clear()
    truth = stub.page(exchange).json()
    stub.plan(rule)
    hit = stub.page(exchange)
    assert hit.status_code == 200
    document = hit.json()
    before, after = rows_of(exchange, truth), rows_of(exchange, document)
    assert before is not None
    assert after is not None
    found = before.copy(), after.copy()
    before.clear()
    after.clear()
    if exchange == "bybit" and not found[1]:
        truth["result"]["nextPageCursor"] = ""
    assert document == truth
    assert stub.fired() == [1]
    assert rows_of(exchange, stub.page(exchange).json()) == found[0]
    return found


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_empty_page_keeps_its_envelope(stub: Server, exchange: Exchange) -> None:
    assert rows_before_and_after(stub, exchange, fault="empty_page")[1] == []


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_duplicated_rows_stand_twice_in_order(stub: Server, exchange: Exchange) -> None:
    truth, rows = rows_before_and_after(stub, exchange, fault="duplicated_rows", argument=4)
    assert len(rows) == 14
    first = next(place for place in range(7) if rows[place : place + 4] == rows[place + 4 : place + 8])
    assert [*rows[:first], *rows[first + 4 :]] == truth


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_repeated_page_stands_twice(stub: Server, exchange: Exchange) -> None:
    truth, rows = rows_before_and_after(stub, exchange, fault="repeated_page")
    assert rows == truth * 2


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_unsorted_page_has_the_same_rows_out_of_order(stub: Server, exchange: Exchange) -> None:
    truth, rows = rows_before_and_after(stub, exchange, fault="unsorted_page")
    assert rows != truth
    assert sorted(rows, key=str) == sorted(truth, key=str)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_missing_rows_leave_a_hole_inside_the_page(stub: Server, exchange: Exchange) -> None:
    truth, rows = rows_before_and_after(stub, exchange, fault="missing_rows", argument=2)
    hole = [place for place, row in enumerate(truth) if row not in rows]
    assert len(hole) == 2
    assert hole[1] == hole[0] + 1
    assert (rows[0], rows[-1]) == (truth[0], truth[-1])


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_restated_candle_is_possible_but_not_the_true_one(stub: Server, exchange: Exchange) -> None:
    truth, rows = rows_before_and_after(stub, exchange, fault="restated_row")
    changed = [place for place, row in enumerate(truth) if row != rows[place]]
    assert len(rows) == len(truth)
    assert len(changed) == 1
    assert 0 < changed[0] < 9
    old, new = truth[changed[0]], rows[changed[0]]
    if exchange == "hyperliquid":
        assert new == old | {"v": new["v"]}
    else:
        assert new == [*old[:4], old[3], *old[5:]]


def test_restated_open_interest_keeps_its_moment_and_its_digits(stub: Server) -> None:
    target = "/api/v5/rubik/stat/contracts/open-interest-history?instId=BTC-USDT-SWAP"
    stub.plan({"fault": "restated_row"})
    hit, truth = stub.get(target).json()["data"], stub.get(target).json()["data"]
    (changed,) = [place for place, row in enumerate(truth) if row != hit[place]]
    assert hit[changed] == [truth[changed][0], "101", "1.01", "101000.5"]


def test_okx_passes_the_open_candle_off_as_closed(stub: Server) -> None:
    truth, rows = rows_before_and_after(stub, "okx", fault="open_as_closed")
    assert truth[0][8] == "0"
    assert rows == [[*truth[0][:8], "1"], *truth[1:]]


def test_an_ignored_cursor_yields_the_page_of_no_window(stub: Server) -> None:
    stub.plan({"fault": "cursor_ignored"})
    assert stub.page("bybit").json()["result"]["list"][-1] == candle(100)[:7]
    assert stub.page("bybit").json()["result"]["list"][-1] == candle(1)[:7]
    assert stub.info(CANDLE_REQUEST).json()[0]["t"] == 0
    assert stub.info(CANDLE_REQUEST).json()[0]["t"] == 5 * 60_000


def test_requests_of_one_path_are_told_apart_by_their_bodies(stub: Server) -> None:
    stub.plan({"fault": "empty_page", "path": "/info:candleSnapshot"})
    other = {"type": "fundingHistory", "coin": "BTC", "startTime": 3}
    assert stub.info(other).json() != []
    assert stub.info(CANDLE_REQUEST).json() == []
    later = CANDLE_REQUEST | {"req": {"coin": "BTC", "interval": "1m", "startTime": 7, "endTime": 9}}
    assert stub.info(later).json() == []
    assert stub.info(CANDLE_REQUEST).json() != []
    assert stub.fired() == [2]


@pytest.mark.parametrize(
    ("exchange", "target"),
    [
        ("binance", "/fapi/v1/klines?symbol=BTCUSDT&interval=1m"),
        ("binance", "/fapi/v1/premiumIndexKlines?symbol=BTCUSDT&interval=1m"),
        ("binance", "/api/v3/klines?symbol=BTCUSDT&interval=1m"),
        ("binance", "/fapi/v1/fundingRate?symbol=BTCUSDT"),
        ("binance", "/futures/data/openInterestHist?symbol=BTCUSDT&period=5m"),
        ("bybit", "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1"),
        ("bybit", "/v5/market/premium-index-price-kline?category=linear&symbol=BTCUSDT&interval=1"),
        ("bybit", "/v5/market/funding/history?category=linear&symbol=BTCUSDT"),
        ("bybit", "/v5/market/open-interest?category=linear&symbol=BTCUSDT&intervalTime=5min"),
        ("okx", "/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=1m"),
        ("okx", "/api/v5/market/history-candles?instId=BTC-USDT-SWAP&bar=1m"),
        ("okx", "/api/v5/public/funding-rate-history?instId=BTC-USDT-SWAP"),
        ("okx", "/api/v5/rubik/stat/contracts/open-interest-history?instId=BTC-USDT-SWAP&period=5m"),
    ],
)
def test_every_page_of_the_simulated_exchanges_can_be_spoiled(
    simulator: Server, exchange: Exchange, target: str
) -> None:
    truth = rows_of(exchange, simulator.get(target).json())
    assert truth
    for fault, length in (("empty_page", 0), ("repeated_page", 2 * len(truth)), ("restated_row", len(truth))):
        simulator.plan({"fault": fault})
        rows = rows_of(exchange, simulator.get(target).json())
        assert rows is not None
        assert len(rows) == length, fault
        assert rows != truth


@pytest.mark.parametrize(
    "document",
    [
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": 1 << 53}},
        {"type": "fundingHistory", "coin": "BTC", "startTime": 0},
    ],
)
def test_every_page_of_simulated_hyperliquid_can_be_spoiled(simulator: Server, document: dict[str, Any]) -> None:
    truth = simulator.info(document).json()
    assert truth
    simulator.plan({"fault": "empty_page"}, {"fault": "restated_row", "nth": [2]})
    assert simulator.info(document).json() == []
    assert sum(row != other for row, other in zip(simulator.info(document).json(), truth, strict=True)) == 1
