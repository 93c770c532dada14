"""Storing one fetched day: rows, then gaps, then the ledger entry that commits both. What was there is never lost."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import MARKET_DATA, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.quality.gaps import find_gaps
from tradecore_pipeline.storage.atomic import exclusive
from tradecore_pipeline.storage.differences import Difference, differences
from tradecore_pipeline.storage.encoding import EncodedDay, encode_day
from tradecore_pipeline.storage.failures import Failures
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry, Version

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

REPLACING = "the day was being replaced when its writer stopped: materialize it again"
MOST_FILES = 20
"""Files an entry names: a day that is recorded bit by bit would otherwise name one per visit."""
MOST_VERSIONS = 20
"""Restatements an entry remembers, the newest: a source that never comes to rest would otherwise add one per visit."""

_BEFORE = ", before: "
"""Between ``REPLACING`` and the reason of the day that was being replaced."""
_ROWS_FROM = "; its rows are from "
_NO_SOURCE = "none"
_ARCHIVE = "archive"
_RANKS = {"rest": 2, "import": 1, _NO_SOURCE: 0}
"""How far a source is trusted, archives (3) before all: their files carry checksums and can be asked for again."""


def store_day(
    lake: Lake, ledger: Ledger, fetched: FetchedDay, *, now: datetime, seconds: float, launch: str
) -> LedgerEntry:
    """Store ``fetched`` and return its ledger entry; storing the same day again changes no file of the lake.

    The entry is written last. A writer killed before that leaves the day as it was, without an entry, or, where it was
    replacing a day by different rows, with an entry whose ``complete`` is false: in each case the next launch stores
    the day whole.

    - Rows of a day that its source has forgotten (``FetchedDay.forgotten``, or an answer without any rows) stay: the
      day becomes the union, and a stored row wins over a fetched one. A complete day that gains no row keeps its entry.
      Where it was complete and the answer alone is not, it keeps the reason why no more is to come.
    - A complete day whose rows are replaced by different ones keeps the hash of the old ones (``previous``).
    - The same rows again leave the file and ``ingested_at`` as they are; the entry names the better of both sources,
      and ``verified_at`` tells when an archive was found to agree.

    Args:
        lake: where the rows and gaps go.
        ledger: where the entry goes.
        fetched: the validated day.
        now: the moment of storing, kept in the entry.
        seconds: how long fetching took.
        launch: id of the launch that stores it.

    Raises:
        InvalidDataError: the rows break the table's contract, or those to be kept are lost or cannot be read; nothing
            was stored.
        MixedHomeError: the home holds days of another market; nothing was stored.
    """
    table = MARKET_DATA[fetched.dataset]
    encoded = encode_day(table, fetched.day, fetched.rows)
    ledger.claim_market(fetched.market)
    # Two writers of one day would otherwise leave the rows of one under the entry of the other.
    with exclusive(lake.layout.ledger_lock(fetched.dataset, fetched.instrument, fetched.day)):
        found = ledger.get(fetched.dataset, fetched.instrument, fetched.day)
        old = None if found is None else _before_replacing(found)
        forgotten = fetched.forgotten or not encoded.rows
        if forgotten:
            _check_nothing_lost(lake, table, fetched, encoded, old)
            fetched = _with_stored_rows(lake, table, fetched, old)
            encoded = encode_day(table, fetched.day, fetched.rows)
        difference = None if old is None else _difference(lake, table, fetched, encoded, old)
        same = difference is not None and not difference
        entry = _entry(fetched, encoded, now=now, seconds=seconds, launch=launch)
        if old is not None:
            entry = _again(entry, old, now=now) if same else replace(entry, previous=_previous(old, entry))
        if found is not None and found.complete and same and forgotten:
            entry = _with_files(ledger, found, fetched)
        else:
            _publish(lake, ledger, entry, old, rows=None if same else encoded)
    Failures(lake.layout).clear(fetched.dataset, fetched.instrument, fetched.day)
    return entry


def _with_files(ledger: Ledger, found: LedgerEntry, fetched: FetchedDay) -> LedgerEntry:
    """The entry of a day that stays as it is; one without rows remembers the files that were looked into in vain."""
    if found.rows or not set(fetched.files) - set(found.files):
        return found
    entry = replace(found, files=fetched.files)
    ledger.record(entry)
    return entry


def _publish(
    lake: Lake, ledger: Ledger, entry: LedgerEntry, old: LedgerEntry | None, *, rows: EncodedDay | None
) -> None:
    """Write the rows (unless they are there already), the gaps, and then the entry that vouches for both."""
    # No crash may leave the old entry vouching for what it does not describe.
    if old is not None and old.complete and (old.sha256, old.gaps) != (entry.sha256, entry.gaps):
        reason = f"{REPLACING}{_BEFORE}{old.reason}" if old.reason else REPLACING
        ledger.record(replace(old, complete=False, reason=reason))
    if rows is not None:
        lake.publish_encoded(MARKET_DATA[entry.dataset], entry.instrument, entry.day, rows, timeframe=None)
    lake.publish_gaps(entry.dataset, entry.instrument, day=entry.day, gaps=entry.gaps)
    ledger.record(entry)


def _before_replacing(entry: LedgerEntry) -> LedgerEntry:
    """``entry``; if a killed writer was about to replace it, as it was before."""
    if not entry.reason.startswith(REPLACING):
        return entry
    return replace(entry, complete=True, reason=entry.reason.removeprefix(REPLACING).removeprefix(_BEFORE))


def _entry(fetched: FetchedDay, encoded: EncodedDay, *, now: datetime, seconds: float, launch: str) -> LedgerEntry:
    return LedgerEntry(
        instrument=fetched.instrument,
        dataset=fetched.dataset,
        day=fetched.day,
        rows=encoded.rows,
        missing=sum(gap.missing for gap in fetched.gaps),
        gaps=fetched.gaps,
        source=fetched.source,
        host=fetched.host,
        market=fetched.market,
        files=fetched.files,
        sha256=encoded.sha256,
        complete=fetched.complete,
        reason=fetched.reason,
        ingested_at=now,
        seconds=seconds,
        launch=launch,
    )


def _difference(
    lake: Lake, table: Table, fetched: FetchedDay, encoded: EncodedDay, old: LedgerEntry
) -> Difference | None:
    """How the rows differ from the stored ones; None where the stored file is not the one of ``old``, or too old."""
    if not lake.holds(table, old.instrument, old.day, sha256=old.sha256):
        return None
    if old.sha256 == encoded.sha256:
        return Difference(0, 0, 0, None)
    try:
        stored = lake.rows(table, old.instrument, old.day)
    except InvalidDataError:
        return None  # stored before the table gained a column: whatever it holds, it is to be replaced
    return differences(table, stored, fetched.rows)


def _again(entry: LedgerEntry, old: LedgerEntry, *, now: datetime) -> LedgerEntry:
    """The entry of a day that was found to have the rows of ``old``, whose file stays."""
    kept = replace(
        entry,
        sha256=old.sha256,
        ingested_at=old.ingested_at,
        previous=old.previous,
        verified_at=old.verified_at,
        verified_source=old.verified_source,
    )
    if old.complete and not entry.complete:
        # All there is was confirmed once; an answer that could not confirm it takes nothing back.
        kept = replace(kept, complete=True, gaps=old.gaps, missing=old.missing, reason=old.reason)
    if _rank(entry.source) < _rank(old.source):
        return replace(kept, source=old.source, host=old.host, files=old.files)
    if _rank(entry.source) == _rank(_ARCHIVE) and now > old.ingested_at:
        return replace(kept, verified_at=now, verified_source=entry.source)
    return kept


def _previous(old: LedgerEntry, entry: LedgerEntry) -> tuple[Version, ...]:
    """The versions that ``entry``, whose rows are not those of ``old``, leaves behind."""
    if not (old.complete and old.rows) or old.sha256 == entry.sha256:
        return old.previous
    versions = (*old.previous, Version(old.sha256, old.rows, old.source, old.ingested_at))
    return versions[-MOST_VERSIONS:]


def _with_stored_rows(lake: Lake, table: Table, fetched: FetchedDay, old: LedgerEntry | None) -> FetchedDay:
    """``fetched`` with the rows that are stored of its day, which win over its own, and the gaps that remain."""
    stored = _rows_to_keep(lake, table, fetched)
    own = fetched.rows.select(table.schema.names).cast(table.schema)
    new = own.filter(pc.invert(pc.is_in(own.column(table.key), value_set=stored.column(table.key))))
    rows = pa.concat_tables([stored, new]).sort_by(table.key)
    if not rows.num_rows:
        return fetched
    whole = replace(fetched, rows=rows)
    if old is not None and stored.num_rows:
        whole = _from_both(whole, old)
    if old is not None and old.complete and not fetched.complete:
        whole = replace(whole, complete=True, reason=_final_reason(old, whole.source))
    return replace(whole, gaps=_gaps(table, whole))


def _from_both(whole: FetchedDay, old: LedgerEntry) -> FetchedDay:
    """The union, ``whole``, with where its rows come from: from ``old`` alone where it gained none."""
    if whole.rows.num_rows <= old.rows:
        return replace(whole, source=old.source, host=old.host, files=old.files)
    files = old.files + tuple(file for file in whole.files if file not in old.files)
    return replace(
        whole,
        source=_joined(old.source, whole.source),
        host=_joined(old.host, whole.host),
        files=files[-MOST_FILES:],
    )


def _final_reason(old: LedgerEntry, source: str) -> str:
    """Why no more is to come, as ``old`` has it, and where the rows came from nevertheless."""
    reason = old.reason.partition(_ROWS_FROM)[0]
    return f"{reason}{_ROWS_FROM}{source}" if reason else ""


def _check_nothing_lost(
    lake: Lake, table: Table, fetched: FetchedDay, encoded: EncodedDay, old: LedgerEntry | None
) -> None:
    """Refuse to make a day of what is left where the file with the rows to be kept is gone."""
    path = lake.layout.day(table.name, fetched.instrument, fetched.day, timeframe=None)
    if old is None or not old.rows or path.exists():
        return
    whole = fetched.complete and not fetched.gaps and encoded.rows >= old.rows
    if not (whole or encoded.sha256 == old.sha256):
        entry = lake.layout.ledger_day(table.name, fetched.instrument, fetched.day)
        raise InvalidDataError(
            f"{path} is lost: it held {old.rows} rows, and all there is now of that day is {encoded.rows}: bring the "
            f"file back from a copy, or remove {entry} to store what is left"
        )


def _rows_to_keep(lake: Lake, table: Table, fetched: FetchedDay) -> pa.Table:
    path = lake.layout.day(table.name, fetched.instrument, fetched.day, timeframe=None)
    if not path.exists():
        return table.schema.empty_table()
    try:
        return lake.rows(table, fetched.instrument, fetched.day)
    except InvalidDataError as error:
        raise InvalidDataError(
            f"{path} cannot be read, and {fetched.instrument.exchange} no longer serves that day: bring the file back "
            "from a copy, or remove it to store what is left"
        ) from error


def _gaps(table: Table, whole: FetchedDay) -> tuple[Gap, ...]:
    """What the day lacks, as far as it can be told: up to its last row while it is not complete."""
    if table.step is None:
        return ()
    start, keys = day_start(whole.day), whole.rows.column(table.key)
    end = start + timedelta(days=1) if whole.complete else keys[-1].as_py() + table.step
    return find_gaps(keys, start=start, end=end, step=table.step)


def _joined(left: str, right: str) -> str:
    parts = [part for part in (*left.split("+"), *right.split("+")) if part != _NO_SOURCE]
    return "+".join(dict.fromkeys(parts)) or _NO_SOURCE


def _rank(source: str) -> int:
    """The least trusted part of a joined source decides."""
    return min(3 if part.startswith(_ARCHIVE) else _RANKS.get(part, 0) for part in source.split("+"))
