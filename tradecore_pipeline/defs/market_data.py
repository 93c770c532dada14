"""Stage market_data: what the exchange published, one day of one instrument at a time."""

from datetime import timedelta
from typing import Any

import dagster as dg

from tradecore_pipeline.defs.ingestion import STAGE, asset_key, ingest_days, keep_rule
from tradecore_pipeline.defs.mending import mend_days
from tradecore_pipeline.defs.partitions import Partitions, split_keys
from tradecore_pipeline.defs.plots import sparkline
from tradecore_pipeline.defs.resources import Adapters, guarded, launch_id, report
from tradecore_pipeline.domain.tables import (
    BARS_1M,
    FUNDING_RATES,
    LONG_SHORT_RATIOS,
    MARKET_DATA,
    OPEN_INTEREST,
    PREMIUM_INDEX,
    Table,
)
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import LedgerEntry

_DESCRIPTIONS = {
    BARS_1M.name: """Closed 1-minute bars.

From the exchange's archive where it has one (checksummed daily or monthly zips, about two days late) and from REST for
what the archive does not have. Every row is validated before it is stored. A minute that the exchange did not publish
is recorded in the gap ledger and never filled. Zero rows with a reason means: before listing, or not published.""",
    FUNDING_RATES.name: """Funding settlements of perpetuals (fraction of the position's value; longs pay if positive).

From monthly archive files where there are any, and from REST. The interval is told by the settlements themselves: it
differs between instruments, and changes.""",
    OPEN_INTEREST.name: """Open contracts, one side, in coins, every five minutes.

Binance: the archive's daily `metrics` files, since REST serves only the last 30 days. Bybit: REST, from listing. OKX:
as long as it keeps them. HyperLiquid publishes no history: each fetch of today records a snapshot.""",
    PREMIUM_INDEX.name: """1-minute bars of the premium index: how far the perpetual trades above its index.

Funding follows it. From Binance's archive and REST; not among the datasets that schedules fetch by default.""",
    LONG_SHORT_RATIOS.name: """How accounts and takers are positioned, every five minutes.

From Binance's `metrics` files; not among the datasets that schedules fetch by default.""",
}
_SHOWN = 5
"""Most sources that a day's page names."""
_FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=3), fail_window=timedelta(hours=26))
"""The hourly schedule misses a few hours without harm; a day without any run needs a person."""


class IngestConfig(dg.Config):
    """How a market-data run treats what is there already."""

    keep_stored: bool = False
    """Keep every complete day that is stored. By default only what the same launch has stored is kept: asking for a
    finished day again fetches it again, resuming a killed backfill does not."""


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The market-data assets of these settings."""
    return dg.Definitions(
        assets=[_asset(MARKET_DATA[name], days, settings) for name, days in partitions.datasets.items()]
    )


def _asset(table: Table, days: dg.MultiPartitionsDefinition, settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(table.name),
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=STAGE,
        kinds={"parquet"},
        owners=["team:market-data"],
        pool=STAGE,
        freshness_policy=_FRESH if table.name in settings.datasets else None,
        description=_DESCRIPTIONS[table.name],
    )
    def ingest(context: dg.AssetExecutionContext, config: IngestConfig, adapters: dg.ResourceParam[Adapters]) -> None:
        keep = keep_rule(launch_id(context), keep_stored=config.keep_stored)
        with guarded(context, adapters):
            for instrument, wanted in split_keys(context.partition_keys).items():
                mend_days(adapters, table, instrument, wanted)
                for entry in ingest_days(adapters, table, instrument, wanted, launch=launch_id(context), keep=keep):
                    key = f"{entry.day}|{instrument}"
                    report(context, adapters, key, day_metadata(adapters, table, entry))

    return ingest


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
        **_links(adapters, table, entry),
        **_remarks(entry),
    }
    if table is BARS_1M and entry.rows > 1:
        start = day_start(entry.day)
        shown = ["close", "volume"]
        bars = adapters.lake.read(table, entry.instrument, start, start + timedelta(days=1), columns=shown)
        if not any(bars["volume"].tolist()):
            metadata["no trades"] = "nobody traded all day: halted, or the flat tail after a delisting"
        metadata["close"] = sparkline(bars["close"].tolist(), f"close, {bars['close'].min()} to {bars['close'].max()}")
    return metadata


def _links(adapters: Adapters, table: Table, entry: LedgerEntry) -> dict[str, dg.MetadataValue]:
    """Where the day lies, how to look into it, and where it was taken from."""
    path = adapters.layout.day(table.name, entry.instrument, entry.day, timeframe=None)
    sources = [f"- [{file.url.rpartition('/')[2][:80]}]({file.url})" for file in entry.files[:_SHOWN]]
    links: dict[str, dg.MetadataValue] = {
        "file": dg.MetadataValue.path(str(path)),
        "query": dg.MetadataValue.md(f'`tradecore sql "{_day_query(table, entry)}"`'),
    }
    return links | ({"taken from": dg.MetadataValue.md("\n".join(sources))} if sources else {})


def _remarks(entry: LedgerEntry) -> dict[str, str | dg.MetadataValue]:
    """What is not as usual about the day."""
    remarks: dict[str, str | dg.MetadataValue] = {"reason": entry.reason} if entry.reason else {}
    if entry.gaps:
        lines = [f"| {g.first_missing:%H:%M} | {g.last_missing:%H:%M} | {g.missing} |" for g in entry.gaps]
        remarks["gaps"] = dg.MetadataValue.md("\n".join(["| first | last | missing |", "|---|---|---|", *lines]))
    if entry.previous:
        lines = [
            f"- `{v.sha256[:12]}`, {v.rows} rows from {v.source}, {v.ingested_at:%Y-%m-%d}" for v in entry.previous
        ]
        remarks["restated"] = dg.MetadataValue.md("\n".join(["What the day held before:", "", *lines]))
    return remarks


def _day_query(table: Table, entry: LedgerEntry) -> str:
    after = entry.day + timedelta(days=1)
    return (
        f"FROM {table.name} WHERE instrument = '{entry.instrument}' AND {table.key} >= '{entry.day}' "
        f"AND {table.key} < '{after}'"
    )
