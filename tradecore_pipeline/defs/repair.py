"""The nightly repair: gaps, restated files and failed days asked for again, and the exchanges' listings kept."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import dagster as dg

from tradecore_pipeline.defs.ingestion import STAGE, asset_key, days_to_repair, ingest_days
from tradecore_pipeline.defs.market_data import day_metadata
from tradecore_pipeline.defs.mending import mend_all
from tradecore_pipeline.defs.resources import Adapters, guarded
from tradecore_pipeline.defs.schedule_runs import in_progress
from tradecore_pipeline.domain.errors import InvalidDataError, SourceError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.offers import offered
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.alerts import Alert, record_alert
from tradecore_pipeline.storage.ledger import LedgerEntry

LISTINGS = "listings"
JOB = "repair"
REPAIR_TAG = "tradecore/repair"
_LISTINGS_AGE = timedelta(hours=20)


class RepairConfig(dg.Config):
    """What to repair."""

    instrument: str
    """As configured, e.g. ``binance:BTC/USDT:USDT``."""


def build(settings: Settings) -> dg.Definitions:
    """The listings asset, the repair job and its schedule."""
    job = _repair_job(settings)
    return dg.Definitions(assets=[_listings_asset(settings)], jobs=[job], schedules=[_nightly(settings, job)])


def _listings_asset(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(LISTINGS),
        group_name=STAGE,
        kinds={"parquet"},
        owners=["team:market-data"],
        pool=STAGE,
        description="""Which instruments existed when, delisted ones included.

As far as each exchange's own list and its archive tell. What vanishes from a list is kept as delisted. Updates of a
delisted instrument end with its last day.""",
    )
    def listings(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            exchanges = sorted({instrument.exchange for instrument in settings.parsed_instruments})
            context.add_output_metadata({name: refresh_listings(adapters, name) for name in exchanges})

    return listings


def _repair_job(settings: Settings) -> dg.JobDefinition:
    @dg.op(pool=STAGE, description="Asks again for the days of one instrument that may have become better.")
    def repair_instrument(
        context: dg.OpExecutionContext, config: RepairConfig, adapters: dg.ResourceParam[Adapters]
    ) -> None:
        instrument = settings.instrument(config.instrument)
        with guarded(context, adapters):
            for event in repaired(adapters, instrument, launch=context.run_id):
                context.log_event(event)

    @dg.job(name=JOB, description="Gaps, restated archive files and failed days of one instrument, asked for again.")
    def repair() -> None:
        repair_instrument()

    return repair


def _nightly(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="nightly",
        cron_schedule="40 3 * * *",
        job=job,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Repairs every instrument: days that came over REST are compared with the archive that has them by "
        "now, rewritten files are fetched again, and so are gaps of the last weeks and days that failed.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        tags = {instrument: {REPAIR_TAG: str(instrument)} for instrument in settings.parsed_instruments}
        return [
            dg.RunRequest(run_config=run_config(instrument), tags=tag)
            for instrument, tag in tags.items()
            if not in_progress(context.instance, tag)
        ]

    return nightly


def run_config(instrument: Instrument) -> dict[str, object]:
    """The configuration of one run of the repair job."""
    return {"ops": {"repair_instrument": {"config": {"instrument": str(instrument)}}}}


def repaired(adapters: Adapters, instrument: Instrument, *, launch: str) -> Iterator[dg.AssetMaterialization]:
    """Repair one instrument, telling of each day once it is stored again.

    Raises:
        SourceError: days failed; raised after all others were stored, in one line that names every failure.
    """
    steps = [_refreshed(adapters, instrument.exchange)]
    steps += [_repaired_days(adapters, table, instrument, launch=launch) for table in offered(instrument)]
    failed: list[SourceError] = []
    for step in steps:
        try:
            yield from step
        except SourceError as error:
            failed.append(error)
    if failed:
        raise _all_of(failed)


def _all_of(failed: Sequence[SourceError]) -> SourceError:
    """One error that says what each of ``failed`` said, once; of their kind where they are of one."""
    kinds = {type(error) for error in failed}
    kind = kinds.pop() if len(kinds) == 1 else SourceError
    return kind("; ".join(dict.fromkeys(map(str, failed))))


def _refreshed(adapters: Adapters, exchange: str) -> Iterator[dg.AssetMaterialization]:
    """The exchange's listings, if they are old or cannot be read."""
    try:
        as_of = adapters.listings.as_of(exchange)
    except InvalidDataError:
        as_of = None
    if as_of is None or adapters.clock() - as_of > _LISTINGS_AGE:
        count = refresh_listings(adapters, exchange)
        yield dg.AssetMaterialization(asset_key=asset_key(LISTINGS), metadata={exchange: count})


def _repaired_days(
    adapters: Adapters, table: Table, instrument: Instrument, *, launch: str
) -> Iterator[dg.AssetMaterialization]:
    began = adapters.clock()
    mend_all(adapters, table, instrument)
    reasons = days_to_repair(adapters, table, instrument, adapters.present(instrument.exchange).date())
    for entry in ingest_days(adapters, table, instrument, list(reasons), launch=launch, keep=lambda _: False):
        key = f"{entry.day}|{instrument}"
        _tell_restated(adapters, entry, launch, since=began)
        metadata = day_metadata(adapters, table, entry) | {"repaired because": reasons[entry.day]}
        adapters.done(key)
        yield dg.AssetMaterialization(asset_key=asset_key(table.name), partition=key, metadata=metadata)


def refresh_listings(adapters: Adapters, exchange: str) -> int:
    """Store what an exchange lists today beside what it listed before; the number of instruments known.

    Raises:
        SourceError: the exchange cannot be asked; what was stored stays.
    """
    known = adapters.listings.put(exchange, adapters.exchange(exchange).instruments(), as_of=adapters.clock())
    return len(known)


def _tell_restated(adapters: Adapters, entry: LedgerEntry, launch: str, *, since: datetime) -> None:
    """Keep an alert where the source replaced rows of a finished day: studies over it said something else."""
    if entry.previous and entry.ingested_at >= since:
        was = entry.previous[-1]
        reason = f"restated: {was.rows} rows from {was.source} became {entry.rows} from {entry.source}"
        what = f"{entry.dataset} {entry.day}|{entry.instrument}"
        record_alert(adapters.layout, Alert(adapters.clock(), f"{launch}-{entry.dataset}-{entry.day}", what, reason))
