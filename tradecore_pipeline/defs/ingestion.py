"""Getting days from exchanges into the lake: what assets, the nightly repair and `tradecore verify` share."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pyarrow.compute

from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListingStatus
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.exchanges.prefetch import prefetch
from tradecore_pipeline.storage.differences import differences
from tradecore_pipeline.storage.encoding import encode_day
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

STAGE = "market_data"

_ASKED_AGAIN = timedelta(days=35)
"""Gaps younger than this may still be filled by the exchange, or by its next monthly file."""
_STORED_AT_ONCE = 3
"""While one waits for the disk others go on; more of them mostly wait for each other."""
_DOUBTFUL = 3
"""After so many days in a row that failed, the last one is tried: if it fails, too, the source itself is at fault."""
_READ_AGAIN = timedelta(days=2)
"""Days that came over REST are read once more in the nights after: exchanges correct candles after their close."""


def asset_key(dataset: str) -> dg.AssetKey:
    """The asset that stores ``dataset``."""
    return dg.AssetKey([STAGE, dataset])


def intact_entries(
    adapters: Adapters, table: Table, instrument: Instrument, days: Sequence[date]
) -> Iterator[LedgerEntry]:
    """The ledger's entries of ``days`` whose files are as they were stored: a lost or torn file is no stored day."""
    for day in days:
        entry = adapters.ledger.get(table.name, instrument, day)
        if entry is not None and adapters.lake.holds(table, instrument, day, sha256=entry.sha256):
            yield entry


def keep_rule(launch: str, *, keep_stored: bool) -> Callable[[LedgerEntry], bool]:
    """Which stored days need not be fetched again."""
    return lambda entry: entry.complete and (keep_stored or entry.launch == launch)


def ingest_days(
    adapters: Adapters,
    table: Table,
    instrument: Instrument,
    days: Sequence[date],
    *,
    launch: str,
    keep: Callable[[LedgerEntry], bool],
) -> Iterator[LedgerEntry]:
    """Fetch and store ``days``, yielding each day's ledger entry once it is safely on disk; kept days come first.

    A day that must not be stored is noted as failed and does not keep the days after it from being fetched.

    Raises:
        SourceError: days failed; raised after all others were stored, or early where the source itself is at fault: the
            host is down, or after a few days in a row the last one failed, too.
    """
    stored = {entry.day: entry for entry in intact_entries(adapters, table, instrument, days) if keep(entry)}
    yield from stored.values()
    ingestion = _Ingestion(adapters, table, instrument, launch, waiting=[day for day in days if day not in stored])
    yield from ingestion.entries()
    if ingestion.failed:
        raise ingestion.failure()


@dataclass
class _Ingestion:
    """Days of one dataset on their way into the lake."""

    adapters: Adapters
    table: Table
    instrument: Instrument
    launch: str
    waiting: list[date]
    failed: list[SourceError] = field(default_factory=list[SourceError])
    in_a_row: int = 0
    hopeless: bool = False

    def entries(self) -> Iterator[LedgerEntry]:
        """What was stored of each day, as far as it makes sense to try."""
        while self.waiting and not self.hopeless:
            asked = self.waiting[-1:] if self.in_a_row >= _DOUBTFUL else list(self.waiting)
            try:
                for entry in self._stored(asked):
                    self.waiting.remove(entry.day)
                    self.in_a_row = 0
                    yield entry
            except SourceError as error:
                self._note(next(day for day in asked if day in self.waiting), error)

    def failure(self) -> SourceError:
        """The first error; where there are more, with how many days they cost."""
        if len(self.failed) == 1 and not self.waiting:
            return self.failed[0]
        rest = f", {len(self.waiting)} were not tried" if self.waiting else ""
        count = len(self.failed)
        days = f"{count} {'day' if count == 1 else 'days'} of {self.table.name} of {self.instrument} failed{rest}"
        return type(self.failed[0])(f"{self.failed[0]} ({days}: `tradecore coverage` lists them)")

    def _stored(self, days: Sequence[date]) -> Iterator[LedgerEntry]:
        adapters = self.adapters
        fetched = adapters.exchange(self.instrument.exchange).fetch_days(self.table.name, self.instrument, days)
        return store_days(adapters.lake, adapters.ledger, fetched, clock=adapters.clock, launch=self.launch)

    def _note(self, day: date, error: SourceError) -> None:
        failures, now = self.adapters.failures, self.adapters.clock()
        failures.record(self.table.name, self.instrument, day, reason=str(error), at=now)
        self.waiting.remove(day)
        self.failed.append(error)
        self.hopeless = self.in_a_row >= _DOUBTFUL or isinstance(error, SourceUnavailableError)
        self.in_a_row += 1


def store_days(
    lake: Lake, ledger: Ledger, fetched: Iterable[FetchedDay], *, clock: Clock, launch: str
) -> Iterator[LedgerEntry]:
    """Store days as they come, a few at once: most of storing one is waiting for the disk. Entries come in order.

    Raises:
        TradecoreError: what ``fetched`` raised, or why a day could not be stored; the days before it are.
    """

    def store(timed: tuple[FetchedDay, float]) -> LedgerEntry:
        return store_day(lake, ledger, timed[0], now=clock(), seconds=timed[1], launch=launch)

    return prefetch(store, _timed(fetched), workers=_STORED_AT_ONCE)


def _timed(fetched: Iterable[FetchedDay]) -> Iterator[tuple[FetchedDay, float]]:
    """Days are fetched ahead: what a day took is the time since the one before it was handed over."""
    before = time.monotonic()
    for day in fetched:
        now = time.monotonic()
        yield day, round(now - before, 3)
        before = now


def last_listed_day(adapters: Adapters, instrument: Instrument, today: date) -> date:
    """``today``, or the day after which a delisted instrument has nothing more, as far as listings were kept."""
    try:
        known = {one.instrument: one for one in adapters.listings.get(instrument.exchange)}
    except InvalidDataError:  # `tradecore instruments` says what to do about a damaged file: updates do not need it
        return today
    listed = known.get(instrument)
    if listed is None or listed.status is not ListingStatus.DELISTED or listed.last_day is None:
        return today
    return min(today, listed.last_day)


def days_to_repair(adapters: Adapters, table: Table, instrument: Instrument, today: date) -> dict[date, str]:
    """The stored days of a dataset that should be asked for again, and why, in order.

    Raises:
        SourceError: the exchange's listings cannot be read.
    """
    entries = adapters.ledger.entries(table.name, instrument)
    failed = {failure.day: f"failed: {failure.reason}" for failure in adapters.failures.list(table.name, instrument)}
    if not entries and not failed:
        return {}
    own = {entry.day: why for entry in entries if (why := _why_again(adapters, table, entry, today))}
    held = [_held(entry) for entry in entries if entry.complete and entry.day not in own]
    revised = adapters.exchange(instrument.exchange).revised_days(table.name, instrument, held)
    return dict(sorted((failed | own | revised).items()))


def _held(entry: LedgerEntry) -> HeldDay:
    return HeldDay(entry.day, entry.source, entry.files, entry.verified_at or entry.ingested_at)


def _why_again(adapters: Adapters, table: Table, entry: LedgerEntry, today: date) -> str:
    """Why a stored day should be asked for again, as far as this home can tell; empty if it need not be."""
    if not entry.complete:
        return f"not complete: {entry.reason}" if entry.day < today else ""
    if not adapters.lake.holds(table, entry.instrument, entry.day, sha256=entry.sha256):
        return "its file is lost or damaged"
    if entry.gaps and entry.day >= today - _ASKED_AGAIN:
        return f"{entry.missing} rows were missing"
    recent = entry.day >= today - _READ_AGAIN and entry.verified_at is None
    return "it came over REST right after its end" if recent and "rest" in entry.source else ""


@dataclass(frozen=True, slots=True)
class Verified:
    """A stored day beside what its source says now."""

    entry: LedgerEntry
    difference: str
    """How the rows differ; empty where they are the same."""
    source: str
    """Where the rows were taken from this time; empty for a file that cannot be compared."""


def verify_days(adapters: Adapters, table: Table, instrument: Instrument, days: Sequence[date]) -> Iterator[Verified]:
    """Compare the stored ones of ``days`` with their ledger, then with what their source says now; writes nothing.

    Raises:
        SourceError: the source does not hand a day over.
    """
    entries = {entry.day: entry for entry in intact_entries(adapters, table, instrument, days)}
    for day in days:
        entry = adapters.ledger.get(table.name, instrument, day)
        if entry is not None and day not in entries:
            yield Verified(entry, "the stored file is lost, or not what its ledger says: tradecore repair", "")
    for fetched in adapters.exchange(instrument.exchange).fetch_days(table.name, instrument, list(entries)):
        entry = entries[fetched.day]
        yield Verified(entry, _difference(adapters, table, fetched, entry), fetched.source)


def _difference(adapters: Adapters, table: Table, fetched: FetchedDay, entry: LedgerEntry) -> str:
    """How what was fetched differs from what is stored; empty where it does not."""
    if encode_day(table, fetched.day, fetched.rows).sha256 == entry.sha256:
        return ""
    stored = adapters.lake.rows(table, entry.instrument, fetched.day)
    if fetched.forgotten:  # rows that the source no longer serves were not taken back
        shown = pc.is_in(stored.column(table.key), value_set=fetched.rows.column(table.key))
        stored = stored.filter(shown)
    return str(differences(table, stored, fetched.rows))
