"""The ledger, and storing a day so that a kill at any point loses, doubles and tears nothing."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, MixedHomeError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.coverage import coverage
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, fetched, minute_bars


class KilledError(BaseException):
    """Stands for SIGKILL: nothing in the code under test may catch it."""


def _store(lake: Lake, ledger: Ledger, day: FetchedDay) -> LedgerEntry:
    return store_day(lake, ledger, day, now=NOW, seconds=0.5, launch="launch-1")


def _gap(day: date, first: int, last: int) -> Gap:
    minute = timedelta(minutes=1)
    return Gap(day_start(day) + first * minute, day_start(day) + last * minute, last - first + 1)


WITH_GAP = fetched(minute_bars(count=1430), gaps=(_gap(DAY, 1430, 1439),))
REPAIRED = fetched(minute_bars())
RECORDED = replace(fetched(minute_bars(count=300), complete=False), source="rest", forgotten=True)
NOT_PUBLISHED = replace(fetched(minute_bars(count=0)), source="none", reason="not published: no history is kept")
LATER = replace(fetched(minute_bars().slice(900, 540)), source="archive-daily", forgotten=True)


def _files(layout: Layout) -> dict[str, bytes]:
    found = sorted(path for path in layout.root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(layout.root)): path.read_bytes() for path in found}


def test_an_entry_says_all_that_was_known_when_the_day_was_stored(lake: Lake, ledger: Ledger) -> None:
    entry = _store(lake, ledger, WITH_GAP)
    assert ledger.get("bars_1m", BTC, DAY) == entry
    assert ledger.entries("bars_1m", BTC) == [entry]
    assert (entry.rows, entry.missing, entry.gaps, entry.complete) == (1430, 10, WITH_GAP.gaps, True)
    assert (entry.source, entry.host, entry.files) == (WITH_GAP.source, WITH_GAP.host, WITH_GAP.files)
    assert ledger.get("bars_1m", BTC, DAY + timedelta(days=1)) is None
    assert ledger.entries("funding_rates", BTC) == []


def test_storing_a_day_twice_is_storing_it_once(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    _store(lake, ledger, WITH_GAP)
    before = _files(layout)
    _store(lake, ledger, WITH_GAP)
    assert _files(layout) == before


def _killing(patch: pytest.MonkeyPatch, step: int) -> None:
    """A kill instead of the ``step``-th flush to disk, or right after the ``step``-th renaming, whichever comes."""
    calls = iter(range(10_000))
    flush, rename = os.fsync, Path.replace

    def flush_or_die(descriptor: int) -> None:
        if next(calls) == step:
            raise KilledError
        flush(descriptor)

    def rename_and_die(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if next(calls) == step:
            raise KilledError
        return moved

    patch.setattr(os, "fsync", flush_or_die)
    patch.setattr(Path, "replace", rename_and_die)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, REPAIRED),
        (WITH_GAP, REPAIRED),
        (RECORDED, LATER),
        (replace(RECORDED, complete=True), LATER),
        (NOT_PUBLISHED, RECORDED),
    ],
)
def test_a_kill_at_any_flush_or_renaming_leaves_a_day_that_the_next_launch_makes_whole(
    tmp_path: Path, before: FetchedDay | None, after: FetchedDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Layout(tmp_path / "whole")
    if before is not None:
        _store(Lake(whole), Ledger(whole), before)
    final = _store(Lake(whole), Ledger(whole), after).rows
    kills = 0
    for step in range(100):
        layout = Layout(tmp_path / str(step))
        lake, ledger = Lake(layout), Ledger(layout)
        if before is not None:
            _store(lake, ledger, before)
        with monkeypatch.context() as patch:
            _killing(patch, step)
            try:
                _store(lake, ledger, after)
            except KilledError:
                kills += 1
            else:
                break
        _check_survivor(lake, ledger, before, final)
        _store(lake, ledger, after)
        assert _files(layout) == _files(whole)
    assert kills >= 6


def _check_survivor(lake: Lake, ledger: Ledger, before: FetchedDay | None, final: int) -> None:
    start = day_start(DAY)
    rows = len(lake.read(BARS_1M, BTC, start, start + timedelta(days=1)))
    entry = ledger.get("bars_1m", BTC, DAY)
    assert rows in {0 if before is None else before.rows.num_rows, final}
    if entry is not None and entry.complete:
        assert entry.rows == rows, "a complete entry vouches for rows that are not there"
    if before is not None:
        assert entry is not None


def test_a_repaired_day_shows_no_gap_and_its_listed_gap_file_stays_readable(
    lake: Lake, ledger: Ledger, layout: Layout
) -> None:
    _store(lake, ledger, WITH_GAP)
    listed = layout.gaps_day("bars_1m", BTC, DAY)
    assert listed.exists()
    entry = _store(lake, ledger, REPAIRED)
    assert entry.gaps == ()
    assert listed.exists()
    assert coverage(ledger, [BTC])[0].gaps == 0


def test_a_day_that_breaks_its_contract_changes_nothing(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    _store(lake, ledger, REPAIRED)
    before = _files(layout)
    with pytest.raises(InvalidDataError):
        _store(lake, ledger, fetched(minute_bars(DAY + timedelta(days=1))))
    assert _files(layout) == before


def test_a_home_never_mixes_markets(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    assert ledger.market() is None
    _store(lake, ledger, fetched(minute_bars(), market="simulated:seed-7"))
    assert ledger.market() == "simulated:seed-7"
    before = _files(layout)
    with pytest.raises(MixedHomeError, match=r"holds days of simulated:seed-7; .* use another TRADECORE_HOME"):
        _store(lake, ledger, REPAIRED)
    assert _files(layout) == before
    ledger.claim_market("simulated:seed-7")


def test_an_unreadable_entry_names_its_file(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    _store(lake, ledger, REPAIRED)
    layout.ledger_day("bars_1m", BTC, DAY).write_text("{}")
    with pytest.raises(InvalidDataError, match=r"date=2022-05-01\.json is not a ledger entry"):
        ledger.entries("bars_1m", BTC)


def test_history_begins_where_a_complete_day_before_it_was_empty(lake: Lake, ledger: Ledger) -> None:
    empty = BARS_1M.schema.empty_table()
    _store(lake, ledger, REPAIRED)
    assert ledger.first_day("bars_1m", BTC) is None
    _store(lake, ledger, fetched(empty, day=DAY - timedelta(days=2)))
    assert ledger.first_day("bars_1m", BTC) is None
    _store(lake, ledger, fetched(empty, day=DAY - timedelta(days=1)))
    assert ledger.first_day("bars_1m", BTC) == DAY
    assert ledger.first_day("funding_rates", BTC) is None


def test_two_writers_of_one_day_leave_the_rows_and_the_entry_of_the_same_one(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, published = lake.publish_encoded, Event()

    def pause_after_the_first(*arguments: Any, **named: Any) -> None:
        publish(*arguments, **named)
        if not published.is_set():
            published.set()
            time.sleep(0.3)  # long enough for the other writer to store its day whole, were it let in

    def second() -> None:
        published.wait()
        _store(lake, ledger, REPAIRED)

    monkeypatch.setattr(lake, "publish_encoded", pause_after_the_first)
    with ThreadPoolExecutor(1) as other:
        late = other.submit(second)
        _store(lake, ledger, WITH_GAP)
        late.result()
    entry = ledger.get("bars_1m", BTC, DAY)
    stored = lake.layout.day("bars_1m", BTC, DAY, timeframe=None).read_bytes()
    assert entry is not None
    assert hashlib.sha256(stored).hexdigest() == entry.sha256
