"""Imported days in Dagster: materialized without a run, so that the UI shows them as it shows fetched ones."""

import dagster as dg

from tradecore_pipeline.defs.market_data import asset_key, day_metadata
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.storage.ledger import LedgerEntry


def report_day(instance: dg.DagsterInstance, adapters: Adapters, table: Table, entry: LedgerEntry) -> None:
    """Show a stored day as materialized now, with what a run would have said of it."""
    key = f"{entry.day}|{entry.instrument}"
    metadata = day_metadata(adapters, table, entry)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key=asset_key(table.name), partition=key, metadata=metadata)
    )
    adapters.done(key)
