"""Stage training: a month's regime model, its HARs and its pooled forecast, fitted on data that ended before it."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from tradecore_pipeline.defs import tuning
from tradecore_pipeline.defs.anchors import MOST_MONTHS_BACK
from tradecore_pipeline.defs.fits import HAR, HMM, LSTM, Month
from tradecore_pipeline.defs.forecast_fits import fit_forecaster, fit_har_models
from tradecore_pipeline.defs.partitions import Partitions, same_instrument, split_keys
from tradecore_pipeline.defs.regime_fits import fit_hmm
from tradecore_pipeline.defs.resources import Adapters, guarded, report
from tradecore_pipeline.defs.windows import window_dependency
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import LoggedModel, ModelKind
from tradecore_pipeline.settings import Settings

STAGE = "training"

_DESCRIPTIONS = {
    HMM: """Hidden Markov model of return and realized variance, in force during the month.

States are in order of scale. What is published from it are filtered probabilities: what was known at each bar's close.
Each month's fit starts from its year's anchor, so that a state means the same from month to month. Whether the states
also differ in direction is tested inside the window, on bars they were not fitted on. MLflow has the month's card.""",
    HAR: """t-HAR, the baseline forecast: a Student-t density of the next return whose log scale is linear in the log
realized variance of the last 1, 3, 6, 24 and 168 hours and in the next bar's usual scale. Beside it the switching HAR,
which has states for what those do not foresee, and both again on the window's first two thirds: what those say of the
rest is evidence for the pool.""",
    LSTM: """The forecast that is published: t-HAR, the switching HAR, and an LSTM's correction to t-HAR from its terms,
the tuned indicators and the filtered probabilities, pooled by their scores on the bars before (docs/forecasts.md). The
LSTM takes part in months for which held-out bars showed that it adds something.""",
}

Fit = Callable[[Month, str], tuple[LoggedModel, dict[str, Any]]]


def asset_key(timeframe: Timeframe, kind: str) -> dg.AssetKey:
    """The asset that fits models of ``kind``."""
    return dg.AssetKey([STAGE, timeframe.name, kind])


def asset_keys(timeframe: Timeframe) -> list[dg.AssetKey]:
    """Every training asset of ``timeframe``, in the order they depend on each other."""
    return [asset_key(timeframe, kind) for kind in (HMM, HAR, LSTM)]


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The training assets of every configured timeframe."""
    assets: list[dg.AssetsDefinition] = []
    for timeframe in settings.parsed_timeframes:
        window = window_dependency(settings, timeframe, more_months=0)
        year = window_dependency(settings, timeframe, more_months=MOST_MONTHS_BACK)
        own = [tuning.asset_key(timeframe), asset_key(timeframe, HMM), asset_key(timeframe, HAR)]
        month = [dg.AssetDep(key, partition_mapping=same_instrument()) for key in own]
        assets += [
            _asset(timeframe, HMM, fit_hmm, [year], settings, partitions),
            _asset(timeframe, HAR, fit_har_models, [window], settings, partitions),
            _asset(timeframe, LSTM, fit_forecaster, [window, *month], settings, partitions),
        ]
    return dg.Definitions(assets=assets)


def _asset(
    timeframe: Timeframe,
    kind: ModelKind,
    fit: Fit,
    deps: Sequence[dg.AssetDep],
    settings: Settings,
    partitions: Partitions,
) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(timeframe, kind),
        partitions_def=partitions.months,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.months_per_run),
        group_name=STAGE,
        kinds={"mlflow", {HMM: "hmmlearn", HAR: "scipy", LSTM: "pytorch"}[kind]},
        owners=["team:research"],
        deps=deps,
        description=_DESCRIPTIONS[kind],
    )
    def model(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, months in split_keys(context.partition_keys).items():
                for month in [Month(adapters, instrument, timeframe, first_day) for first_day in months]:
                    with month.named():
                        logged, metadata = fit(month, context.run.run_id)
                    link = dg.MetadataValue.url(adapters.run_url(logged.run_id))
                    report(context, adapters, f"{month.month}|{instrument}", {"mlflow": link, **metadata})

    return model
