"""Stage market_data: what the exchange published, one day of one instrument at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from tradecore_pipeline.defs.partitions import Partitions, split_keys
from tradecore_pipeline.defs.plots import sparkline
from tradecore_pipeline.defs.resources import Adapters, guarded, launch_id, report
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.ledger import LedgerEntry

STAGE = "market_data"

_DESCRIPTIONS = {
    BARS_1M.name: """Closed 1-minute bars.

From the exchange's archive (checksummed daily or monthly zips, about two days late) and from REST for what the archive
does not have yet. Every row is validated before it is stored. A minute that the exchange did not publish is recorded in
the gap ledger and never filled. Zero rows with a reason means: before listing, or not published.""",
    FUNDING_RATES.name: """Funding settlements of perpetuals (fraction of the position's value; longs pay if positive).

From the monthly archive files, and from REST for the months that have none yet.""",
    OPEN_INTEREST.name: """Open contracts, one side, every five minutes.

History comes from the archive's daily `metrics` files. REST serves only the last 30 days.""",
}


class IngestConfig(dg.Config):
    """How a market-data run treats what is there already."""

    keep_stored: bool = False
    """Keep every complete day that is stored. By default only what the same launch has stored is kept: asking for a
    finished day again fetches it again, resuming a killed backfill does not."""


def asset_key(dataset: str) -> dg.AssetKey:
    """The asset that stores ``dataset``."""
    return dg.AssetKey([STAGE, dataset])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The market-data assets of these settings."""
    assets = [_asset(BARS_1M, partitions.days, settings)]
    if partitions.perpetual_days is not None:
        assets += [_asset(table, partitions.perpetual_days, settings) for table in (FUNDING_RATES, OPEN_INTEREST)]
    return dg.Definitions(assets=assets)


def _asset(table: Table, days: dg.MultiPartitionsDefinition, settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(table.name),
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=STAGE,
        kinds={"parquet"},
        owners=["team:market-data"],
        pool=STAGE,
        description=_DESCRIPTIONS[table.name],
    )
    def ingest(context: dg.AssetExecutionContext, config: IngestConfig, adapters: dg.ResourceParam[Adapters]) -> None:
        keep = keep_rule(launch_id(context), keep_stored=config.keep_stored)
        with guarded(context, adapters):
            for instrument, wanted in split_keys(context.partition_keys).items():
                for entry in ingest_days(adapters, table, instrument, wanted, launch=launch_id(context), keep=keep):
                    key = f"{entry.day}|{instrument}"
                    report(context, adapters, key, day_metadata(adapters, table, entry))

    return ingest


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
    """Fetch and store ``days``, yielding each day's ledger entry once it is safely on disk; kept days come first."""
    stored = {entry.day: entry for entry in intact_entries(adapters, table, instrument, days) if keep(entry)}
    yield from stored.values()
    wanted = [day for day in days if day not in stored]
    if not wanted:
        return
    exchange = adapters.exchange(instrument.exchange)
    started = time.monotonic()
    for fetched in exchange.fetch_days(table.name, instrument, wanted):
        # Days are fetched ahead: what a day took is the time since the one before it was handed over.
        before, started = started, time.monotonic()
        yield store_day(
            adapters.lake,
            adapters.ledger,
            fetched,
            now=adapters.clock(),
            seconds=round(started - before, 3),
            launch=launch,
        )


def day_metadata(adapters: Adapters, table: Table, entry: LedgerEntry) -> dict[str, Any]:
    """What a person wants to see of a stored day."""
    metadata: dict[str, Any] = {
        "dagster/row_count": entry.rows,
        "missing": entry.missing,
        "complete": entry.complete,
        "source": entry.source,
        "host": entry.host,
        "market": entry.market,
        "seconds": entry.seconds,
        "sha256": entry.sha256,
    }
    if entry.reason:
        metadata["reason"] = entry.reason
    if entry.gaps:
        lines = [f"| {g.first_missing:%H:%M} | {g.last_missing:%H:%M} | {g.missing} |" for g in entry.gaps]
        metadata["gaps"] = dg.MetadataValue.md("\n".join(["| first | last | missing |", "|---|---|---|", *lines]))
    if table is BARS_1M and entry.rows > 1:
        start = day_start(entry.day)
        bars = adapters.lake.read(table, entry.instrument, start, start + timedelta(days=1), columns=["close"])
        metadata["close"] = sparkline(bars["close"].tolist(), f"close, {bars['close'].min()} to {bars['close'].max()}")
    return metadata
