from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import numpy as np
import pytest
import requests

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.server import clock_at

NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)
PERPETUAL = "BTC/USDT:USDT"


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def bars_of(market: SimulatedMarket, symbol: str) -> Any:
    return market.bars(Instrument.parse(f"binance:{symbol}"))


def test_ccxt_loads_the_markets_of_both_venues(futures: Any, spot: Any) -> None:
    markets = futures.load_markets()
    assert set(markets) == {"BTC/USDT:USDT", "ETH/USDT:USDT", "AVAX/USDT:USDT"}
    assert markets[PERPETUAL]["swap"]
    assert markets[PERPETUAL]["active"]
    assert markets[PERPETUAL]["precision"]["price"] == 0.1
    assert markets[PERPETUAL]["created"] == milliseconds(datetime(2024, 12, 1, tzinfo=UTC))
    assert set(spot.load_markets()) == {"BTC/USDT"}
    assert futures.fetch_time() == milliseconds(NOW)


def test_ccxt_pages_through_the_published_minutes(futures: Any, spot: Any, market: SimulatedMarket) -> None:
    since = datetime(2024, 12, 26, 10, tzinfo=UTC)
    for exchange, symbol in ((futures, PERPETUAL), (spot, "BTC/USDT")):
        rows = np.array(exchange.fetch_ohlcv(symbol, "1m", since=milliseconds(since), limit=1000))
        truth = bars_of(market, symbol).loc[since:].iloc[:1000]
        np.testing.assert_array_equal(rows[:, 0], truth.index.as_unit("ms").asi8)
        np.testing.assert_array_equal(rows[:, 1:], truth[["open", "high", "low", "close", "volume"]])
        # The planted outage is absent here too: a thousand rows reach 63 minutes further.
        assert rows[-1, 0] - rows[0, 0] == (999 + 63) * 60_000


def test_the_window_is_inclusive_and_its_start_is_rounded_up(base_url: str) -> None:
    minute = milliseconds(datetime(2025, 1, 10, 12, tzinfo=UTC))
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": minute - 59_999, "endTime": minute + 120_000}
    rows = requests.get(f"{base_url}/fapi/v1/klines", params=query, timeout=10).json()
    assert [row[0] for row in rows] == [minute, minute + 60_000, minute + 120_000]
    assert rows[0][6] == minute + 59_999
    assert len(rows[0]) == 12
    backwards = query | {"endTime": minute - 100_000}
    assert requests.get(f"{base_url}/fapi/v1/klines", params=backwards, timeout=10).json()["code"] == -1023


def test_the_last_row_is_the_open_candle_and_nothing_lies_beyond_the_clock(
    base_url: str, market: SimulatedMarket
) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1m"}
    rows = requests.get(f"{base_url}/fapi/v1/klines", params=query, timeout=10).json()
    truth = bars_of(market, PERPETUAL)
    assert len(rows) == 500
    assert rows[-1][0] == milliseconds(NOW.replace(second=0))
    assert float(rows[-1][5]) == pytest.approx(truth["volume"][NOW.replace(second=0)] / 2, abs=0.001)
    assert float(rows[-2][4]) == truth["close"][NOW.replace(second=0) - timedelta(minutes=1)]
    later = query | {"startTime": milliseconds(NOW) + 60_000}
    assert requests.get(f"{base_url}/fapi/v1/klines", params=later, timeout=10).json() == []


@pytest.mark.parametrize("interval", ["5m", "15m", "30m", "1h", "4h", "1d"])
def test_longer_candles_are_made_of_the_minutes(futures: Any, market: SimulatedMarket, interval: str) -> None:
    since = datetime(2024, 12, 26, tzinfo=UTC)
    rows = np.array(futures.fetch_ohlcv(PERPETUAL, interval, since=milliseconds(since), limit=5))
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    pandas_name = interval.replace("m", "min").replace("d", "D")
    truth = bars_of(market, PERPETUAL).loc[since:].resample(pandas_name).agg(how).iloc[:5]
    np.testing.assert_array_equal(rows[:, 0], truth.index.as_unit("ms").asi8)
    np.testing.assert_allclose(rows[:, 1:], truth, atol=1e-6)


def test_limits_are_those_of_each_venue(base_url: str) -> None:
    for path, most in (("fapi/v1", 1500), ("api/v3", 1000)):
        query = {"symbol": "BTCUSDT", "interval": "1m", "limit": 5000}
        response = requests.get(f"{base_url}/{path}/klines", params=query, timeout=10)
        assert len(response.json()) == most
        assert int(response.headers["X-MBX-USED-WEIGHT-1M"]) >= 5


def test_ccxt_reads_funding_history(futures: Any, market: SimulatedMarket) -> None:
    since = datetime(2025, 1, 1, tzinfo=UTC)
    rows = futures.fetch_funding_rate_history(PERPETUAL, since=milliseconds(since), limit=100)
    truth = market.funding_rates(market.listing(Instrument.parse(f"binance:{PERPETUAL}")))
    truth = truth.between(milliseconds(since), milliseconds(since) + 10**10)
    assert len(rows) == 100
    assert [row["timestamp"] for row in rows] == truth.time_ms[:100].tolist()
    assert [row["fundingRate"] for row in rows] == truth.rate[:100].tolist()
    assert futures.fetch_funding_rate_history(PERPETUAL)[-1]["timestamp"] // 60_000 * 60_000 == milliseconds(
        datetime(2025, 2, 5, 8, tzinfo=UTC)
    )


def test_ccxt_reads_recent_open_interest_and_is_refused_the_old(futures: Any, market: SimulatedMarket) -> None:
    since = NOW - timedelta(days=20)
    rows = futures.fetch_open_interest_history(PERPETUAL, "5m", since=milliseconds(since), limit=500)
    truth = market.open_interest(market.listing(Instrument.parse(f"binance:{PERPETUAL}")))
    truth = truth.between(milliseconds(since), milliseconds(NOW))
    assert [row["timestamp"] for row in rows] == truth.time_ms[:500].tolist()
    assert [row["openInterestAmount"] for row in rows] == truth.base[:500].tolist()
    with pytest.raises(ccxt.BadRequest, match=r"-1130.*parameter 'startTime' is invalid"):
        futures.fetch_open_interest_history(PERPETUAL, "5m", since=milliseconds(NOW - timedelta(days=31)), limit=10)


def test_bad_requests_get_binances_codes(base_url: str) -> None:
    for path, code in (
        ("fapi/v1/klines?symbol=NOPEUSDT&interval=1m", -1121),
        ("api/v3/klines?symbol=ETHUSDT&interval=1m", -1121),
        ("fapi/v1/klines?interval=1m", -1102),
        ("fapi/v1/klines?symbol=BTCUSDT&interval=7m", -1120),
        ("fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=abc", -1100),
        ("fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=0", -1130),
        ("fapi/v1/fundingRate?symbol=NOPEUSDT", -1121),
        ("futures/data/openInterestHist?symbol=BTCUSDT&period=1m", -1130),
    ):
        response = requests.get(f"{base_url}/{path}", timeout=10)
        assert response.status_code == 400
        assert response.json()["code"] == code, path


def test_live_documents_agree_with_the_market(futures: Any, base_url: str, market: SimulatedMarket) -> None:
    futures.load_markets()
    rate = futures.fetch_funding_rate(PERPETUAL)
    assert rate["markPrice"] == pytest.approx(bars_of(market, PERPETUAL)["close"][NOW.replace(second=0)], rel=0.01)
    assert rate["fundingTimestamp"] == milliseconds(datetime(2025, 2, 5, 16, tzinfo=UTC))
    assert futures.fetch_open_interest(PERPETUAL)["openInterestAmount"] > 50_000
    (changed,) = requests.get(f"{base_url}/fapi/v1/fundingInfo", timeout=10).json()
    assert (changed["symbol"], changed["fundingIntervalHours"]) == ("AVAXUSDT", 4)
    assert len(requests.get(f"{base_url}/fapi/v1/premiumIndex", timeout=10).json()) == 3


def test_the_log_counts_requests_by_kind(base_url: str) -> None:
    before = requests.get(f"{base_url}/_log", timeout=10).json()
    requests.get(f"{base_url}/api/v3/ping", timeout=10)
    after = requests.get(f"{base_url}/_log", timeout=10).json()
    assert after["total"] == before["total"] + 1
    assert after["recent"]["/api/v3/ping"] >= 1
    assert sum(after["recent"].values()) <= 1000


def test_a_frozen_clock_needs_a_time_zone() -> None:
    with pytest.raises(UsageError, match="time zone"):
        clock_at(datetime(2025, 1, 1))  # noqa: DTZ001 (the very thing that is refused)
