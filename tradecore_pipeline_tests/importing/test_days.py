"""What several files make of a day: merged, judged complete or not, and stored as fetched days are."""

import dataclasses
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, MixedHomeError, UsageError
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.importing.days import fetched_days
from tradecore_pipeline.importing.files import select_files
from tradecore_pipeline.importing.ingest import Import, import_days, kept_days, prepare_import
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry
from tradecore_pipeline_tests.importing.foreign import WRITERS, csv_file, line, read, stamp
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, fetched, minute_bars, open_interest

ONE_DAY = timedelta(days=1)
NEXT = DAY + ONE_DAY


@pytest.fixture
def home(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "home")


def written(folder: Path, rows: pa.Table, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_bytes(WRITERS[".csv"](rows))
    return path


def prepared(paths: Sequence[Path], *, table: Table = BARS_1M, now: datetime = NOW) -> Import:
    notes = Notes()
    selected = select_files(paths, table, BTC, notes=notes)
    return prepare_import(selected, table, BTC, now=now, notes=notes, progress=lambda _: None)


def days(paths: Sequence[Path], *, table: Table = BARS_1M, now: datetime = NOW) -> list[FetchedDay]:
    return list(prepared(paths, table=table, now=now).fetched(replace=True))


def stored(home: Layout, wanted: Import, *, replace: bool = False) -> list[LedgerEntry]:
    lake, ledger = Lake(home), Ledger(home)
    kept = kept_days(lake, ledger, wanted, replace=replace)
    return list(import_days(lake, ledger, wanted, keep=kept, replace=replace, clock=lambda: NOW, launch="import-1"))


def test_a_whole_day_is_complete_and_a_day_with_holes_says_what_it_lacks(tmp_path: Path) -> None:
    rows = pa.concat_tables([minute_bars(), minute_bars(NEXT).slice(0, 100), minute_bars(NEXT).slice(110)])
    path = written(tmp_path, rows)
    first, second = days([path])
    assert (first.day, first.complete, first.gaps, first.reason) == (DAY, True, (), "")
    assert (first.source, first.host, first.market) == ("import", "file", "real")
    assert [file.url for file in first.files] == ["bars.csv"]
    assert len(first.files[0].sha256) == 64
    assert (second.day, second.complete, [gap.missing for gap in second.gaps]) == (NEXT, False, [10])
    assert second.reason == "imported with 1430 of 1440 minutes: a backfill asks the exchange for the rest"


def test_the_day_that_lasts_is_not_complete_and_lacks_only_what_has_passed(tmp_path: Path) -> None:
    path = written(tmp_path, minute_bars(count=10))
    (day,) = days([path], now=day_start(DAY) + timedelta(minutes=12, seconds=30))
    assert (day.complete, day.reason, [gap.missing for gap in day.gaps]) == (False, "day not over", [2])


def test_days_of_several_files_are_joined_and_each_day_names_its_own(tmp_path: Path) -> None:
    rows = pa.concat_tables([minute_bars(), minute_bars(NEXT)])
    late = written(tmp_path, rows.slice(1000), "late.csv")
    early = written(tmp_path, rows.slice(0, 1500), "early.csv")
    again = written(tmp_path, rows.slice(200, 300), "again.csv")
    found = days([late, early, again])
    assert pa.concat_tables([day.rows for day in found]).combine_chunks().equals(rows.combine_chunks())
    assert [[file.url for file in day.files] for day in found] == [["early.csv"], ["early.csv", "late.csv"]]


def test_a_value_that_only_one_file_has_is_taken_and_a_contradiction_names_both_files(tmp_path: Path) -> None:
    rows = minute_bars(count=20)
    full = written(tmp_path, rows)
    poor = tmp_path / "poor.feather"
    poor.write_bytes(WRITERS[".feather"](rows))
    for paths in ([full, poor], [poor, full]):
        assert days(paths)[0].rows.equals(rows)
    other = csv_file(tmp_path, [line(7)], name="other.csv")
    with pytest.raises(
        InvalidDataError, match=r"bars\.csv and other\.csv differ in the row of 2022-05-01T00:07:00Z \(open is"
    ):
        prepared([full, other])


def settlements(folder: Path, hours: Sequence[int], name: str = "funding.csv") -> Path:
    lines = [f"{stamp(60 * hour) + 3},{hour / 1e6}" for hour in hours]
    return csv_file(folder, lines, header="fundingTime,fundingRate", name=name)


@pytest.mark.parametrize(
    ("hours", "complete"),
    [
        (range(0, 72, 8), [True, True, True]),
        (range(8, 72, 8), [False, True, True]),
        (range(0, 64, 8), [True, True, False]),
        ([0, 8, 16, 24, 40, 48, 56, 64], [True, False, True]),
        ([*range(0, 24, 8), *range(24, 73, 4)], [True, True, True, False]),
        ([*range(0, 24, 4), 24, 28, 36, *range(40, 72, 4)], [True, False, True]),
        (range(72), [True, True, True]),
        ([h for h in range(72) if h != 47], [True, False, True]),
        ([0], [False]),
    ],
)
def test_a_day_of_settlements_is_complete_where_none_can_be_missing(
    tmp_path: Path, hours: Sequence[int], complete: list[bool]
) -> None:
    found = days([settlements(tmp_path, hours)], table=FUNDING_RATES)
    assert [day.complete for day in found] == complete
    assert all(day.complete or day.reason.endswith("a backfill asks the exchange for the rest") for day in found)


def test_intervals_are_measured_over_all_files_and_unknown_after_a_silence(tmp_path: Path) -> None:
    paths = [settlements(tmp_path, [0, 8, 16], "a.csv"), settlements(tmp_path, [24, 28, 100], "b.csv")]
    rows = pa.concat_tables([day.rows for day in days(paths, table=FUNDING_RATES)])
    assert rows.column("funding_interval_minutes").to_pylist() == [None, 480, 480, 480, 240, None]


def test_open_interest_lies_on_its_own_grid(tmp_path: Path) -> None:
    path = written(tmp_path, open_interest())
    (day,) = days([path], table=OPEN_INTEREST)
    assert (day.complete, day.rows.equals(open_interest())) == (True, True)
    (part,) = days([written(tmp_path, open_interest(count=280))], table=OPEN_INTEREST)
    assert part.reason == "imported with 280 of 288 snapshots: a backfill asks the exchange for the rest"


def test_what_lies_before_the_first_partition_is_left_out_with_a_note(tmp_path: Path) -> None:
    before, first = date(2019, 9, 7), date(2019, 9, 8)
    wanted = prepared([written(tmp_path, pa.concat_tables([minute_bars(before), minute_bars(first)]))])
    assert [day.day for day in wanted.days] == [first]
    assert any("before 2019-09-08 were left out" in note for note in wanted.notes)
    with pytest.raises(UsageError, match="nothing from 2019-09-08 on"):
        prepared([written(tmp_path, minute_bars(before))])


def test_an_imported_day_is_stored_as_a_fetched_one_and_twice_is_once(tmp_path: Path, home: Layout) -> None:
    other = Layout(tmp_path / "other")
    store_day(Lake(other), Ledger(other), fetched(minute_bars()), now=NOW, seconds=0.1, launch="1")
    wanted = prepared([written(tmp_path, minute_bars())])
    (entry,) = stored(home, wanted)
    path = home.day("bars_1m", BTC, DAY, timeframe=None)
    assert path.read_bytes() == other.day("bars_1m", BTC, DAY, timeframe=None).read_bytes()
    assert (entry.source, entry.complete, entry.rows) == ("import", True, 1440)
    assert stored(home, wanted) == []
    path.unlink()
    assert len(stored(home, wanted)) == 1


def test_a_complete_day_from_the_exchange_is_kept_unless_replaced(tmp_path: Path, home: Layout) -> None:
    store_day(Lake(home), Ledger(home), fetched(minute_bars(seed=2)), now=NOW, seconds=0.1, launch="1")
    wanted = prepared([written(tmp_path, minute_bars())])
    assert list(kept_days(Lake(home), Ledger(home), wanted, replace=False)) == [DAY]
    assert stored(home, wanted) == []
    (entry,) = stored(home, wanted, replace=True)
    assert entry.source == "import"
    assert Lake(home).rows(BARS_1M, BTC, DAY).equals(minute_bars())


def test_a_day_that_the_exchange_did_not_keep_is_filled_import_by_import(tmp_path: Path, home: Layout) -> None:
    gone = dataclasses.replace(fetched(BARS_1M.schema.empty_table()), source="none", reason="not published: gone")
    store_day(Lake(home), Ledger(home), gone, now=NOW, seconds=0.1, launch="1")
    (part,) = stored(home, prepared([written(tmp_path, minute_bars(count=300))]))
    assert (part.rows, part.missing, part.complete) == (300, 1140, True)
    assert part.reason == "not published: gone; its rows are from import"
    (whole,) = stored(home, prepared([written(tmp_path, minute_bars())]))
    assert (whole.rows, whole.missing, whole.complete, whole.reason) == (1440, 0, True, "")


def test_a_simulated_home_takes_no_imports(tmp_path: Path, home: Layout) -> None:
    simulated = fetched(minute_bars(), day=DAY, market="simulated:seed-7")
    store_day(Lake(home), Ledger(home), simulated, now=NOW, seconds=0.1, launch="1")
    with pytest.raises(MixedHomeError):
        stored(home, prepared([written(tmp_path, minute_bars())]), replace=True)


def test_every_row_is_in_one_day_and_every_day_validates(tmp_path: Path) -> None:
    rows = pa.concat_tables([minute_bars(DAY + n * ONE_DAY) for n in range(3)])
    file = read(written(tmp_path, rows.slice(700, 2000)))
    found = list(fetched_days([file], BARS_1M, BTC, now=NOW, replace=False))
    assert [day.rows.num_rows for day in found] == [740, 1260]
    assert [day.complete for day in found] == [False, False]
    assert all(day.forgotten for day in found)
