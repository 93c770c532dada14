"""What depends on the calendar: files of years in which they were different, or did not exist yet."""

from datetime import UTC, date, datetime

from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.okx_files import BulkFile, BulkFiles, is_missing_from_files
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.simulated import SimulatedBackend
from tradecore_pipeline_tests.simulator.archive_reading import csv_of

NOW_MS = int(datetime(2022, 4, 20, tzinfo=UTC).timestamp() * 1000)


def files(start: date, end: date) -> BulkFiles:
    return BulkFiles(SimulatedBackend(SimulatedMarket(demo_parameters(), 3, start=start, end=end)))


def test_candles_begin_in_september_2021_and_know_no_coin_volumes_before_2024() -> None:
    source = files(date(2021, 8, 30), date(2021, 9, 4))
    days = {"first": date(2021, 8, 28), "last": date(2021, 9, 3), "monthly": False, "now_ms": NOW_MS}
    named = source.catalogue("candlesticks", "BTC-USDT-SWAP", **days)
    assert [file.first_day.isoformat() for file in named] == ["2021-09-03", "2021-09-02", "2021-09-01"]
    content = source.content(named[-1], NOW_MS)
    assert content is not None
    rows = [line.split(",") for line in csv_of(content).splitlines()[1:]]
    assert {row[6] for row in rows} == {"None"}
    assert len(rows) in {1439, 1440}


def test_funding_files_begin_in_march_2022() -> None:
    source = files(date(2022, 2, 1), date(2022, 4, 10))
    months = {"first": date(2022, 1, 1), "last": date(2022, 4, 1), "monthly": True, "now_ms": NOW_MS}
    named = source.catalogue("fundingrates", "BTC-USDT-SWAP", **months)
    assert [file.period for file in named] == ["2022-03"], "April has not ended"


def test_one_minute_of_every_third_day_is_missing_from_the_files() -> None:
    first = int(datetime(2025, 1, 1, 16, tzinfo=UTC).timestamp() * 1000)
    missing = [first + 60_000 * n for n in range(1440 * 9) if is_missing_from_files(first + 60_000 * n)]
    assert len(missing) == 3


def test_paths_survive_the_round_trip_and_strangers_are_not_parsed() -> None:
    for path in (
        "candlesticks/daily/20260518/BTC-USDT-SWAP-candlesticks-2026-05-18.zip",
        "candlesticks/monthly/202608/ETH-USDT-SWAP-candlesticks-2026-08.zip",
        "swaprates/monthly/202501/BTC-USDT-SWAP-fundingrates-2025-01.zip",
        "swaprates/daily/20240102/allswap-fundingrates-2024-01-02.zip",
    ):
        file = BulkFile.parse(path)
        assert file is not None
        assert file.path == path
    for path in (
        "candlesticks/daily/20260519/BTC-USDT-SWAP-candlesticks-2026-05-18.zip",
        "candlesticks/daily/20260518/BTC-USDT-SWAP-candlesticks-2026-13-18.zip",
        "swaprates/daily/20260518/BTC-USDT-SWAP-candlesticks-2026-05-18.zip",
        "../../secret.zip",
    ):
        assert BulkFile.parse(path) is None
