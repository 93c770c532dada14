import hashlib
import io
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.simulator.archive import ArchiveFile
from tradecore_pipeline.simulator.archive import listing_xml as described_listing_xml
from tradecore_pipeline.simulator.backend import StoredFile
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.simulated import SimulatedBackend
from tradecore_pipeline_tests.simulator.archive_reading import fetch, listed

PERPETUAL = Instrument.parse("binance:BTC/USDT:USDT")
UM_DAY = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"
SPOT_DAY = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"
NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)


def listing_xml(keys: list[str], *, prefix: str, delimiter: str, marker: str) -> str:
    return described_listing_xml(
        keys, lambda key: StoredFile(NOW, "e" * 32, len(key)), prefix=prefix, delimiter=delimiter, marker=marker
    )


def test_daily_file_holds_the_published_minutes_of_its_day(base_url: str, market: SimulatedMarket) -> None:
    text = fetch(base_url, UM_DAY.format("2024-12-10"))
    assert text.startswith("open_time,open,high,low,close,volume,close_time,quote_volume,count,")
    table = pd.read_csv(io.StringIO(text))
    truth = market.bars(PERPETUAL).loc["2024-12-10"]
    assert len(table) == 1440 - 7
    np.testing.assert_array_equal(table["open_time"], truth.index.as_unit("ms").asi8)
    np.testing.assert_array_equal(table["close_time"], table["open_time"] + 59_999)
    for theirs, ours in (("open", "open"), ("close", "close"), ("quote_volume", "quote_volume"), ("count", "trades")):
        np.testing.assert_array_equal(table[theirs], truth[ours])


def test_monthly_file_equals_the_days_joined(base_url: str) -> None:
    month = fetch(base_url, "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip")
    days = [fetch(base_url, SPOT_DAY.format(f"2025-01-{day:02}")) for day in range(1, 32)]
    assert month == "".join(days)


def test_spot_has_no_header_and_counts_microseconds_from_2025_on(base_url: str) -> None:
    before, after = (fetch(base_url, SPOT_DAY.format(day)).split("\n")[0] for day in ("2024-12-31", "2025-01-01"))
    assert before.split(",")[0] == "1735603200000"
    assert after.split(",")[0] == "1735689600000000"
    assert after.split(",")[6] == "1735689659999999"
    assert re.fullmatch(r"\d+\.\d{8}", before.split(",")[1])
    assert fetch(base_url, UM_DAY.format("2025-01-01")).split("\n")[1].startswith("1735689600000,")


def test_metrics_and_funding_files_hold_what_the_market_says(base_url: str, market: SimulatedMarket) -> None:
    text = fetch(base_url, "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2025-01-15.zip")
    table = pd.read_csv(io.StringIO(text))
    assert table.columns[:4].tolist() == ["create_time", "symbol", "sum_open_interest", "sum_open_interest_value"]
    assert len(table.columns) == 8
    assert table["create_time"].iloc[[0, 1, -1]].tolist() == [
        *("2025-01-15 00:00:00", "2025-01-15 00:05:00", "2025-01-15 23:55:00"),
    ]
    listing = market.listing(PERPETUAL)
    first = int(day_start(datetime(2025, 1, 15, tzinfo=UTC).date()).timestamp()) * 1000
    truth = market.open_interest(listing).between(first, first + 86_400_000 - 1)
    np.testing.assert_array_equal(table["sum_open_interest"], truth.base)
    assert table["sum_taker_long_short_vol_ratio"].between(0.3, 3).all()
    funding = fetch(base_url, "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip")
    lines = funding.split()
    assert lines[0] == "calc_time,funding_interval_hours,last_funding_rate"
    assert len(lines) == 1 + 31 * 3


def test_checksum_names_the_file_and_matches_it(base_url: str) -> None:
    key = UM_DAY.format("2024-12-20")
    content = requests.get(f"{base_url}/{key}", timeout=10).content
    text = requests.get(f"{base_url}/{key}.CHECKSUM", timeout=10).text
    assert text == f"{hashlib.sha256(content).hexdigest()}  BTCUSDT-1m-2024-12-20.zip\n"


def test_head_answers_like_get_without_a_body(base_url: str) -> None:
    key = UM_DAY.format("2024-12-20")
    head, get = requests.head(f"{base_url}/{key}", timeout=10), requests.get(f"{base_url}/{key}", timeout=10)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["ETag"] == get.headers["ETag"]
    assert head.headers["Content-Length"] == str(len(get.content))


def test_files_appear_only_once_published(base_url: str) -> None:
    for key, status in (
        (UM_DAY.format("2025-02-03"), 200),
        (UM_DAY.format("2025-02-04"), 404),
        (UM_DAY.format("2024-11-30"), 404),
        ("data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip", 200),
        ("data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02.zip", 404),
        ("data/futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01.zip", 404),
    ):
        for name in (key, f"{key}.CHECKSUM"):
            response = requests.get(f"{base_url}/{name}", timeout=10)
            assert response.status_code == status, name
            assert ("<Code>NoSuchKey</Code>" in response.text) == (status == 404)


def test_publication_moments_follow_the_calendar(market: SimulatedMarket) -> None:
    backend = SimulatedBackend(market)
    month = "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12.zip"
    third = datetime(2025, 1, 3, tzinfo=UTC)
    assert backend.archive_object(month, third - timedelta(seconds=1)) is None
    assert backend.archive_object(month, third) is not None
    day = SPOT_DAY.format("2024-12-05")
    assert day not in backend.archive_keys(datetime(2024, 12, 6, 23, 59, 59, tzinfo=UTC))
    assert day in backend.archive_keys(datetime(2024, 12, 7, tzinfo=UTC))


def test_same_seed_builds_the_same_bytes(base_url: str, market: SimulatedMarket) -> None:
    backend = SimulatedBackend(market)
    for key in backend.archive_keys(NOW)[::97]:
        assert requests.get(f"{base_url}/{key}", timeout=10).content == backend.archive_object(key, NOW)


@pytest.mark.parametrize("path", ["", "data.binance.vision"])
def test_listing_holds_every_file_with_its_checksum(base_url: str, market: SimulatedMarket, path: str) -> None:
    keys = listed(base_url, path, prefix="data/futures/um/daily/klines/BTCUSDT/1m/", delimiter="/")
    zips = [key for key in keys if key.endswith(".zip")]
    assert len(zips) == 31 + 31 + 3
    assert keys == [name for key in zips for name in (key, f"{key}.CHECKSUM")]
    assert listed(base_url, path, prefix="data/spot/daily/klines/SOLUSDT/") == []
    every = listed(base_url, path, prefix="")
    assert [key for key in every if key.endswith(".zip")] == SimulatedBackend(market).archive_keys(NOW)


def test_listing_paginates_at_a_thousand_keys_and_groups_by_delimiter() -> None:
    keys = sorted(f"a/{folder}/{number:04}.zip" for folder in ("x", "y") for number in range(1500))
    page = listing_xml(keys, prefix="a/x/", delimiter="/", marker="")
    assert page.count("<Key>") == 1000
    assert "<NextMarker>a/x/0999.zip</NextMarker>" in page
    rest = listing_xml(keys, prefix="a/x/", delimiter="/", marker="a/x/0999.zip")
    assert rest.count("<Key>") == 500
    assert "<IsTruncated>false" in rest
    groups = listing_xml(keys, prefix="a/", delimiter="/", marker="")
    assert re.findall("<CommonPrefixes><Prefix>(.*?)</Prefix>", groups) == ["a/x/", "a/y/"]
    assert "<Key>" not in groups
    undelimited = listing_xml(keys, prefix="a/", delimiter="", marker="")
    assert "<IsTruncated>true" in undelimited
    assert "<NextMarker>" not in undelimited
    assert "<Prefix>a&lt;&amp;</Prefix>" in listing_xml(keys, prefix="a<&", delimiter="", marker="")


def test_archive_file_names_survive_the_round_trip_and_strangers_are_not_parsed(market: SimulatedMarket) -> None:
    for key in SimulatedBackend(market).archive_keys(NOW):
        file = ArchiveFile.parse(key)
        assert file is not None
        assert file.key == key
    for key in (
        *("data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2022-01-01.zip", UM_DAY.format("2024-13-01"), "../etc/passwd"),
        *("data/spot/daily/klines/BTCUSDT/BTCUSDT-1m-2022-01-01.zip", UM_DAY.format("2024-12")),
    ):
        assert ArchiveFile.parse(key) is None


def test_every_response_names_the_market(base_url: str) -> None:
    for path in ("fapi/v1/ping", "api/v3/time", "?prefix=data/", "data/nothing.zip", "nowhere", "_log"):
        headers = requests.get(f"{base_url}/{path}", timeout=10).headers
        assert headers["X-Tradecore-Market"] == "simulated:seed11-2024-12-01"
