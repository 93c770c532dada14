import csv
import io
import zipfile
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running

NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)
SYMBOL = "BTC/USDT:USDT"
BTC = Instrument.parse("okx:BTC/USDT:USDT")
MINUTE = NOW.replace(second=0)
PRICES = ("open", "high", "low", "close")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def ask(base_url: str, path: str, *, status: int = 200, **query: object) -> dict[str, Any]:
    response = requests.get(f"{base_url}/api/v5/{path}", params={"instId": "BTC-USDT-SWAP"} | query, timeout=10)
    assert response.status_code == status
    body = response.json()
    assert set(body) == {"code", "msg", "data"}
    return body


def rows_of(base_url: str, path: str, **query: object) -> list[Any]:
    body = ask(base_url, path, **query)
    assert body["code"] == "0", body
    return body["data"]


def test_ccxt_loads_the_swaps_with_their_contract_size(okx: Any) -> None:
    markets = okx.load_markets()
    assert set(markets) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    assert markets[SYMBOL]["contractSize"] == 0.01
    assert markets["ETH/USDT:USDT"]["contractSize"] == 0.1
    assert markets[SYMBOL]["precision"] == {"amount": 0.01, "price": 0.1}
    assert markets[SYMBOL]["active"]
    assert okx.fetch_time() == ms(NOW)


def test_ccxt_reads_candles(okx: Any, market: SimulatedMarket) -> None:
    since = datetime(2024, 12, 26, 11, tzinfo=UTC)
    rows = np.array(okx.fetch_ohlcv(SYMBOL, "1m", since=ms(since), limit=300))
    truth = market.bars(BTC).loc[since : since + timedelta(minutes=299)]
    assert len(rows) == 300 - 63, "the planted outage is absent here too"
    np.testing.assert_array_equal(rows[:, 0], truth.index.as_unit("ms").asi8)
    np.testing.assert_array_equal(rows[:, 1:], truth[["open", "high", "low", "close", "volume"]])


def test_ccxt_reads_the_realized_funding_rates(okx: Any, market: SimulatedMarket) -> None:
    since = datetime(2025, 1, 10, tzinfo=UTC)
    rows = okx.fetch_funding_rate_history(SYMBOL, since=ms(since))
    truth = market.funding_rates(market.listing(BTC)).between(ms(since), ms(NOW))
    assert [row["timestamp"] for row in rows] == truth.time_ms.tolist()
    assert [row["fundingRate"] for row in rows] == truth.rate.tolist()
    assert all(row["info"]["fundingRate"] != row["info"]["realizedRate"] for row in rows)


def test_ccxt_reads_open_interest_in_contracts_coins_and_dollars(okx: Any, market: SimulatedMarket) -> None:
    since = NOW.replace(minute=0, second=0) - timedelta(days=2)
    rows = okx.fetch_open_interest_history(SYMBOL, "5m", since=ms(since), limit=100)
    truth = market.open_interest(market.listing(BTC)).between(ms(since), ms(since) + 99 * 300_000)
    assert [row["timestamp"] for row in rows] == truth.time_ms.tolist()
    np.testing.assert_allclose([row["openInterestAmount"] for row in rows], truth.base / 0.01, rtol=1e-9)
    np.testing.assert_allclose([row["baseVolume"] for row in rows], truth.base, rtol=1e-12)
    np.testing.assert_allclose([row["openInterestValue"] for row in rows], truth.usd, rtol=1e-9)
    present = okx.fetch_open_interest(SYMBOL)
    assert present["openInterestAmount"] == pytest.approx(present["baseVolume"] / 0.01)


def test_candles_are_recent_only_and_the_open_one_is_not_confirmed(base_url: str, market: SimulatedMarket) -> None:
    rows = rows_of(base_url, "market/candles", bar="1m", limit=1000)
    assert len(rows) == 300
    assert [row[8] for row in rows] == ["0", *["1"] * 299]
    assert rows[0][0] == str(ms(MINUTE))
    oldest = ms(MINUTE) - 1439 * 60_000
    edge = rows_of(base_url, "market/candles", bar="1m", after=oldest + 120_000)
    assert [int(row[0]) - oldest for row in edge] == [60_000, 0]
    bars = market.bars(BTC)
    truth = bars.loc[MINUTE - timedelta(minutes=1)]
    assert float(rows[1][5]) == pytest.approx(truth["volume"] / 0.01)
    assert float(rows[1][6]) == truth["volume"]
    assert float(rows[1][7]) == truth["quote_volume"]


def test_history_candles_know_all_but_the_open_one(base_url: str) -> None:
    rows = rows_of(base_url, "market/history-candles", bar="1m")
    assert len(rows) == 100
    assert {row[8] for row in rows} == {"1"}
    assert rows[0][0] == str(ms(MINUTE) - 60_000)
    old = ms(datetime(2024, 12, 3, tzinfo=UTC))
    window = rows_of(base_url, "market/history-candles", bar="1m", before=old, after=old + 240_000)
    assert [int(row[0]) - old for row in window] == [180_000, 120_000, 60_000], "both bounds are exclusive"
    assert len(rows_of(base_url, "market/history-candles", bar="1m", before=old, limit=3)) == 3
    assert int(rows_of(base_url, "market/history-candles", bar="1m", before=old, limit=3)[0][0]) > old + 10**9


def test_funding_history_ends_after_three_months() -> None:
    now = datetime(2025, 4, 1, 10, tzinfo=UTC)
    app = build_simulated(demo_parameters(), 11, start=date(2024, 12, 1), end=date(2025, 4, 2), now=now)
    times: list[int] = []
    with running(app) as url:
        while page := rows_of(url, "public/funding-rate-history", limit=400, after=times[-1] if times else ""):
            assert len(page) <= 100
            times += [int(row["fundingTime"]) for row in page]
    assert times == sorted(set(times), reverse=True)
    assert len(times) == 282
    assert ms(now) - times[-1] <= 94 * 86_400_000


def test_open_interest_history_reaches_back_1440_rows(base_url: str) -> None:
    path = "rubik/stat/contracts/open-interest-history"
    oldest = ms(NOW) // 300_000 * 300_000 - 1439 * 300_000
    rows = rows_of(base_url, path, period="5m", end=oldest + 600_000)
    assert [int(row[0]) - oldest for row in rows] == [300_000, 0]
    assert len(rows_of(base_url, path, period="5m", limit=500)) == 100
    beyond = ask(base_url, path, period="5m", end=oldest, status=400)
    assert (beyond["code"], beyond["msg"]) == ("51000", "Illegal time range")


@pytest.mark.parametrize(
    ("path", "query", "code", "status"),
    [
        ("market/candles", {"instId": "NOPE-USDT-SWAP", "bar": "1m"}, "51001", 200),
        ("market/candles", {"bar": "7m"}, "51000", 400),
        ("market/history-candles", {"bar": "1m", "after": "soon"}, "51000", 400),
        ("public/instruments", {"instType": ""}, "51000", 400),
        ("public/market-data-history", {"module": "1", "instType": "SWAP", "dateAggrType": "daily"}, "51000", 400),
    ],
)
def test_bad_requests_get_their_codes(base_url: str, path: str, query: dict[str, str], code: str, status: int) -> None:
    assert ask(base_url, path, status=status, **query)["code"] == code


# Bulk files


def catalogue(base_url: str, first: str, last: str, **query: object) -> list[dict[str, str]]:
    """The files named for the exchange's days ``first`` to ``last``."""
    begin, end = (ms(datetime.fromisoformat(f"{day}T00:00:00+08:00")) for day in (first, last))
    asked = {"module": "2", "instType": "SWAP", "instFamilyList": "BTC-USDT", "dateAggrType": "daily"}
    (answer,) = rows_of(base_url, "public/market-data-history", **asked | {"begin": begin, "end": end} | query)
    return [entry for detail in answer["details"] for entry in detail["groupDetails"]]


def table_of(url: str) -> list[list[str]]:
    response = requests.get(url, timeout=10)
    assert response.status_code == 200
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        (name,) = archive.namelist()
        return list(csv.reader(io.StringIO(archive.read(name).decode())))


def test_a_days_file_is_the_exchanges_day_and_lacks_single_minutes_that_rest_has(
    base_url: str, market: SimulatedMarket
) -> None:
    entries = catalogue(base_url, "2025-01-10", "2025-01-12")
    assert [entry["filename"] for entry in entries] == [
        f"BTC-USDT-SWAP-candlesticks-2025-01-{day}.zip" for day in (12, 11, 10)
    ]
    missing = 0
    for entry in entries:
        begin = datetime.fromtimestamp(int(entry["dateTs"]) / 1000, UTC)
        assert begin.hour == 16
        header, *rows = table_of(entry["url"])
        assert header == ["instrument_name", *PRICES, "vol", "vol_ccy", "vol_quote", "open_time", "confirm"]
        truth = market.bars(BTC).loc[begin : begin + timedelta(days=1, minutes=-1)]
        times = [int(row[8]) for row in rows]
        kept = np.isin(truth.index.as_unit("ms").asi8, times)
        missing += int((~kept).sum())
        table = np.array([row[1:8] for row in rows], dtype=float)
        expected = truth[kept].assign(vol=truth["volume"] / 0.01)
        expected = expected[[*PRICES, "vol", "volume", "quote_volume"]]
        np.testing.assert_allclose(table, expected, rtol=1e-12)
        assert {(row[0], row[9]) for row in rows} == {("BTC-USDT-SWAP", "1")}
    assert missing == 1


def test_a_monthly_file_begins_and_ends_at_the_exchanges_midnight(base_url: str) -> None:
    (entry,) = catalogue(base_url, "2025-01-01", "2025-01-31", dateAggrType="monthly")
    assert entry["url"].startswith(f"{base_url}/cdn/okex/traderecords/candlesticks/monthly/202501/")
    times = [int(row[8]) for row in table_of(entry["url"])[1:]]
    assert times[0] == ms(datetime(2024, 12, 31, 16, tzinfo=UTC))
    assert times[-1] == ms(datetime(2025, 1, 31, 15, 59, tzinfo=UTC))


def test_funding_files_are_by_swap_and_month_or_by_day_for_all(base_url: str, market: SimulatedMarket) -> None:
    (entry,) = catalogue(base_url, "2025-01-01", "2025-01-31", dateAggrType="monthly", module="3")
    assert entry["filename"] == "BTC-USDT-SWAP-fundingrates-2025-01.zip"
    header, *rows = table_of(entry["url"])
    assert header == ["instrument_name", "funding_rate", "funding_time"]
    begin = ms(datetime(2024, 12, 31, 16, tzinfo=UTC))
    truth = market.funding_rates(market.listing(BTC)).between(begin, begin + 31 * 86_400_000 - 1)
    assert [int(row[2]) for row in rows] == truth.time_ms.tolist()
    assert [float(row[1]) for row in rows] == truth.rate.tolist()
    assert catalogue(base_url, "2025-01-01", "2025-01-03", module="3") == []
    (day,) = catalogue(base_url, "2025-01-03", "2025-01-03", module="3", instFamilyList="ANY")
    assert day["filename"] == "allswap-fundingrates-2025-01-03.zip"
    assert len(table_of(day["url"])) == 1 + 2 * 3


def test_files_appear_two_days_late_and_ten_are_named_at_most(base_url: str) -> None:
    named = [entry["filename"][-14:-4] for entry in catalogue(base_url, "2025-01-28", "2025-02-06")]
    assert named[0] == "2025-02-03", "the fourth's ended on the fourth at 16:00 UTC: it appears a day after that"
    late = f"{base_url}/cdn/okex/traderecords/candlesticks/daily/20250204/BTC-USDT-SWAP-candlesticks-2025-02-04.zip"
    assert requests.get(late, timeout=10).status_code == 404
    assert requests.get(late.replace("0204", "0203").replace("02-04", "02-03"), timeout=10).status_code == 200
    asked = {"module": "2", "instType": "SWAP", "instFamilyList": "BTC-USDT", "dateAggrType": "daily"}
    begin = ms(datetime(2025, 1, 10, tzinfo=UTC))
    refused = ask(
        base_url, "public/market-data-history", status=400, **asked | {"begin": begin, "end": begin + 10 * 86_400_000}
    )
    assert refused["code"] == "50076"
