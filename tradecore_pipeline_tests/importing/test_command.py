"""`tradecore import` from end to end: days in the lake, in SQL and in Dagster, and nothing where it is refused."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.defs.market_data import asset_key
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.simulator.server import build_recorded, running
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.chain import lake_files, small_settings, span, tradecore
from tradecore_pipeline_tests.exchanges.fake import klines_csv, minutes
from tradecore_pipeline_tests.importing.foreign import FREQTRADE, NO_FREQTRADE, csv_file, line, zipped
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, SPOT, fetched, minute_bars

NAME = str(BTC)
NOWHERE = "http://127.0.0.1:9"
A_PRICE = "price of at most 10 digits before and 8 after the point"
ONE_DAY = timedelta(days=1)
WEEK = list(day_range(date(2022, 3, 1), date(2022, 3, 7)))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return small_settings(tmp_path / "home", NOWHERE, instruments=(NAME, str(SPOT)))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two whole days and half of a third."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number, count in enumerate((1440, 1440, 720)):
        day = DAY + number * ONE_DAY
        (folder / f"BTCUSDT-1m-{day}.zip").write_bytes(zipped(klines_csv(minutes(day, 0, count), header=True)))
    (folder / f"ETHUSDT-1m-{DAY}.zip").touch()
    return folder


def materialized(settings: Settings) -> set[str]:
    with Session(settings) as session:
        return set(session.instance.get_materialized_partitions(asset_key(BARS_1M.name)))


def test_a_dry_run_says_what_would_be_done_and_does_nothing(settings: Settings, archive: Path) -> None:
    outcome = tradecore(settings, "import", str(archive), "--instrument", NAME, "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json == {
        "instrument": NAME,
        "dataset": "bars_1m",
        "dry_run": True,
        "files": 3,
        "skipped_files": 1,
        "first": "2022-05-01",
        "last": "2022-05-03",
        "days": 3,
        "stored": 3,
        "kept": 0,
        "incomplete": 1,
        "rows": 3600,
        "notes": [f"ETHUSDT-1m-{DAY}.zip: skipped: is of ETHUSDT"],
    }
    assert not settings.home.exists()


def test_imported_days_are_in_the_lake_in_sql_and_in_dagster_and_a_second_import_keeps_them(
    settings: Settings, archive: Path
) -> None:
    outcome = tradecore(settings, "import", str(archive), "--instrument", NAME)
    assert outcome.code == 0, outcome.err
    assert "3 days stored (2022-05-01 to 2022-05-03, 3600 rows, 1 days not complete) from 3 files" in outcome.err
    counted = tradecore(settings, "sql", "SELECT count(*) AS n, sum(volume) AS v FROM bars_1m", "--json")
    assert counted.json["rows"] == [{"n": 3600, "v": 5400.0}]
    assert materialized(settings) == {f"{DAY + n * ONE_DAY}|{NAME}" for n in range(3)}
    before = lake_files(settings.home)
    again = tradecore(settings, "import", str(archive), "--instrument", NAME, "--json")
    assert (again.json["kept"], again.json["stored"]) == (2, 1)
    assert "2 days are stored and complete, and were kept: --replace replaces them" in again.err
    assert lake_files(settings.home) == before


def test_the_ledger_names_files_without_the_folders_of_this_machine(
    settings: Settings, archive: Path, tmp_path: Path
) -> None:
    tradecore(settings, "import", str(archive), "--instrument", NAME)
    home = Layout(settings.home)
    entry = Ledger(home).get("bars_1m", BTC, DAY)
    assert entry is not None
    assert (entry.source, entry.host, entry.files[0].url) == ("import", "file", f"BTCUSDT-1m-{DAY}.zip")
    assert entry.launch.startswith("import-")
    assert str(tmp_path) not in home.ledger_day("bars_1m", BTC, DAY).read_text()


def test_a_day_stored_by_a_killed_import_is_shown_by_the_next(
    settings: Settings, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tradecore_pipeline.defs.imported.report_day", killed)
        assert tradecore(settings, "import", str(archive), "--instrument", NAME).code == 130
    assert materialized(settings) == set()
    assert tradecore(settings, "import", str(archive), "--instrument", NAME).code == 0
    assert materialized(settings) == {f"{DAY + n * ONE_DAY}|{NAME}" for n in range(3)}


def test_one_bad_file_among_good_ones_stores_nothing(settings: Settings, archive: Path) -> None:
    csv_file(archive, [line(0), line(1, price="?")], name="zz.csv")
    outcome = tradecore(settings, "import", str(archive), "--instrument", NAME)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == f"tradecore: zz.csv, line 3: open '?' is no {A_PRICE}"
    assert not (settings.home / "lake").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.csv", "--instrument", NAME), "nowhere.csv does not exist"),
        ((".", "--instrument", NAME), "there is nothing to import as bars_1m"),
        ((".", "--instrument", "binance:ETH/USDT:USDT"), "binance:ETH/USDT:USDT is not configured"),
        ((".", "--instrument", NAME, "--dataset", "trades"), "'trades' cannot be imported: choose one of bars_1m"),
        ((".", "--instrument", str(SPOT), "--dataset", "funding_rates"), "has no funding_rates"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(
    settings: Settings, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    outcome = tradecore(settings, "import", *arguments, cwd=tmp_path)
    assert outcome.code == 2
    assert message in outcome.err.splitlines()[-1]
    assert not settings.home.exists()


def test_a_home_of_simulated_days_refuses_before_it_reads(settings: Settings, tmp_path: Path) -> None:
    home = Layout(settings.home)
    simulated = fetched(minute_bars(), market="simulated:seed-7")
    store_day(Lake(home), Ledger(home), simulated, now=NOW, seconds=0.1, launch="1")
    before = lake_files(settings.home)
    torn = tmp_path / "torn.csv"
    torn.write_text("not even a header")
    outcome = tradecore(settings, "import", str(torn), "--instrument", NAME, "--replace")
    assert outcome.code == 1
    assert "holds days of simulated:seed-7" in outcome.err.splitlines()[-1]
    assert lake_files(settings.home) == before


@pytest.fixture
def recorded_url() -> Iterator[str]:
    with running(build_recorded(ARCHIVE, now=None)) as url:
        yield url


@pytest.mark.skipif(not ARCHIVE.is_dir(), reason=NO_FILES)
def test_recorded_zips_imported_are_the_bytes_of_the_same_days_fetched(tmp_path: Path, recorded_url: str) -> None:
    asked = small_settings(tmp_path / "fetched", recorded_url, instruments=(str(SPOT),))
    outcome = tradecore(asked, "backfill", str(SPOT), *span(WEEK[0], WEEK[-1]))
    assert outcome.code == 0, outcome.err
    imported = small_settings(tmp_path / "imported", NOWHERE, instruments=(str(SPOT),))
    folder = ARCHIVE / "data" / "spot" / "daily" / "klines" / "BTCUSDT" / "1m"
    files = [str(folder / f"BTCUSDT-1m-{day}.zip") for day in WEEK]
    outcome = tradecore(imported, "import", *files, "--instrument", str(SPOT))
    assert outcome.code == 0, outcome.err
    assert lake_files(imported.home) == lake_files(asked.home)
    assert len(lake_files(imported.home)) == len(WEEK)


@pytest.mark.skipif(not FREQTRADE.is_dir(), reason=NO_FREQTRADE)
@pytest.mark.parametrize(("dataset", "days", "rows"), [("bars_1m", 31, 43_199), ("funding_rates", 90, 266)])
def test_a_real_freqtrade_folder_is_imported_and_what_it_holds_besides_is_named(
    settings: Settings, dataset: str, days: int, rows: int
) -> None:
    words = ("--instrument", NAME, "--dataset", dataset, "--dry-run", "--json")
    outcome = tradecore(settings, "import", str(FREQTRADE), *words)
    assert outcome.code == 0, outcome.err
    assert (outcome.json["days"], outcome.json["rows"], outcome.json["skipped_files"]) == (days, rows, 5)
    assert json.dumps(outcome.json["notes"]).count("skipped: holds mark prices, which are no trades") == 1
