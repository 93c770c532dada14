from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket

NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)
SYMBOL = "BTC/USDT:USDT"
BTC = Instrument.parse("bybit:BTC/USDT:USDT")
ETH = Instrument.parse("bybit:ETH/USDT:USDT")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def ask(base_url: str, path: str, **query: object) -> dict[str, Any]:
    query = {"category": "linear", "symbol": "BTCUSDT"} | query
    response = requests.get(f"{base_url}/v5/market/{path}", params=query, timeout=10)
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    assert body["time"] == ms(NOW)
    return body


def rows_of(base_url: str, path: str, **query: object) -> list[Any]:
    body = ask(base_url, path, **query)
    assert body["retCode"] == 0, body
    return body["result"]["list"]


def test_ccxt_loads_the_perpetuals_with_their_present_funding_interval(bybit: Any) -> None:
    markets = bybit.load_markets()
    assert set(markets) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    assert markets[SYMBOL]["info"]["fundingInterval"] == 480
    assert markets["ETH/USDT:USDT"]["info"]["fundingInterval"] == 240
    assert markets[SYMBOL]["created"] == ms(datetime(2024, 12, 1, tzinfo=UTC))
    assert markets[SYMBOL]["precision"] == {"amount": 0.001, "price": 0.1}
    assert bybit.fetch_time() == ms(NOW)


def test_ccxt_reads_candles(bybit: Any, market: SimulatedMarket) -> None:
    since = datetime(2024, 12, 26, 10, tzinfo=UTC)
    rows = np.array(bybit.fetch_ohlcv(SYMBOL, "1m", since=ms(since), limit=1000))
    truth = market.bars(BTC).loc[since:].iloc[:1000]
    np.testing.assert_array_equal(rows[:, 0], truth.index.as_unit("ms").asi8)
    np.testing.assert_array_equal(rows[:, 1:], truth[["open", "high", "low", "close", "volume"]])


def test_ccxt_reads_funding_through_a_change_of_its_interval(bybit: Any, market: SimulatedMarket) -> None:
    since = datetime(2024, 12, 18, tzinfo=UTC)
    rows = bybit.fetch_funding_rate_history("ETH/USDT:USDT", since=ms(since), limit=40)
    truth = market.funding_rates(market.listing(ETH)).between(ms(since), ms(since + timedelta(hours=160)))
    assert [row["timestamp"] for row in rows] == truth.time_ms[: len(rows)].tolist()
    assert [row["fundingRate"] for row in rows] == truth.rate[: len(rows)].tolist()
    hours = np.diff([row["timestamp"] for row in rows]) // 3_600_000
    assert hours[:9].tolist() == [8] * 9
    assert set(hours[9:]) == {4}


def test_ccxt_reads_both_sides_of_the_open_interest(bybit: Any, market: SimulatedMarket) -> None:
    since = datetime(2024, 12, 5, 1, tzinfo=UTC)
    rows = bybit.fetch_open_interest_history(SYMBOL, "5m", since=ms(since), limit=200)
    truth = market.open_interest(market.listing(BTC)).between(ms(since), ms(since) + 200 * 300_000)
    times = [row["timestamp"] for row in rows]
    assert len(times) == 200
    truth = truth.take(np.isin(truth.time_ms, times))
    np.testing.assert_allclose([row["openInterestAmount"] for row in rows], 2 * truth.base, rtol=1e-12)
    single = [float(row["info"]["singleOpenInterest"]) for row in rows]
    np.testing.assert_allclose(single, truth.base, rtol=1e-12)


def test_candles_come_newest_first_with_the_open_one_ahead(base_url: str) -> None:
    rows = rows_of(base_url, "kline", interval="1")
    times = [int(row[0]) for row in rows]
    assert len(rows) == 200
    assert times == sorted(times, reverse=True)
    assert times[0] == ms(NOW.replace(second=0))
    assert all(isinstance(value, str) for row in rows for value in row)
    assert len(rows[0]) == 7
    assert len(rows_of(base_url, "kline", interval="1", limit=5000)) == 1000


def test_a_start_alone_is_followed_and_a_start_with_an_end_counts_from_the_end(base_url: str) -> None:
    start = ms(datetime(2025, 1, 10, tzinfo=UTC))
    after = [int(row[0]) for row in rows_of(base_url, "kline", interval="1", start=start + 1, limit=3)]
    assert after == [start + 120_000, start + 60_000, start], "start names the candle that holds it"
    end = start + 600_000
    before = [int(row[0]) for row in rows_of(base_url, "kline", interval="1", start=start, end=end, limit=3)]
    assert before == [end, end - 60_000, end - 120_000]


def test_funding_refuses_a_start_without_an_end_and_gives_two_hundred_at_most(base_url: str) -> None:
    body = ask(base_url, "funding/history", startTime=ms(NOW) - 86_400_000)
    assert body["retCode"] == 10001
    rows = rows_of(base_url, "funding/history", symbol="ETHUSDT", limit=1000)
    assert len(rows) == 200
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert all(time % 14_400_000 == 0 for time in times)
    since, until = times[-1], times[-4]
    window = rows_of(base_url, "funding/history", symbol="ETHUSDT", startTime=since, endTime=until)
    assert [int(row["fundingRateTimestamp"]) for row in window] == times[-4:]


def test_open_interest_is_anchored_at_its_end_and_paged_by_cursor(base_url: str, market: SimulatedMarket) -> None:
    start, end = ms(datetime(2024, 12, 3, tzinfo=UTC)), ms(datetime(2024, 12, 4, tzinfo=UTC))
    alone = rows_of(base_url, "open-interest", intervalTime="5min", startTime=start)
    assert len(alone) == 50
    assert int(alone[0]["timestamp"]) == ms(NOW) // 300_000 * 300_000, "a lone start is ignored"
    found: list[int] = []
    cursor = ""
    while True:
        query = {"intervalTime": "5min", "startTime": start, "endTime": end, "limit": 200, "cursor": cursor}
        result = ask(base_url, "open-interest", **query)["result"]
        found += [int(row["timestamp"]) for row in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
    truth = market.open_interest(market.listing(BTC)).between(start, end)
    assert found == truth.time_ms[::-1].tolist()


def test_the_premium_index_is_the_markets(base_url: str, market: SimulatedMarket) -> None:
    start = ms(datetime(2025, 1, 10, tzinfo=UTC))
    rows = rows_of(base_url, "premium-index-price-kline", interval="1", start=start, limit=100)
    truth = market.premium_bars(market.listing(BTC)).between(start, start + 99 * 60_000)
    assert [len(row) for row in rows] == [5] * 100
    np.testing.assert_array_equal(
        np.array(rows[::-1], dtype=float)[:, 1:].T, [*(truth.open, truth.high, truth.low, truth.close)]
    )


def test_instruments_are_paged_by_cursor(base_url: str) -> None:
    first = ask(base_url, "instruments-info", symbol="", limit=1)["result"]
    second = ask(base_url, "instruments-info", symbol="", limit=1, cursor=first["nextPageCursor"])["result"]
    assert [page["list"][0]["symbol"] for page in (first, second)] == ["BTCUSDT", "ETHUSDT"]
    assert second["nextPageCursor"] == ""


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("kline", {"symbol": "NOPEUSDT", "interval": "1"}, "Symbol Invalid"),
        ("kline", {"interval": "7"}, "Interval Invalid"),
        ("kline", {"interval": "1", "start": "soon"}, "Start Invalid"),
        ("open-interest", {"intervalTime": "1min"}, "IntervalTime Invalid"),
        ("open-interest", {"intervalTime": "5min", "cursor": "nonsense"}, "Cursor Invalid"),
        ("instruments-info", {"category": "stocks"}, "Category Invalid"),
    ],
)
def test_bad_requests_are_refused_with_http_200(base_url: str, path: str, query: dict[str, str], words: str) -> None:
    body = ask(base_url, path, **query)
    assert body["retCode"] == 10001
    assert words in body["retMsg"]


def test_the_same_minute_differs_from_binances_a_little(market: SimulatedMarket) -> None:
    ours = market.bars(BTC)["close"]
    theirs = market.bars(Instrument.parse("binance:BTC/USDT:USDT"))["close"]
    assert (ours != theirs).mean() > 0.99
    np.testing.assert_allclose(ours, theirs, rtol=0.001)
