"""Damaged notes: a day with a torn entry is fetched again and loses no row; gap tables say what the ledger says."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry
from tradecore_pipeline.storage.mending import MENDED, mend_day, mend_gaps, readable_entries
from tradecore_pipeline_tests.storage.days import BTC, DAY, HOUR, NOW, fetched, minute_bars

ONE_DAY = timedelta(days=1)
LATER = NOW + ONE_DAY
TORN = b'{"complete":true,"dataset":"bars_1m","day":"2022-'


def holed(day: date, count: int) -> Gap:
    start = day_start(day)
    return Gap(start + timedelta(minutes=count), start + timedelta(minutes=1439), 1440 - count)


def store(lake: Lake, ledger: Ledger, day: date = DAY, *, count: int = 1440) -> LedgerEntry:
    gaps = () if count == 1440 else (holed(day, count),)
    rows = fetched(minute_bars(day, count=count), day=day, gaps=gaps)
    return store_day(lake, ledger, rows, now=NOW, seconds=0.5, launch="a")


def tear(layout: Layout, day: date = DAY) -> None:
    layout.ledger_day("bars_1m", BTC, day).write_bytes(TORN)


def mend(lake: Lake, ledger: Ledger, day: date = DAY) -> bool:
    return mend_day(lake, ledger, BARS_1M, BTC, day, now=LATER)


def test_a_torn_entry_is_made_anew_from_the_rows_as_one_that_is_not_complete(
    lake: Lake, ledger: Ledger, layout: Layout
) -> None:
    before = store(lake, ledger)
    store(lake, ledger, DAY + ONE_DAY)
    assert not mend(lake, ledger), "what is whole stays"
    tear(layout)
    entries, damaged = readable_entries(ledger, "bars_1m", BTC)
    assert ([entry.day for entry in entries], list(damaged)) == ([DAY + ONE_DAY], [DAY])
    assert damaged[DAY].endswith("is damaged: `tradecore repair` fetches that day again, its stored rows are kept")
    assert mend(lake, ledger)
    entry = ledger.get("bars_1m", BTC, DAY)
    assert entry is not None
    assert (entry.rows, entry.sha256, entry.complete, entry.reason) == (1440, before.sha256, False, MENDED)
    assert (entry.market, entry.source, entry.ingested_at) == (before.market, "unknown", LATER)


@pytest.mark.parametrize("forgotten", [True, False])
def test_what_the_source_still_says_of_a_mended_day_is_stored_by_the_usual_rules(
    lake: Lake, ledger: Ledger, layout: Layout, *, forgotten: bool
) -> None:
    store(lake, ledger)
    stored = lake.rows(BARS_1M, BTC, DAY)
    tear(layout)
    mend(lake, ledger)
    told = minute_bars(seed=2).slice(0, 1000) if forgotten else minute_bars(seed=2)
    answer = replace(fetched(told), forgotten=forgotten, reason="not published: kept short" if forgotten else "")
    entry = store_day(lake, ledger, answer, now=LATER, seconds=0.5, launch="b")
    assert (entry.complete, entry.rows, entry.gaps) == (True, 1440, ())
    assert lake.rows(BARS_1M, BTC, DAY).equals(stored) == forgotten, "only a source that serves the day replaces rows"
    assert entry.source == ("unknown" if forgotten else "archive-daily")


def test_the_same_rows_again_give_a_mended_day_its_source_back_and_write_no_row(
    lake: Lake, ledger: Ledger, layout: Layout
) -> None:
    before = store(lake, ledger, count=1400)
    path = layout.day("bars_1m", BTC, DAY, timeframe=None)
    written = path.stat().st_mtime_ns
    tear(layout)
    mend(lake, ledger)
    after = store_day(
        lake, ledger, fetched(minute_bars(count=1400), gaps=before.gaps), now=LATER, seconds=0.5, launch="b"
    )
    assert (after.complete, after.source, after.gaps, after.sha256) == (True, before.source, before.gaps, before.sha256)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("torn", [True, False])
def test_an_entry_whose_rows_are_lost_or_torn_too_vouches_for_none(
    lake: Lake, ledger: Ledger, layout: Layout, *, torn: bool
) -> None:
    store(lake, ledger)
    path = layout.day("bars_1m", BTC, DAY, timeframe=None)
    if torn:
        path.write_bytes(path.read_bytes()[:500])
    else:
        path.unlink()
    tear(layout)
    mend(lake, ledger)
    entry = ledger.get("bars_1m", BTC, DAY)
    assert entry is not None
    assert (entry.rows, entry.sha256, entry.complete) == (0, "", False)
    empty = replace(fetched(BARS_1M.schema.empty_table()), source="none", reason="not published: gone", forgotten=True)
    if torn:
        with pytest.raises(InvalidDataError, match="bring the file back from a copy"):
            store_day(lake, ledger, empty, now=LATER, seconds=0.5, launch="b")
    assert store(lake, ledger).rows == 1440


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"x" * 900, None])
def test_a_gap_table_that_cannot_be_read_is_named_by_queries_and_written_again(
    lake: Lake, ledger: Ledger, layout: Layout, *, damage: bytes | None
) -> None:
    for offset in range(3):
        store(lake, ledger, DAY + offset * ONE_DAY, count=1440 if offset == 1 else 1400)
    path = layout.gaps_day("bars_1m", BTC, DAY)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    catalog = Catalog(layout, [BTC], [HOUR], [])
    for ask in (
        lambda: catalog.query("FROM gaps"),
        lambda: catalog.frame("gaps", BTC, day_start(DAY), day_start(DAY) + 9 * ONE_DAY),
    ):
        with pytest.raises(InvalidDataError, match=r"date=2022-05-01\.parquet cannot be read: `tradecore repair`"):
            ask()
    assert mend_gaps(lake, ledger, BARS_1M, BTC, lost=False) == [DAY]
    assert path.read_bytes() == whole
    assert len(catalog.query("FROM gaps").rows) == 2
    assert mend_gaps(lake, ledger, BARS_1M, BTC, lost=False) == []


def test_gap_tables_that_are_lost_or_of_another_time_say_again_what_the_ledger_says(
    lake: Lake, ledger: Ledger, layout: Layout
) -> None:
    for offset in range(2):
        store(lake, ledger, DAY + offset * ONE_DAY, count=1400)
    first, second = (layout.gaps_day("bars_1m", BTC, DAY + k * ONE_DAY) for k in range(2))
    whole = first.read_bytes()
    first.unlink()
    second.write_bytes(whole)
    assert mend_gaps(lake, ledger, BARS_1M, BTC, lost=True) == [DAY, DAY + ONE_DAY]
    assert first.read_bytes() == whole
    assert [row[2].date() for row in Catalog(layout, [BTC], [HOUR], []).query("FROM gaps").rows] == [DAY, DAY + ONE_DAY]


def test_the_gaps_of_a_day_without_a_readable_entry_wait_for_it(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    store(lake, ledger, count=1400)
    layout.gaps_day("bars_1m", BTC, DAY).write_bytes(b"")
    tear(layout)
    assert mend_gaps(lake, ledger, BARS_1M, BTC, lost=False) == []
    mend(lake, ledger)
    assert mend_gaps(lake, ledger, BARS_1M, BTC, lost=False) == [DAY]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 400), junk=st.binary(max_size=40))
def test_however_an_entry_is_torn_the_days_around_it_stay_readable(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    layout = Layout(tmp_path_factory.mktemp("home"))
    lake, ledger = Lake(layout), Ledger(layout)
    for offset in range(3):
        store(lake, ledger, DAY + offset * ONE_DAY, count=3)
    path = layout.ledger_day("bars_1m", BTC, DAY + ONE_DAY)
    path.write_bytes(path.read_bytes()[:cut] + junk)
    entries, damaged = readable_entries(ledger, "bars_1m", BTC)
    assert [entry.day for entry in entries] == [DAY, DAY + 2 * ONE_DAY]
    assert list(damaged) == [DAY + ONE_DAY]
    assert mend(lake, ledger, DAY + ONE_DAY)
    assert len(readable_entries(ledger, "bars_1m", BTC)[0]) == 3
