import hashlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
import requests

from tradecore_pipeline.simulator.archive import zip_bytes
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_recorded, build_simulated, running
from tradecore_pipeline_tests.simulator.archive_reading import csv_of

NOW = datetime(2025, 2, 5, 10, 30, 30, tzinfo=UTC)
DAY = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-15.zip"
NEXT = DAY.replace("15.zip", "16.zip")
MONTH = "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip"
METRICS = "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2025-01-15.zip"


@pytest.fixture
def url() -> Iterator[str]:
    app = build_simulated(demo_parameters(), 11, start=date(2024, 12, 20), end=date(2025, 2, 10), now=NOW)
    with running(app) as address:
        yield address


def entries(url: str, prefix: str) -> dict[str, tuple[str, str, int]]:
    """LastModified, ETag and Size per key."""
    page = requests.get(f"{url}/", params={"prefix": prefix}, timeout=10).text
    pattern = "<Key>(.*?)</Key><LastModified>(.*?)</LastModified><ETag>&quot;(.*?)&quot;</ETag><Size>(.*?)</Size>"
    return {key: (modified, etag, int(size)) for key, modified, etag, size in re.findall(pattern, page)}


def restate(url: str, **body: str) -> requests.Response:
    return requests.post(f"{url}/_restate", json=body, timeout=10)


def rows(url: str, key: str) -> pd.DataFrame:
    response = requests.get(f"{url}/{key}", timeout=10)
    checksum = requests.get(f"{url}/{key}.CHECKSUM", timeout=10).text
    assert checksum.split()[0] == hashlib.sha256(response.content).hexdigest()
    return pd.read_csv(io.StringIO(csv_of(response.content)))


def rest(url: str) -> list[list[object]]:
    start = int(datetime(2025, 1, 15, tzinfo=UTC).timestamp() * 1000)
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": start, "limit": 10}
    return requests.get(f"{url}/fapi/v1/klines", params=query, timeout=10).json()


def test_listed_entries_are_stable_and_agree_with_the_object(url: str) -> None:
    before = entries(url, DAY)
    assert set(before) == {DAY, f"{DAY}.CHECKSUM"}
    requests.get(f"{url}/{DAY}", timeout=10)
    assert entries(url, DAY) == before
    modified, etag, size = before[DAY]
    assert (modified, size > 0) == ("2025-01-17T00:00:00.000Z", True)
    for key, entry in before.items():
        headers = requests.head(f"{url}/{key}", timeout=10).headers
        assert headers["ETag"] == f'"{entry[1]}"'
        assert headers["Last-Modified"] == "Fri, 17 Jan 2025 00:00:00 GMT"
    checksum = before[f"{DAY}.CHECKSUM"]
    assert checksum[2] == len(requests.get(f"{url}/{DAY}.CHECKSUM", timeout=10).content)
    assert etag not in {checksum[1], entries(url, NEXT)[NEXT][1]}


@pytest.mark.parametrize("key", [DAY, MONTH, METRICS, DAY.replace("klines", "premiumIndexKlines")])
def test_a_restated_file_alone_has_other_rows_and_is_newer(url: str, key: str) -> None:
    before, listed, answered = rows(url, key), entries(url, key)[key], rest(url)
    assert restate(url, key=key).status_code == 200
    after, relisted = rows(url, key), entries(url, key)[key]
    assert len(after) == len(before)
    assert not after.equals(before)
    assert relisted[0] == "2025-02-05T10:30:30.000Z" > listed[0]
    assert relisted[1] != listed[1]
    assert entries(url, key)[f"{key}.CHECKSUM"][0] == relisted[0]
    assert rest(url) == answered
    assert restate(url, key=key).status_code == 200
    assert not rows(url, key).equals(after)
    assert entries(url, key)[key][1] != relisted[1]


def test_restated_minutes_change_everywhere_and_no_others_do(url: str) -> None:
    before = {key: (rows(url, key), entries(url, key)[key]) for key in (DAY, NEXT, MONTH, METRICS)}
    answered = rest(url)
    window = {"first": "2025-01-15T00:02:00+00:00", "last": "2025-01-15T00:04:00+00:00"}
    assert restate(url, instrument="binance:BTC/USDT:USDT", **window).status_code == 200
    changed = [number for number, (one, other) in enumerate(zip(answered, rest(url), strict=True)) if one != other]
    assert changed == [2, 3, 4]
    for key, (table, entry) in before.items():
        differing = (rows(url, key) != table).any(axis=1).sum()
        assert differing == (3 if key in {DAY, MONTH} else 0), key
        assert (entries(url, key)[key] != entry) == (key in {DAY, MONTH})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"key": "data/nothing.zip"}, "not in the archive"),
        ({"instrument": "binance:XRP/USDT:USDT", "first": "x", "last": "y"}, "does not list"),
        ({"instrument": "binance:BTC/USDT:USDT", "first": "2025-01-15", "last": "2025-01-16"}, "time zone"),
        ({"instrument": "binance:BTC/USDT:USDT", "first": "soon", "last": "later"}, "soon"),
        ({"key": DAY, "instrument": "binance:BTC/USDT:USDT"}, "give"),
        ({}, "give"),
    ],
)
def test_what_cannot_be_restated_is_refused(url: str, body: dict[str, str], words: str) -> None:
    response = restate(url, **body)
    assert response.status_code == 400
    assert words in response.json()["error"]


def test_recorded_files_cannot_be_restated(tmp_path: Path) -> None:
    path = tmp_path / DAY
    path.parent.mkdir(parents=True)
    path.write_bytes(zip_bytes("table.csv", b"1735689600000,1,1,1,1,1,1735689659999,1,1,1,1,0"))
    with running(build_recorded(tmp_path, now=None)) as url:
        assert "recorded" in restate(url, key=DAY).json()["error"]
        assert entries(url, DAY)[DAY][2] == path.stat().st_size
