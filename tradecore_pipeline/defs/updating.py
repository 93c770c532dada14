"""Bringing days up to date without a run: all exchanges are asked at once, and Dagster is told of each day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import dagster as dg

from tradecore_pipeline.defs.automation import datasets, oldest_incomplete_day
from tradecore_pipeline.defs.imported import report_day
from tradecore_pipeline.defs.ingestion import asset_key, ingest_days, last_listed_day
from tradecore_pipeline.defs.mending import mend_all
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import TradecoreError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import MARKET_DATA, Table
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.exchanges.prefetch import prefetch
from tradecore_pipeline.storage.ledger import LedgerEntry

_MOST_AT_ONCE = 8


@dataclass
class Update:
    """What one instrument's update came to."""

    instrument: Instrument
    first: date | None
    """The oldest day that was not complete; None for an instrument that has no days yet."""
    entries: dict[str, list[LedgerEntry]] = field(default_factory=dict[str, list[LedgerEntry]])
    """By dataset: the days from ``first`` on, as far as they are stored."""
    errors: list[TradecoreError] = field(default_factory=list[TradecoreError])


def updates(
    adapters: Adapters, instance: dg.DagsterInstance, instruments: Sequence[Instrument], *, launch: str
) -> Iterator[Update]:
    """Each instrument's days from its oldest unfinished one to today, fetched, stored and shown in Dagster; in order.

    Most of an update is waiting for exchanges, each with limits of its own: they are asked at the same time.
    """
    for instrument in instruments:
        adapters.exchange(instrument.exchange)
    work = partial(_updated, adapters, launch)
    try:
        for update in prefetch(work, instruments, workers=min(len(instruments), _MOST_AT_ONCE)):
            for dataset, entries in update.entries.items():
                _show(adapters, instance, MARKET_DATA[dataset], entries, launch)
            yield update
    finally:
        adapters.catalog.publish_database()


def _updated(adapters: Adapters, launch: str, instrument: Instrument) -> Update:
    today = adapters.present(instrument.exchange).date()
    for table in datasets(adapters, instrument):
        mend_all(adapters, table, instrument)
    update = Update(instrument, oldest_incomplete_day(adapters, instrument, today))
    if update.first is None:
        return update
    days = list(day_range(update.first, last_listed_day(adapters, instrument, today)))
    for table in datasets(adapters, instrument):
        stored = update.entries.setdefault(table.name, [])
        try:
            stored.extend(ingest_days(adapters, table, instrument, days, launch=launch, keep=lambda e: e.complete))
        except TradecoreError as error:
            update.errors.append(error)
    return update


def _show(
    adapters: Adapters, instance: dg.DagsterInstance, table: Table, entries: Sequence[LedgerEntry], launch: str
) -> None:
    """Tell Dagster of the new days, and of those that a killed update had stored and not told of."""
    marked = instance.get_materialized_partitions(asset_key(table.name))
    for entry in entries:
        if entry.launch == launch or f"{entry.day}|{entry.instrument}" not in marked:
            report_day(instance, adapters, table, entry)
