"""Stage training: a month's regime model, its t-HAR baseline and its LSTM, each fitted on data that ended before it."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
import numpy as np

from tradecore_pipeline.defs import tuning
from tradecore_pipeline.defs.anchors import MOST_MONTHS_BACK
from tradecore_pipeline.defs.fits import HAR, HMM, LSTM, Month, load_har, load_regime_model
from tradecore_pipeline.defs.partitions import Partitions, same_instrument, split_keys
from tradecore_pipeline.defs.regime_fits import fit_hmm
from tradecore_pipeline.defs.resources import Adapters, guarded, report
from tradecore_pipeline.defs.windows import window_dependency
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import LoggedModel, ModelKind
from tradecore_pipeline.settings import Settings

STAGE = "training"

_DESCRIPTIONS = {
    HMM: """Student-t hidden Markov model of regimes, in force during the month.

States are in order of scale. What is published from it are filtered probabilities: what was known at each bar's close.
Each month's fit starts from its year's anchor, so that a state means the same from month to month. Whether the states
also differ in direction is tested inside the window, on bars they were not fitted on. MLflow has the month's card.""",
    HAR: """t-HAR, the baseline forecast: a Student-t density of the next return whose log scale is linear in the log
realized variance of the last 1, 3, 6, 24 and 168 hours and in the next bar's usual scale.""",
    LSTM: """LSTM forecaster: a correction to t-HAR's density from its terms, the tuned indicators and the filtered
probabilities, pooled with t-HAR by their scores on the window's last part.""",
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
            _asset(timeframe, HAR, fit_baseline, [window], settings, partitions),
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
                for month in months:
                    logged, metadata = fit(Month(adapters, instrument, timeframe, month), context.run.run_id)
                    link = dg.MetadataValue.url(adapters.run_url(logged.run_id))
                    report(context, adapters, f"{month}|{instrument}", {"mlflow": link, **metadata})

    return model


def fit_baseline(month: Month, run_id: str) -> tuple[LoggedModel, dict[str, Any]]:
    """The month's t-HAR."""
    from tradecore_pipeline.models.har import fit_har  # noqa: PLC0415 (as above)
    from tradecore_pipeline.models.returns import next_percent_returns  # noqa: PLC0415 (as above)
    from tradecore_pipeline.models.seasonality import SeasonalScale  # noqa: PLC0415 (as above)

    bars = month.window()
    har = fit_har(bars, timeframe=month.timeframe, seasonal=SeasonalScale.fit(bars))
    scores = har.forecast(bars).log_density(next_percent_returns(bars, month.timeframe))
    in_sample = float(np.nanmean(scores))
    logged = month.log(
        HAR,
        bars,
        run_id,
        config=har.config(),
        arrays=har.to_arrays(),
        parameters={"df": har.df, "location": har.location},
        metrics={"in_sample_log_score": in_sample},
    )
    return logged, {"bars": len(bars), "df": har.df, "in_sample_log_score": in_sample}


def fit_forecaster(month: Month, run_id: str) -> tuple[LoggedModel, dict[str, Any]]:
    """The month's LSTM on top of its t-HAR, with their weights in the pool."""
    from tradecore_pipeline.models.lstm_training import fit_lstm  # noqa: PLC0415 (as above)

    settings, bars = month.adapters.settings, month.window()
    regimes, hmm = load_regime_model(month)
    har, baseline = load_har(month)
    choices: dict[str, Any] = {
        "hidden": settings.lstm_hidden,
        "epochs": settings.lstm_epochs,
        "seed": settings.random_seed,
        "device": settings.lstm_device,
    }
    model = fit_lstm(
        bars,
        har=har,
        filtered=regimes.filter(bars, month.columns(bars, regimes.emission.features)).frame,
        features=month.tuned(bars),
        **choices,
    )
    logged = month.log(
        LSTM,
        bars,
        run_id,
        config=model.config() | {"hmm_run_id": hmm.run_id, "har_run_id": baseline.run_id},
        arrays=model.to_arrays(),
        tensors=dict(model.weights),
        parameters=choices | {"inputs": len(model.columns)},
        metrics={"pool_weight": model.pool_weight, **model.report},
    )
    return logged, {"bars": len(bars), "pool_weight": model.pool_weight, **model.report}
