"""What a home holds, by instrument and dataset, told from its ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.tables import MARKET_DATA, Table
from tradecore_pipeline.storage.ledger import Ledger


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """The extent of one dataset of one instrument."""

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


def coverage(ledger: Ledger, instruments: Iterable[Instrument]) -> list[CoverageRow]:
    """One row per instrument and dataset it can have, in the order of ``instruments``."""
    return [
        _row(ledger, instrument, table)
        for instrument in instruments
        for table in MARKET_DATA.values()
        if instrument.is_perpetual or not table.perpetual_only
    ]


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


def _row(ledger: Ledger, instrument: Instrument, table: Table) -> CoverageRow:
    entries = ledger.entries(table.name, instrument)
    with_rows: Sequence[date] = [entry.day for entry in entries if entry.rows]
    minutes = 0 if table.step is None else table.step // timedelta(minutes=1)
    return CoverageRow(
        instrument=instrument,
        dataset=table.name,
        first=with_rows[0] if with_rows else None,
        last=with_rows[-1] if with_rows else None,
        days=sum(1 for entry in entries if entry.rows or entry.complete),
        rows=sum(entry.rows for entry in entries),
        missing_minutes=minutes * sum(entry.missing for entry in entries),
        gaps=len(merge_gaps((gap for entry in entries for gap in entry.gaps), table.step)),
    )
