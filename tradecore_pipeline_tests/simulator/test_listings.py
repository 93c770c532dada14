"""Symbols that come and go, intervals that change, and that new ones leave the old ones' series alone."""

import hashlib
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running
from tradecore_pipeline_tests.simulator.archive_reading import fetch, listed

START, END = date(2024, 12, 1), date(2025, 2, 10)
LATE = Instrument.parse("binance:AVAX/USDT:USDT")
DELISTED = Instrument.parse("binance:LUNA/USDT:USDT")
DAILY = "data/futures/um/daily/klines/"


def at(now: datetime) -> Any:
    return running(build_simulated(demo_parameters(), 11, start=START, end=END, now=now))


def symbols(url: str) -> dict[str, str]:
    body = requests.get(f"{url}/fapi/v1/exchangeInfo", timeout=10).json()
    return {entry["symbol"]: entry["status"] for entry in body["symbols"]}


def folders(url: str, prefix: str) -> list[str]:
    page = requests.get(f"{url}/", params={"prefix": prefix, "delimiter": "/"}, timeout=10).text
    return re.findall("<CommonPrefixes><Prefix>(.*?)</Prefix>", page)


def test_the_demo_market_of_every_day_is_the_same_as_ever() -> None:
    """Figures in the documentation come from these rows: they may only change on purpose."""
    market = SimulatedMarket(demo_parameters(), 11, start=START, end=END)
    digest = hashlib.sha256()
    for name in ("binance:BTC/USDT:USDT", "binance:BTC/USDT", "binance:ETH/USDT:USDT"):
        listing = market.listing(Instrument.parse(name))
        series = [market.minute_bars(listing)]
        if listing.venue == "um":
            series += [market.funding_rates(listing), market.open_interest(listing)]
        for rows in series:
            for column in rows.__dataclass_fields__:
                digest.update(getattr(rows, column).tobytes())
    assert digest.hexdigest() == "0cd8e0b52ab70af6860230fffc767affd1fb86af80e0a6b3986acf37d4f2c13a"


def test_a_symbol_is_named_from_its_listing_to_a_week_after_its_end() -> None:
    for day, named in (
        (5, {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING", "LUNAUSDT": "TRADING"}),
        (20, {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING", "AVAXUSDT": "TRADING", "LUNAUSDT": "TRADING"}),
        (42, {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING", "AVAXUSDT": "TRADING", "LUNAUSDT": "SETTLING"}),
        (50, {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING", "AVAXUSDT": "TRADING"}),
    ):
        with at(datetime(2024, 12, 1, 12, tzinfo=UTC) + timedelta(days=day)) as url:
            assert symbols(url) == named
            for symbol in ("AVAXUSDT", "LUNAUSDT"):
                query = {"symbol": symbol, "interval": "1m"}
                response = requests.get(f"{url}/fapi/v1/klines", params=query, timeout=10)
                assert (response.status_code == 200) == (symbol in named)


def test_the_archive_keeps_the_files_of_a_delisted_symbol(base_url: str, market: SimulatedMarket) -> None:
    assert folders(base_url, DAILY) == [f"{DAILY}{s}USDT/" for s in ("AVAX", "BTC", "ETH", "LUNA")]
    keys = [key for key in listed(base_url, "", prefix=f"{DAILY}LUNAUSDT/1m/") if key.endswith(".zip")]
    assert keys[0].endswith("2024-12-01.zip")
    assert keys[-1].endswith("2025-01-09.zip"), "the day before it was delisted"
    assert len(keys) == 40
    january = fetch(base_url, "data/futures/um/monthly/klines/LUNAUSDT/1m/LUNAUSDT-1m-2025-01.zip")
    table = pd.read_csv(io.StringIO(january))
    truth = market.bars(DELISTED).loc["2025-01"]
    np.testing.assert_array_equal(table["open_time"], truth.index.as_unit("ms").asi8)
    assert len(table) == 9 * 1440


def test_a_late_symbol_begins_with_its_listing(base_url: str, market: SimulatedMarket) -> None:
    listed_at = pd.Timestamp("2024-12-13", tz="UTC")
    assert market.bars(LATE).index[0] == listed_at
    listing = market.listing(LATE)
    for rows in (market.funding_rates(listing), market.open_interest(listing), market.premium_bars(listing)):
        assert pd.Timestamp(rows.time_ms[0], unit="ms", tz="UTC").floor("min") == listed_at
    keys = listed(base_url, "", prefix="data/futures/um/daily/metrics/AVAXUSDT/")
    assert keys[0].endswith("metrics-2024-12-13.zip")
    query = {"symbol": "AVAXUSDT", "interval": "1m", "startTime": 0, "limit": 1}
    (first,) = requests.get(f"{base_url}/fapi/v1/klines", params=query, timeout=10).json()
    assert first[0] == listed_at.value // 1_000_000


def test_a_funding_file_says_which_interval_was_in_force(base_url: str) -> None:
    tables = [
        pd.read_csv(io.StringIO(fetch(base_url, f"data/futures/um/monthly/fundingRate/{key}.zip")))
        for key in ("AVAXUSDT/AVAXUSDT-fundingRate-2024-12", "AVAXUSDT/AVAXUSDT-fundingRate-2025-01")
    ]
    assert set(tables[0]["funding_interval_hours"][:-6]) == {8}
    assert set(tables[1]["funding_interval_hours"]) == {4}
    times = pd.concat(tables)["calc_time"] // 60_000
    hours = set((times.diff().dropna() / 60).tolist())
    assert hours == {8.0, 4.0}


def test_a_market_shorter_than_a_listing_is_far_away_does_without_it() -> None:
    market = SimulatedMarket(demo_parameters(), 11, start=START, end=date(2024, 12, 4))
    assert len(market.bars(LATE)) == 0
    app = build_simulated(
        demo_parameters(), 11, start=START, end=date(2024, 12, 4), now=datetime(2025, 1, 1, tzinfo=UTC)
    )
    with running(app) as url:
        assert f"{DAILY}AVAXUSDT/" not in folders(url, DAILY)
        query = {"symbol": "AVAXUSDT", "interval": "1m"}
        assert requests.get(f"{url}/fapi/v1/klines", params=query, timeout=10).json() == []


def test_every_venue_has_its_own_volumes_interest_and_funding_of_one_price() -> None:
    market = SimulatedMarket(demo_parameters(), 11, start=START, end=date(2024, 12, 11))
    names = ("binance:BTC/USDT:USDT", "bybit:BTC/USDT:USDT", "okx:BTC/USDT:USDT", "hyperliquid:BTC/USDC:USDC")
    listings = [market.listing(Instrument.parse(name)) for name in names]
    closes = np.array([market.minute_bars(listing).close for listing in listings])
    spread = closes / closes[0] - 1
    assert np.abs(spread).max() < 0.001
    assert (np.abs(np.median(spread[1:], axis=1)) > 0.00005).all(), "mixing venues up shows"
    volumes = np.array([market.minute_bars(listing).volume for listing in listings])
    assert np.abs(np.corrcoef(np.log(volumes))[0, 1:]).max() < 0.9
    interest = np.array([market.open_interest(listing).base for listing in listings])
    assert (interest[1:] < 0.7 * interest[0]).all()
    counts = [len(market.funding_rates(listing)) for listing in listings]
    assert counts == [30, 30, 30, 240]
    rates = [market.funding_rates(listing).rate for listing in listings]
    assert not np.array_equal(rates[0], rates[1])


def test_premium_index_files_and_rest_agree_with_the_market(base_url: str, market: SimulatedMarket) -> None:
    listing = market.listing(Instrument.parse("binance:BTC/USDT:USDT"))
    folder = "data/futures/um/{}/premiumIndexKlines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"
    begin = int(datetime(2025, 1, 15, tzinfo=UTC).timestamp() * 1000)
    truth = market.premium_bars(listing).between(begin, begin + 86_399_999)
    for period, rhythm in (("2025-01-15", "daily"), ("2025-01", "monthly")):
        table = pd.read_csv(io.StringIO(fetch(base_url, folder.format(rhythm, period))))
        table = table[table["open_time"].between(begin, begin + 86_399_999)]
        np.testing.assert_array_equal(table["open_time"], truth.time_ms)
        for name in ("open", "high", "low", "close"):
            np.testing.assert_array_equal(table[name], getattr(truth, name))
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": begin, "limit": 1500}
    rows = requests.get(f"{base_url}/fapi/v1/premiumIndexKlines", params=query, timeout=10).json()
    np.testing.assert_array_equal([float(row[4]) for row in rows[:1440]], truth.close)
    assert [len(rows[0]), rows[0][5], rows[0][8]] == [12, "0", 12]
    assert (truth.low <= np.minimum(truth.open, truth.close)).all()
    assert truth.low.min() < 0 < truth.high.max() < 0.01
