"""Importing files: everything is read and checked before the first day is stored."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import FIRST_DAY, Clock
from tradecore_pipeline.importing.days import fetched_days
from tradecore_pipeline.importing.files import Selection
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.importing.read import ImportedFile, read_file
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry

_NOT_PUBLISHED = "not published"
"""How the reason begins where an exchange keeps no history: importing a day it forgot replaces nothing."""


@dataclass(frozen=True, slots=True)
class ImportedDay:
    """What an import holds of one day."""

    day: date
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Import:
    """Files that were read and found good: nothing about them can fail any more."""

    instrument: Instrument
    table: Table
    files: tuple[ImportedFile, ...]
    days: tuple[ImportedDay, ...]
    notes: tuple[str, ...]
    skipped: int
    """Files in the folders that hold something else."""
    now: datetime
    """When the files were read: what had closed by then is in ``days``."""

    def fetched(self, *, replace: bool) -> Iterator[FetchedDay]:
        """The days with their rows, in order."""
        return fetched_days(self.files, self.table, self.instrument, now=self.now, replace=replace)


def prepare_import(
    selected: Selection,
    table: Table,
    instrument: Instrument,
    *,
    now: datetime,
    notes: Notes,
    progress: Callable[[str], None],
) -> Import:
    """Read and check every file; nothing is stored.

    Args:
        selected: the files.
        table: what they hold.
        instrument: whose rows they hold.
        now: rows that closed later are refused.
        notes: what was said of the files before; takes what is to be said now.
        progress: called with the name of each file that was read.

    Raises:
        UsageError: there is nothing to import.
        InvalidDataError: a file cannot be read or must not be stored, or two contradict each other.
    """
    files: list[ImportedFile] = []
    for path in selected.paths:
        files.append(read_file(path, table, instrument, now=now, notes=notes))
        progress(path.name)
    if not any(file.rows.num_rows for file in files):
        raise UsageError(f"the files hold nothing from {FIRST_DAY} on, the first day there are partitions for")
    days = tuple(
        ImportedDay(day.day, day.rows.num_rows, day.complete)
        for day in fetched_days(files, table, instrument, now=now, replace=False)
    )
    return Import(instrument, table, tuple(files), days, tuple(notes.lines()), selected.skipped, now)


def kept_days(lake: Lake, ledger: Ledger, wanted: Import, *, replace: bool) -> dict[date, LedgerEntry]:
    """The days that stay as they are stored: complete ones whose file is intact, unless ``replace``.

    A day that the exchange did not keep (complete, but "not published") is none of them.
    """
    kept: dict[date, LedgerEntry] = {}
    for day in () if replace else wanted.days:
        entry = ledger.get(wanted.table.name, wanted.instrument, day.day)
        if (
            entry is not None
            and entry.complete
            and not entry.reason.startswith(_NOT_PUBLISHED)
            and lake.holds(wanted.table, wanted.instrument, day.day, sha256=entry.sha256)
        ):
            kept[day.day] = entry
    return kept


def import_days(
    lake: Lake,
    ledger: Ledger,
    wanted: Import,
    *,
    keep: Collection[date],
    replace: bool,
    clock: Clock,
    launch: str,
) -> Iterator[LedgerEntry]:
    """Store the days but those to ``keep``, yielding each day's ledger entry once it is safely on disk.

    Raises:
        MixedHomeError: the home holds simulated days; nothing was stored.
    """
    started = time.monotonic()
    for fetched in wanted.fetched(replace=replace):
        if fetched.day in keep:
            continue
        before, started = started, time.monotonic()
        seconds = round(started - before, 3)
        yield store_day(lake, ledger, fetched, now=clock(), seconds=seconds, launch=launch)
