"""Stage features: what the user's own files (`feature_files`) compute of each bar, day by day."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

import dagster as dg
import pandas as pd

from tradecore_pipeline.defs import features, ingestion
from tradecore_pipeline.defs.days import DailyTable, first_listed_day, require_days
from tradecore_pipeline.defs.feature_days import reach_days
from tradecore_pipeline.defs.own_days import edits, has_own, outdated_days, own_definition, why_again
from tradecore_pipeline.defs.partitions import Partitions, same_instrument, split_keys, stretches, those_with
from tradecore_pipeline.defs.resources import Adapters, guarded
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import Timeframe, day_range, day_start
from tradecore_pipeline.features.own_days import OwnDays
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.registry import require_warm_up
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import DEFINITION, OWN_FEATURES, own_features_table, put_own_definition

_ONE_DAY = timedelta(days=1)
_MOST_DAYS_BACK = 30
"""How far the graph shows the table to depend on bars before it: how far it does is known once the files are run."""


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The table of own features of every configured timeframe and its check; nothing where no file is named."""
    timeframes = settings.parsed_timeframes if has_own(settings) else ()
    return dg.Definitions(
        assets=[_asset(timeframe, settings, partitions) for timeframe in timeframes],
        asset_checks=[_check(timeframe) for timeframe in timeframes],
    )


def _asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    earlier = -_MOST_DAYS_BACK
    deps = [
        dg.AssetDep(features.asset_key(timeframe, BARS.name), partition_mapping=same_instrument(first_offset=earlier)),
        *(
            dg.AssetDep(
                ingestion.asset_key(table.name),
                partition_mapping=those_with(table.name, partitions.instruments, first_offset=earlier),
            )
            for table in (FUNDING_RATES, OPEN_INTEREST)
            if table.name in partitions.datasets
        ),
    ]

    @dg.asset(
        key=features.asset_key(timeframe, OWN_FEATURES),
        deps=deps,
        kinds={"parquet", "python"},
        description=f"Your own features of {timeframe} bars, computed by "
        f"{', '.join(path.name for path in settings.feature_files)} (docs/lookahead.md). Each row bears the version of "
        "the files that computed it; after an edit the days before are to be materialized again.",
        partitions_def=partitions.days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=features.STAGE,
        owners=["team:research"],
    )
    def own_features(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, (first, last) in _stretches(context):
                frame = compute_own_days(adapters, instrument, first, last, timeframe=timeframe)
                why = _reasons(adapters, instrument, list(day_range(first, last)), timeframe=timeframe)
                put_own_definition(adapters.layout, own_definition(adapters))
                _table(adapters, timeframe, why).publish(context, adapters, instrument, frame, first, last)

    return own_features


def _stretches(context: dg.AssetExecutionContext) -> Iterator[tuple[Instrument, tuple[date, date]]]:
    for instrument, days in split_keys(context.partition_keys).items():
        for stretch in stretches(days, monthly=False):
            yield instrument, stretch


def _table(adapters: Adapters, timeframe: Timeframe, why: Mapping[date, str]) -> DailyTable:
    definition = own_definition(adapters)

    def describe(rows: pd.DataFrame) -> dict[str, object]:
        again = why.get(rows.index[0].date()) if len(rows) else None
        told: dict[str, object] = {DEFINITION: definition.definition, "files": ", ".join(definition.files)}
        return told | ({"computed_again": again} if again else {})

    table = own_features_table(definition.columns)
    return replace(DailyTable(table, timeframe, plot=definition.columns[0].name), describe=describe)


def _reasons(adapters: Adapters, instrument: Instrument, days: list[date], *, timeframe: Timeframe) -> dict[date, str]:
    own = adapters.own_features
    return why_again(outdated_days(adapters, instrument, days, timeframe=timeframe), own.definition, own.files)


def compute_own_days(
    adapters: Adapters, instrument: Instrument, first: date, last: date, *, timeframe: Timeframe
) -> pd.DataFrame:
    """The own features of the days from ``first`` to ``last``, with the version that computed them.

    Raises:
        UsageError: a file or a feature is wrong; the message names it, the instrument and the day.
        MissingInputError: bars of a day, or of its warm-up inside the listed life, are missing.
    """
    own = adapters.own_features
    table = own_features_table(own_definition(adapters).columns)
    start, end = day_start(first), day_start(last) + _ONE_DAY
    from_moment = start - reach_days(adapters, table, timeframe=timeframe) * _ONE_DAY
    listed = first_listed_day(adapters, instrument)
    require_days(adapters, BARS, instrument, day_range(max(first, listed), last), timeframe=timeframe)
    bars = adapters.lake.read(BARS, instrument, from_moment, end, timeframe=timeframe)
    require_warm_up(
        bars,
        features.asset_key(timeframe, BARS.name).to_user_string(),
        reach_bars=own.warm_up_bars,
        first_listed=day_start(listed),
        start=start,
        timeframe=timeframe,
        empty_days=set(adapters.lake.days(BARS, instrument, timeframe=timeframe)),
    )
    sources = Sources(
        bars,
        _rows(adapters, FUNDING_RATES, instrument, (from_moment, end)),
        _rows(adapters, OPEN_INTEREST, instrument, (from_moment, end)),
        timeframe,
    )
    rows = OwnDays(own, sources, f"{instrument} {timeframe}").compute(first, last)
    rows.insert(1, DEFINITION, pd.Series(own.definition, index=rows.index, dtype="str"))
    return rows


def _rows(
    adapters: Adapters, table: Table, instrument: Instrument, span: tuple[datetime, datetime]
) -> pd.DataFrame | None:
    if table.name not in adapters.own_features.inputs or not instrument.is_perpetual:
        return None
    return adapters.lake.read(table, instrument, *span)


def _check(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=features.asset_key(timeframe, OWN_FEATURES),
        name="version",
        description="Every stored day was computed by the files as they are now; else materialize those days again.",
    )
    def check(adapters: dg.ResourceParam[Adapters]) -> dg.AssetCheckResult:
        problems = edits(adapters, timeframe)
        return dg.AssetCheckResult(
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(problems) or "all days are of the present version",
        )

    return check
