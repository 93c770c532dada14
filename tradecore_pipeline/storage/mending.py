"""Damaged notes of a home: which days they are about, and how such a day becomes one to be fetched again.

The ledger and the gap tables are the only files that nobody can publish again. A gap table is what the ledger says, in
another form. An entry is made anew from the rows that lie in the lake, as one that is not complete: whoever fetches the
day then keeps, joins or replaces those rows by the same rules as always (``storage.ingest``).
"""

import hashlib
from datetime import date, datetime

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET, Gap
from tradecore_pipeline.domain.tables import GAPS, Table
from tradecore_pipeline.storage.atomic import exclusive, listed_names
from tradecore_pipeline.storage.decoding import decode_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import PARQUET, named_day
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry

MENDED = "its ledger entry was damaged and made anew from the stored rows: to be fetched again"
_UNKNOWN = "unknown"
"""The source of rows whose entry was lost."""


def readable_entries(ledger: Ledger, dataset: str, instrument: Instrument) -> tuple[list[LedgerEntry], dict[date, str]]:
    """The entries of stored days, in order, and the days whose entry is damaged, with what is wrong."""
    try:
        return ledger.entries(dataset, instrument), {}
    except InvalidDataError:
        entries: list[LedgerEntry] = []
        damaged: dict[date, str] = {}
    for day in ledger.days(dataset, instrument):
        try:
            entry = ledger.get(dataset, instrument, day)
        except InvalidDataError:
            path = ledger.layout.ledger_day(dataset, instrument, day)
            damaged[day] = f"{path} is damaged: `tradecore repair` fetches that day again, its stored rows are kept"
        else:
            entries += [] if entry is None else [entry]
    return entries, damaged


def mend_day(lake: Lake, ledger: Ledger, table: Table, instrument: Instrument, day: date, *, now: datetime) -> bool:
    """Replace the entry of ``day``, if it is damaged, by one that is not complete; true where it was."""
    with exclusive(lake.layout.ledger_lock(table.name, instrument, day)):
        try:
            ledger.get(table.name, instrument, day)
        except InvalidDataError:
            ledger.record(_entry_of_rows(lake, ledger, table, instrument, day, now=now))
            return True
    return False


def mend_gaps(lake: Lake, ledger: Ledger, table: Table, instrument: Instrument, *, lost: bool) -> list[date]:
    """Write the gap tables again that cannot be read, or do not say what their day's ledger entry says.

    ``lost``: also those that are gone, for which the entry of every day is read.
    """
    directory = lake.layout.gaps_series(table.name, instrument)
    doubtful = {named_day(name) for name in listed_names(directory, PARQUET)}
    if lost:
        doubtful |= {entry.day for entry in readable_entries(ledger, table.name, instrument)[0] if entry.gaps}
    return [day for day in sorted(doubtful) if _mend_gaps_of(lake, ledger, table, instrument, day)]


def _mend_gaps_of(lake: Lake, ledger: Ledger, table: Table, instrument: Instrument, day: date) -> bool:
    with exclusive(lake.layout.ledger_lock(table.name, instrument, day)):
        try:
            entry = ledger.get(table.name, instrument, day)
        except InvalidDataError:
            return False  # told anew once the day is fetched again
        gaps = () if entry is None else entry.gaps
        if _told_gaps(lake, table, instrument, day) == gaps:
            return False
        lake.publish_gaps(table.name, instrument, day=day, gaps=gaps)
        return True


def _told_gaps(lake: Lake, table: Table, instrument: Instrument, day: date) -> tuple[Gap, ...] | None:
    """What the gap table of a day says; None where it cannot be read."""
    path = lake.layout.gaps_day(table.name, instrument, day)
    if not path.exists():
        return ()
    try:
        rows = decode_day(str(path), GAPS.schema).to_pylist()
    except InvalidDataError:
        return None
    return tuple(Gap(row["first_missing"], row["last_missing"], row["missing"]) for row in rows)


def _entry_of_rows(
    lake: Lake, ledger: Ledger, table: Table, instrument: Instrument, day: date, *, now: datetime
) -> LedgerEntry:
    """An entry that vouches for what the lake holds of ``day``, and for nothing more."""
    try:
        rows = lake.rows(table, instrument, day).num_rows
        sha256 = hashlib.sha256(lake.layout.day(table.name, instrument, day, timeframe=None).read_bytes()).hexdigest()
    except (InvalidDataError, MissingInputError, FileNotFoundError):
        rows, sha256 = 0, ""
    return LedgerEntry(
        instrument=instrument,
        dataset=table.name,
        day=day,
        rows=rows,
        missing=0,
        gaps=(),
        source=_UNKNOWN,
        host="",
        market=ledger.market() or REAL_MARKET,
        files=(),
        sha256=sha256,
        complete=False,
        reason=MENDED,
        ingested_at=now,
        seconds=0.0,
        launch="",
    )
