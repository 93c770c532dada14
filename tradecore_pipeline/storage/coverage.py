"""What a home holds, by instrument, dataset and day, told from its ledger."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.offers import offered
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.storage.failures import Failure, Failures
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry
from tradecore_pipeline.storage.mending import readable_entries

_BEFORE_LISTING = "before listing"
"""How the reasons of days before an instrument's first row begin."""


class State(StrEnum):
    """How a day of a dataset stands. One that is several is what comes first here."""

    DAMAGED = "damaged"
    """What the home noted of it cannot be read: its rows may be whole all the same."""
    FAILED = "failed"
    """The last attempt to fetch it failed, and it was not complete before, or its file is lost or damaged."""
    MISSING = "missing"
    """Never stored."""
    INCOMPLETE = "incomplete"
    """Stored, with more to come."""
    RESTATED = "restated"
    """Final; what it holds took the place of rows that were final before. May have gaps, too, or no rows."""
    BEFORE_LISTING = "before listing"
    NOT_PUBLISHED = "not published"
    """Final, without rows."""
    GAP = "gap"
    """Final; the exchange did not publish some rows of it."""
    DONE = "done"
    """Final, with all its rows."""


@dataclass(frozen=True, slots=True)
class DayState:
    """How one day stands."""

    day: date
    state: State
    rows: int
    missing: int
    """Rows that the exchange did not publish inside the day."""
    reason: str
    """Why there are no rows, more to come, or no day at all; what a restated day held before; else empty.

    Of a damaged day, which file, and what to do."""
    source: str
    """As ``LedgerEntry.source``; empty for a day that was never stored."""


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """The extent of one dataset of one instrument, and how its days stand, from the first stored or tried to the last.

    A day counts in exactly one of the ``*_days``.
    """

    instrument: Instrument
    dataset: str
    first: date | None
    """First day with rows; None where there are none."""
    last: date | None
    days: int
    """Days that have rows, or are complete without any."""
    rows: int
    missing_minutes: int
    """Minutes the exchange did not publish; 0 for datasets that lie on no fixed grid."""
    gaps: int
    """Gaps; one that runs over midnight counts once."""
    done_days: int
    gap_days: int
    restated_days: int
    not_published_days: int
    before_listing_days: int
    incomplete_days: int
    failed_days: int
    missing_days: int
    """Days that were never stored, between days that were."""
    damaged_days: int
    """Days whose notes cannot be read: their rows and gaps are not counted."""


def coverage(ledger: Ledger, instruments: Iterable[Instrument]) -> list[CoverageRow]:
    """One row per instrument and dataset it can have, in the order of ``instruments``."""
    failures = Failures(ledger.layout)
    return [_row(ledger, failures, instrument, table) for instrument in instruments for table in offered(instrument)]


def day_states(
    ledger: Ledger, failures: Failures, instrument: Instrument, table: Table, first: date, last: date
) -> list[DayState]:
    """How every day from ``first`` to ``last`` stands, in order."""
    failed = failures.list(table.name, instrument)
    entries, damaged = readable_entries(ledger, table.name, instrument)
    return _states(_with_files(ledger, table, entries, failed), failed, damaged, first, last)


def known_days(ledger: Ledger, failures: Failures, instrument: Instrument, table: Table) -> tuple[date, date] | None:
    """The first and the last day of a dataset that was stored or tried; None if there is none."""
    return _extent(ledger.days(table.name, instrument), failures.list(table.name, instrument))


def merge_gaps(gaps: Iterable[Gap], step: timedelta | None) -> list[Gap]:
    """``gaps`` (in order) with those that touch, one ``step`` apart, made one; without a step none are."""
    merged: list[Gap] = []
    for gap in gaps:
        if step is not None and merged and merged[-1].last_missing + step == gap.first_missing:
            before = merged.pop()
            merged.append(Gap(before.first_missing, gap.last_missing, before.missing + gap.missing))
        else:
            merged.append(gap)
    return merged


def _row(ledger: Ledger, failures: Failures, instrument: Instrument, table: Table) -> CoverageRow:
    failed = failures.list(table.name, instrument)
    entries, damaged = readable_entries(ledger, table.name, instrument)
    entries = _with_files(ledger, table, entries, failed)
    with_rows: Sequence[date] = [entry.day for entry in entries if entry.rows]
    minutes = 0 if table.step is None else table.step // timedelta(minutes=1)
    extent = _extent(ledger.days(table.name, instrument), failed)
    states = [] if extent is None else _states(entries, failed, damaged, *extent)
    count = Counter(day.state for day in states)
    return CoverageRow(
        instrument=instrument,
        dataset=table.name,
        first=with_rows[0] if with_rows else None,
        last=with_rows[-1] if with_rows else None,
        days=sum(1 for entry in entries if entry.rows or entry.complete),
        rows=sum(entry.rows for entry in entries),
        missing_minutes=minutes * sum(entry.missing for entry in entries),
        gaps=len(merge_gaps((gap for entry in entries for gap in entry.gaps), table.step)),
        done_days=count[State.DONE],
        gap_days=count[State.GAP],
        restated_days=count[State.RESTATED],
        not_published_days=count[State.NOT_PUBLISHED],
        before_listing_days=count[State.BEFORE_LISTING],
        incomplete_days=count[State.INCOMPLETE],
        failed_days=count[State.FAILED],
        missing_days=count[State.MISSING],
        damaged_days=count[State.DAMAGED],
    )


def _with_files(
    ledger: Ledger, table: Table, entries: Iterable[LedgerEntry], failed: Iterable[Failure]
) -> list[LedgerEntry]:
    """``entries``, those of failed days complete only if their file is intact: it may be why the day was tried."""
    doubtful, lake = {failure.day for failure in failed}, Lake(ledger.layout)
    return [
        replace(entry, complete=False)
        if entry.day in doubtful and not lake.holds(table, entry.instrument, entry.day, sha256=entry.sha256)
        else entry
        for entry in entries
    ]


def _extent(stored: Sequence[date], failed: Sequence[Failure]) -> tuple[date, date] | None:
    ends = [*stored[:1], *stored[-1:], *(failure.day for failure in failed)]
    return (min(ends), max(ends)) if ends else None


def _states(
    entries: Iterable[LedgerEntry], failed: Iterable[Failure], damaged: Mapping[date, str], first: date, last: date
) -> list[DayState]:
    stored = {entry.day: entry for entry in entries}
    failures = {failure.day: failure for failure in failed}
    return [
        DayState(day, State.DAMAGED, 0, 0, damaged[day], "") if day in damaged else _state(day, stored, failures)
        for day in day_range(first, last)
    ]


def _state(day: date, stored: Mapping[date, LedgerEntry], failures: Mapping[date, Failure]) -> DayState:
    entry, failure = stored.get(day), failures.get(day)
    # A failure from before the day was stored is what a killed writer had no time to clear.
    if failure is not None and (entry is None or (not entry.complete and entry.ingested_at < failure.at)):
        times = "" if failure.attempts == 1 else f" ({failure.attempts} attempts since {failure.first_at:%Y-%m-%d})"
        rows, missing, source = (0, 0, "") if entry is None else (entry.rows, entry.missing, entry.source)
        state = State.DAMAGED if failure.damaged else State.FAILED
        return DayState(day, state, rows, missing, failure.reason + times, source)
    if entry is None:
        return DayState(day, State.MISSING, 0, 0, "", "")
    return DayState(day, _stored_state(entry), entry.rows, entry.missing, _reason(entry), entry.source)


def _reason(entry: LedgerEntry) -> str:
    if entry.reason or not entry.previous:
        return entry.reason
    last = entry.previous[-1]
    return f"restated: took the place of {last.rows} rows from {last.source} of {last.ingested_at:%Y-%m-%d}"


def _stored_state(entry: LedgerEntry) -> State:
    if not entry.complete:
        return State.INCOMPLETE
    if entry.previous:
        return State.RESTATED
    if not entry.rows:
        return State.BEFORE_LISTING if entry.reason.startswith(_BEFORE_LISTING) else State.NOT_PUBLISHED
    return State.GAP if entry.missing else State.DONE
