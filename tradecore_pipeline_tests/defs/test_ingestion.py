"""Storing days as they come, by many at once: whoever wins a day, its entry describes its file."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from tradecore_pipeline.defs.ingestion import store_days
from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import OPEN_INTEREST
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.quality.gaps import find_gaps
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, fetched, open_interest

WRITERS = 4
DAYS = list(day_range(DAY, DAY + timedelta(days=63)))
SHARED = DAYS[:32]
"""Each of the other days is stored by one writer alone."""


def snapshots(day: date, writer: int) -> FetchedDay:
    """The day as this writer saw it; the last two only add what the day does not hold yet, the others replace."""
    generator = np.random.default_rng([writer, day.toordinal()])
    whole = open_interest(day)
    rows = whole.filter(generator.random(whole.num_rows) < 0.9)
    start = day_start(day)
    gaps = find_gaps(rows.column("ts_event"), start=start, end=start + timedelta(days=1), step=timedelta(minutes=5))
    made = fetched(rows, table=OPEN_INTEREST, day=day, gaps=gaps)
    return replace(made, source=f"archive-{writer}", forgotten=writer >= WRITERS // 2)


def store_all(home: Path, writer: int, start: Barrier) -> list[LedgerEntry]:
    own = [day for number, day in enumerate(DAYS) if day in SHARED or number % WRITERS == writer]
    start.wait()
    fresh = (snapshots(day, writer) for day in own)
    lake, ledger = Lake(Layout(home)), Ledger(Layout(home))
    entries = list(store_days(lake, ledger, fresh, clock=lambda: NOW, launch=str(writer)))
    assert [entry.day for entry in entries] == own
    return entries


def check_day(lake: Lake, ledger: Ledger, day: date, returned: Sequence[LedgerEntry]) -> LedgerEntry:
    entry = ledger.get(OPEN_INTEREST.name, BTC, day)
    assert entry is not None
    assert lake.holds(OPEN_INTEREST, BTC, day, sha256=entry.sha256)
    rows, start = lake.rows(OPEN_INTEREST, BTC, day), day_start(day)
    gaps = find_gaps(rows.column("ts_event"), start=start, end=start + timedelta(days=1), step=timedelta(minutes=5))
    assert (entry.rows, entry.gaps, entry.missing) == (rows.num_rows, gaps, 288 - rows.num_rows)
    assert entry in returned
    return entry


def test_four_threads_that_store_the_same_and_other_days_leave_entries_that_match_their_files(tmp_path: Path) -> None:
    start = Barrier(WRITERS)
    with ThreadPoolExecutor(WRITERS) as pool:
        running = [pool.submit(store_all, tmp_path, writer, start) for writer in range(WRITERS)]
        returned = [entry for writer in running for entry in writer.result()]
    lake, ledger = Lake(Layout(tmp_path)), Ledger(Layout(tmp_path))
    assert ledger.days(OPEN_INTEREST.name, BTC) == lake.days(OPEN_INTEREST, BTC) == DAYS
    found = [check_day(lake, ledger, day, returned) for day in DAYS]
    # Four different versions, each stored after the one it names: none was overwritten unseen.
    for entry in found[: len(SHARED)]:
        versions = {one.sha256 for one in returned if one.day == entry.day}
        assert {version.sha256 for version in entry.previous} == versions - {entry.sha256}
    assert all(not entry.previous for entry in found[len(SHARED) :])
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_the_days_before_one_that_must_not_be_stored_are_stored_and_come_first(tmp_path: Path) -> None:
    def days() -> Iterator[FetchedDay]:
        yield from (snapshots(day, 0) for day in DAYS[:3])
        yield replace(snapshots(DAYS[0], 0), day=DAYS[3])

    lake, ledger = Lake(Layout(tmp_path)), Ledger(Layout(tmp_path))
    stored = store_days(lake, ledger, days(), clock=lambda: NOW, launch="a")
    assert [next(stored).day for _ in range(3)] == DAYS[:3]
    with pytest.raises(InvalidDataError, match="holds rows of another day"):
        next(stored)
    assert ledger.days(OPEN_INTEREST.name, BTC) == DAYS[:3]
