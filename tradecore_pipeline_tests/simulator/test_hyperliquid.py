from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket

NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)
SYMBOL = "BTC/USDC:USDC"
BTC = Instrument.parse(f"hyperliquid:{SYMBOL}")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def ask(base_url: str, **body: object) -> Any:
    response = requests.post(f"{base_url}/info", json=body, timeout=10)
    assert response.status_code == 200, response.text
    return response.json()


def snapshot(base_url: str, **request: object) -> Any:
    return ask(base_url, type="candleSnapshot", req={"coin": "BTC", "interval": "1m"} | request)


def test_ccxt_loads_the_perpetuals(hyperliquid: Any) -> None:
    markets = hyperliquid.load_markets()
    assert set(markets) == {"BTC/USDC:USDC", "ETH/USDC:USDC"}
    assert markets[SYMBOL]["precision"]["amount"] == 0.00001
    assert markets[SYMBOL]["active"]


def test_ccxt_reads_candles(hyperliquid: Any, market: SimulatedMarket) -> None:
    since = NOW - timedelta(days=2)
    rows = np.array(hyperliquid.fetch_ohlcv(SYMBOL, "1m", since=ms(since), limit=1000))
    truth = market.bars(BTC).loc[since:].iloc[:1000]
    np.testing.assert_array_equal(rows[:, 0], truth.index.as_unit("ms").asi8)
    np.testing.assert_array_equal(rows[:, 1:], truth[["open", "high", "low", "close", "volume"]])


def test_ccxt_reads_hourly_funding(hyperliquid: Any, market: SimulatedMarket) -> None:
    since = datetime(2024, 12, 10, tzinfo=UTC)
    rows = hyperliquid.fetch_funding_rate_history(SYMBOL, since=ms(since))
    truth = market.funding_rates(market.listing(BTC)).between(ms(since), ms(NOW)).take(slice(500))
    assert [row["timestamp"] for row in rows] == truth.time_ms.tolist()
    assert [row["fundingRate"] for row in rows] == truth.rate.tolist()
    late = truth.time_ms % 3_600_000
    assert 10 < late.max() <= 90
    assert (late > 0).mean() > 0.9


def test_ccxt_reads_the_present_open_interest(hyperliquid: Any, market: SimulatedMarket) -> None:
    hyperliquid.load_markets()
    truth = market.open_interest(market.listing(BTC)).between(0, ms(NOW))
    assert hyperliquid.fetch_open_interest(SYMBOL)["openInterestAmount"] == truth.base[-1]
    with pytest.raises(Exception, match="not supported"):
        hyperliquid.fetch_open_interest_history(SYMBOL)


def test_only_the_newest_five_thousand_candles_are_known(base_url: str) -> None:
    rows = snapshot(base_url, startTime=0, endTime=ms(NOW))
    assert len(rows) == 5000
    newest = ms(NOW.replace(second=0))
    assert rows[-1]["t"] == newest
    assert rows[-1]["T"] == newest + 59_999 > ms(NOW), "the open candle's end lies in the future"
    assert rows[0]["t"] == newest - 4999 * 60_000
    assert snapshot(base_url, startTime=0, endTime=rows[0]["t"] - 1) == []
    hours = snapshot(base_url, interval="1h", startTime=0, endTime=ms(NOW))
    assert hours[0]["t"] == ms(datetime(2024, 12, 1, tzinfo=UTC))


def test_a_candle_says_what_it_is_and_the_window_is_inclusive(base_url: str) -> None:
    start = ms(NOW.replace(second=0)) - 3_600_000
    rows = snapshot(base_url, startTime=start + 1, endTime=start + 120_000)
    assert [row["t"] - start for row in rows] == [0, 60_000, 120_000]
    assert set(rows[0]) == {"t", "T", "s", "i", "o", "c", "h", "l", "v", "n"}
    assert {name: type(value) for name, value in rows[0].items()} == {
        **dict.fromkeys(("t", "T", "n"), int),
        **dict.fromkeys(("s", "i", "o", "c", "h", "l", "v"), str),
    }
    assert rows[0]["o"].endswith(".0")


def test_funding_gives_the_oldest_five_hundred_from_its_start(base_url: str) -> None:
    start = ms(datetime(2024, 12, 5, tzinfo=UTC))
    first = ask(base_url, type="fundingHistory", coin="BTC", startTime=start)
    assert len(first) == 500
    following = ask(base_url, type="fundingHistory", coin="BTC", startTime=first[-1]["time"] + 1)
    assert following[0]["time"] // 3_600_000 == first[-1]["time"] // 3_600_000 + 1
    window = ask(base_url, type="fundingHistory", coin="BTC", startTime=start, endTime=start + 7_200_000 - 1)
    assert len(window) == 2


def test_unknown_coins_and_unreadable_bodies_are_refused(base_url: str) -> None:
    for body in (
        {"type": "candleSnapshot", "req": {"coin": "NOPE", "interval": "1m", "startTime": 0, "endTime": 1}},
        {"type": "fundingHistory", "coin": "NOPE", "startTime": 0},
    ):
        response = requests.post(f"{base_url}/info", json=body, timeout=10)
        assert (response.status_code, response.json()) == (500, None)
    for body in (
        *({"type": "somethingElse"}, [], {"type": ["meta"]}, {"type": "fundingHistory", "coin": "BTC"}),
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "7m", "startTime": 0}},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": "0"}},
    ):
        assert requests.post(f"{base_url}/info", json=body, timeout=10).status_code == 422, body
    assert requests.post(f"{base_url}/info", data="{", timeout=10).status_code == 422
