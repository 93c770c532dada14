"""Stage features: bars of a timeframe, what is known at each bar's close, and what a month of both amounts to."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from tradecore_pipeline.defs import ingestion
from tradecore_pipeline.defs.days import DailyTable, first_listed_day, known_until, require_days
from tradecore_pipeline.defs.feature_days import FEATURE_MONTH, FEATURES, month_coverage, require_computed, warm_up_days
from tradecore_pipeline.defs.own_days import own_columns
from tradecore_pipeline.defs.partitions import (
    Partitions,
    same_instrument,
    split_keys,
    stretches,
    those_with,
)
from tradecore_pipeline.defs.resources import Adapters, guarded, missing_days, report
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import Timeframe, day_range, day_start
from tradecore_pipeline.features.bars import CONTEXT, aggregate_bars
from tradecore_pipeline.features.month import frame_digest, month_digest
from tradecore_pipeline.features.registry import compute_features, require_warm_up, warm_up_bars
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import OWN_FEATURES, own_features_table

STAGE = "features"

_ONE_DAY = timedelta(days=1)


def asset_key(timeframe: Timeframe, table: str) -> dg.AssetKey:
    """The asset that stores ``table`` for ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, table])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The feature assets of every configured timeframe."""
    return dg.Definitions(assets=[a for tf in settings.parsed_timeframes for a in _chain(tf, settings, partitions)])


def _chain(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    return [
        _bars_asset(timeframe, settings, partitions),
        _features_asset(timeframe, settings, partitions),
        _feature_month_asset(timeframe, settings, partitions),
    ]


def _bars_asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    table = DailyTable(BARS, timeframe, plot="close")

    @dg.asset(
        key=asset_key(timeframe, BARS.name),
        deps=[dg.AssetDep(ingestion.asset_key(BARS_1M.name), partition_mapping=same_instrument(first_offset=-1))],
        kinds={"parquet", "numpy"},
        description=f"{timeframe} bars aggregated from the 1-minute bars, with the realized variance of their minutes. "
        "A bar without minutes is absent; `minutes` says how many went into each.",
        partitions_def=partitions.days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=STAGE,
        owners=["team:research"],
    )
    def bars(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, stretch in _stretches(context):
                frame = compute_bars(adapters, instrument, *stretch, timeframe=timeframe)
                table.publish(context, adapters, instrument, frame, *stretch)

    return bars


def _features_asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    table = DailyTable(FEATURES, timeframe, plot="volatility_14")
    reach = -warm_up_days(timeframe)
    deps = [dg.AssetDep(asset_key(timeframe, BARS.name), partition_mapping=same_instrument(first_offset=reach))]
    deps += [
        dg.AssetDep(
            ingestion.asset_key(table.name),
            partition_mapping=those_with(table.name, partitions.instruments, first_offset=reach),
        )
        for table in (FUNDING_RATES, OPEN_INTEREST)
        if table.name in partitions.datasets
    ]

    @dg.asset(
        key=asset_key(timeframe, FEATURES.name),
        deps=deps,
        kinds={"parquet", "pandas"},
        description=f"Features known at the close of each {timeframe} bar (docs/features.md lists them). Null where "
        "the warm-up reaches back before the first listed bar, and where a source has no rows.",
        partitions_def=partitions.days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=STAGE,
        owners=["team:research"],
    )
    def features(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, stretch in _stretches(context):
                frame = compute_feature_days(adapters, instrument, *stretch, timeframe=timeframe)
                table.publish(context, adapters, instrument, frame, *stretch)

    return features


def _feature_month_asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(timeframe, FEATURE_MONTH),
        deps=[
            dg.AssetDep(asset_key(timeframe, table), partition_mapping=same_instrument())
            for table in (BARS.name, FEATURES.name, *([OWN_FEATURES] if settings.own_model_features else []))
        ],
        kinds={"json"},
        description="What a month of bars and features amounts to: counts, gaps and a digest of every value, your own "
        "features' among them where models read those. The models of later months depend on these.",
        partitions_def=partitions.months,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.months_per_run),
        group_name=STAGE,
        owners=["team:research"],
    )
    def feature_month(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, months in split_keys(context.partition_keys).items():
                for month in months:
                    document = compute_feature_month(adapters, instrument, month, timeframe=timeframe)
                    adapters.lake.put_document(FEATURE_MONTH, instrument, month, timeframe=timeframe, document=document)
                    report(context, adapters, f"{month}|{instrument}", month_metadata(document))

    return feature_month


def _stretches(context: dg.AssetExecutionContext) -> Iterator[tuple[Instrument, tuple[date, date]]]:
    for instrument, days in split_keys(context.partition_keys).items():
        for stretch in stretches(days, monthly=False):
            yield instrument, stretch


def compute_bars(
    adapters: Adapters, instrument: Instrument, first: date, last: date, *, timeframe: Timeframe
) -> pd.DataFrame:
    """The closed bars of the days from ``first`` to ``last``, from the stored minutes and those of the day before.

    Raises:
        MissingInputError: 1-minute bars of a day were not ingested.
    """
    require_days(adapters, BARS_1M, instrument, day_range(first, last))
    start, end = day_start(first), known_until(adapters, instrument, last)
    minutes = adapters.lake.read(BARS_1M, instrument, start - CONTEXT, end)
    bars = aggregate_bars(minutes, timeframe, start=start, end=end)
    known = {day: known_until(adapters, instrument, day) for day in day_range(first, last)}
    closed = [opened + timeframe.duration <= known[opened.date()] for opened in bars.index]
    return bars.loc[np.array(closed, dtype=np.bool_)]


def compute_feature_days(
    adapters: Adapters, instrument: Instrument, first: date, last: date, *, timeframe: Timeframe
) -> pd.DataFrame:
    """The features of the days from ``first`` to ``last``, from those days and their warm-up.

    Raises:
        MissingInputError: bars of a day, or of its warm-up inside the listed life, are missing.
    """
    start, end = day_start(first), day_start(last) + _ONE_DAY
    from_moment = start - warm_up_days(timeframe) * _ONE_DAY
    listed = first_listed_day(adapters, instrument)
    require_days(adapters, BARS, instrument, day_range(max(first, listed), last), timeframe=timeframe)
    bars = adapters.lake.read(BARS, instrument, from_moment, end, timeframe=timeframe)
    require_warm_up(
        bars,
        asset_key(timeframe, BARS.name).to_user_string(),
        reach_bars=warm_up_bars(timeframe),
        first_listed=day_start(listed),
        start=start,
        timeframe=timeframe,
        empty_days=set(adapters.lake.days(BARS, instrument, timeframe=timeframe)),
    )
    funding, open_interest = (
        _perpetual_rows(adapters, table, instrument, from_moment, end) for table in (FUNDING_RATES, OPEN_INTEREST)
    )
    return compute_features(bars, funding, open_interest, timeframe=timeframe).loc[start:]


def _perpetual_rows(
    adapters: Adapters, table: Table, instrument: Instrument, start: datetime, end: datetime
) -> pd.DataFrame | None:
    return adapters.lake.read(table, instrument, start, end) if instrument.is_perpetual else None


def compute_feature_month(
    adapters: Adapters, instrument: Instrument, month: date, *, timeframe: Timeframe
) -> dict[str, Any]:
    """The month's digest, over those of its days that have been listed and have begun.

    Raises:
        MissingInputError: a day after the month's first computed one has no features, or none has.
    """
    computed, absent = month_coverage(adapters, instrument, month, timeframe=timeframe)
    if absent:
        raise missing_days(f"{timeframe} features", instrument, absent, "materialize features for those days first")
    start, end = day_start(computed[0]), day_start(computed[-1]) + _ONE_DAY
    bars = adapters.lake.read(BARS, instrument, start, end, timeframe=timeframe)
    document = month_digest(
        bars,
        adapters.lake.read(FEATURES, instrument, start, end, timeframe=timeframe),
        days=computed,
        timeframe=timeframe,
    )
    names = adapters.settings.own_model_features
    if not names:
        return document
    table = own_features_table(())
    require_computed(adapters, table, instrument, computed, timeframe=timeframe)
    own = own_columns(adapters, instrument, bars.index, names, timeframe=timeframe)
    return document | {"own_features_sha256": frame_digest(own)}


def month_metadata(document: dict[str, Any]) -> dict[str, Any]:
    """What a person wants to see of a month's digest."""
    counts = {name: document[name] for name in ("days", "bars", "missing_bars", "features")}
    return {
        **counts,
        "bars_sha256": document["bars_sha256"],
        "features_sha256": document["features_sha256"],
        **{name: document[name] for name in ("own_features_sha256",) if name in document},
        "nulls": dg.MetadataValue.json(document["nulls"]),
        "gaps": dg.MetadataValue.json(document["gaps"]),
    }
