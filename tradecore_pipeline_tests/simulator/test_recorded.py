import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.simulator.archive import zip_bytes
from tradecore_pipeline.simulator.server import build_recorded, running
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES

DAY_MS = 1_640_995_200_000  # 2022-01-01
SPOT = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2022-01-01.zip"
UM = "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2022-01.zip"
FUNDING = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2022-01.zip"
METRICS = "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2022-01-02.zip"
HOURLY = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2022-01-01.zip"


def kline(time: int, price: str, *, width: int) -> str:
    return f"{time},{price},{price},{price},{price},1.5,{time + width - 1},60.00000,3,0.5,20.00000,0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    spot = "\n".join(kline((DAY_MS + 60_000 * n) * 1000, "46216.93000000", width=60_000_000) for n in (0, 1, 3))
    header = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,tbq,ignore\n"
    minutes = header + "\n".join(kline(DAY_MS + 60_000 * n, "46200.5", width=60_000) for n in range(1440 * 3))
    for key, text in (
        (SPOT, spot),
        (UM, minutes),
        (FUNDING, f"calc_time,funding_interval_hours,last_funding_rate\n{DAY_MS + 7},8,0.00010000"),
        # As in real files: out of order and with a duplicate.
        (
            METRICS,
            "create_time,symbol,a,b,c,d,e,f\n"
            + "\n".join(f"2022-01-02 00:{minute:02}:00,BTCUSDT,90000.5,4000000.5,1,1,1,1" for minute in (10, 0, 5, 5)),
        ),
        (HOURLY, spot),
    ):
        path = tmp_path / "archive" / key
        path.parent.mkdir(parents=True)
        path.write_bytes(zip_bytes("table.csv", text.encode()))
    (tmp_path / "secret.zip").write_bytes(b"outside")
    (tmp_path / "archive" / "data" / "link.zip").symlink_to(tmp_path / "secret.zip")
    return tmp_path / "archive"


@pytest.fixture
def recorded(tree: Path) -> Iterator[str]:
    with running(build_recorded(tree, now=None)) as url:
        yield url


def test_recorded_files_are_served_byte_for_byte_with_computed_checksums(recorded: str, tree: Path) -> None:
    for key in (SPOT, UM, FUNDING, METRICS, HOURLY):
        response = requests.get(f"{recorded}/{key}", timeout=10)
        assert response.content == (tree / key).read_bytes()
        assert response.headers["X-Tradecore-Market"] == "real"
        checksum = requests.get(f"{recorded}/{key}.CHECKSUM", timeout=10).text
        assert checksum.split()[0] == hashlib.sha256(response.content).hexdigest()
    page = requests.get(f"{recorded}/", params={"prefix": "data/spot/"}, timeout=10).text
    assert page.count("<Key>") == 4


def test_nothing_outside_the_folder_is_served(recorded: str) -> None:
    with requests.Session() as session:
        for path in ("/data/../../secret.zip", "/data/..%2f..%2fsecret.zip", "/data/link.zip", "/data//etc/passwd"):
            request = requests.Request("GET", recorded).prepare()
            request.url = recorded + path
            response = session.send(request, timeout=10)
            assert response.status_code == 404, path
            assert b"outside" not in response.content
    assert "link.zip" not in requests.get(f"{recorded}/?prefix=data/", timeout=10).text


def test_rest_is_answered_from_the_same_files(recorded: str) -> None:
    def get(path: str) -> list[list[object]]:
        return requests.get(f"{recorded}/{path}", timeout=10).json()

    spot = get(f"api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={DAY_MS}")
    assert [row[0] for row in spot] == [DAY_MS, DAY_MS + 60_000, DAY_MS + 180_000]
    assert spot[0][1] == "46216.93000000"
    perpetual = get(f"fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={DAY_MS + 86_000_000}&limit=1000")
    assert len(perpetual) == 1000
    assert perpetual[0][1] == "46200.5"
    assert len(get("fapi/v1/klines?symbol=BTCUSDT&interval=1d&startTime=0")) == 3
    assert get("fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1")[0][0] == DAY_MS + 60_000 * (1440 * 3 - 1)
    symbols = requests.get(f"{recorded}/fapi/v1/exchangeInfo", timeout=10).json()["symbols"]
    assert [(symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) for symbol in symbols] == [
        ("BTCUSDT", "BTC", "USDT")
    ]
    funding = requests.get(f"{recorded}/fapi/v1/fundingRate?symbol=BTCUSDT", timeout=10).json()
    assert funding == [{"symbol": "BTCUSDT", "fundingTime": DAY_MS + 7, "fundingRate": "0.00010000", "markPrice": ""}]


def test_a_frozen_clock_hides_what_was_not_published_or_traded_yet(tree: Path) -> None:
    now = datetime(2022, 1, 2, 0, 7, 30, tzinfo=UTC)
    with running(build_recorded(tree, now=now)) as url:
        assert requests.get(f"{url}/{SPOT}", timeout=10).status_code == 404
        assert requests.get(f"{url}/?prefix=data/futures/", timeout=10).text.count("<Key>") == 0
        rows = requests.get(f"{url}/fapi/v1/klines?symbol=BTCUSDT&interval=1m", timeout=10).json()
        assert rows[-1][0] == DAY_MS + 86_400_000 + 7 * 60_000
        assert rows[-1][5] == "0.8"  # half of the open minute's volume
        query = "symbol=BTCUSDT&period=5m"
        interest = requests.get(f"{url}/futures/data/openInterestHist?{query}", timeout=10).json()
        assert [row["timestamp"] - DAY_MS - 86_400_000 for row in interest] == [0, 300_000]
        assert interest[0]["sumOpenInterest"] == "90000.50000000"


def test_a_recorded_checksum_is_served_as_it_was_recorded_also_a_wrong_one(tree: Path) -> None:
    wrong = f"{'0' * 64}  {Path(SPOT).name}\n"
    (tree / f"{SPOT}.CHECKSUM").write_text(wrong)
    with running(build_recorded(tree, now=None)) as url:
        assert requests.get(f"{url}/{SPOT}.CHECKSUM", timeout=10).text == wrong
    (tree / f"{SPOT}.CHECKSUM").unlink()
    with running(build_recorded(tree, now=None)) as url:
        served = requests.get(f"{url}/{SPOT}.CHECKSUM", timeout=10).text
    assert served.split()[0] == hashlib.sha256((tree / SPOT).read_bytes()).hexdigest()


def test_missing_series_are_empty_and_a_folder_without_data_is_refused(tree: Path) -> None:
    (tree / FUNDING).unlink()
    (tree / METRICS).unlink()
    with running(build_recorded(tree, now=None)) as url:
        assert requests.get(f"{url}/fapi/v1/fundingRate?symbol=BTCUSDT", timeout=10).json() == []
        path = "futures/data/openInterestHist?symbol=BTCUSDT&period=5m"
        assert requests.get(f"{url}/{path}", timeout=10).json() == []
    with pytest.raises(UsageError, match="no folder named data"):
        build_recorded(tree / "data" / "spot", now=None)


@pytest.mark.skipif(not ARCHIVE.is_dir(), reason=NO_FILES)
def test_a_real_day_comes_back_byte_for_byte_and_as_rest_rows() -> None:
    with running(build_recorded(ARCHIVE, now=None)) as url:
        assert requests.get(f"{url}/{SPOT}", timeout=10).content == (ARCHIVE / SPOT).read_bytes()
        query = f"symbol=BTCUSDT&interval=1m&startTime={DAY_MS}&limit=1"
        (row,) = requests.get(f"{url}/api/v3/klines?{query}", timeout=10).json()
    assert row[:6] == [DAY_MS, "46216.93000000", "46271.08000000", "46208.37000000", "46250.00000000", "40.57574000"]
    assert row[7:11] == ["1875978.44269790", 796, "27.26086000", "1260270.37206270"]
