"""Stage tuning: indicator lengths per month, chosen inside the training window only."""

from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from tradecore_pipeline.defs.partitions import Partitions, split_keys
from tradecore_pipeline.defs.resources import Adapters, guarded, report
from tradecore_pipeline.defs.windows import bars_with_warm_up, training_bars, window_dependency
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    from tradecore_pipeline.tuning.study import TuningResult

STAGE = "tuning"
TABLE = "indicator_params"


def asset_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset that holds the tuned indicator parameters of ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, TABLE])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The tuning asset of every configured timeframe."""
    return dg.Definitions(assets=[_asset(timeframe, settings, partitions) for timeframe in settings.parsed_timeframes])


def _asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(timeframe),
        partitions_def=partitions.months,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.months_per_run),
        group_name=STAGE,
        kinds={"optuna", "json"},
        owners=["team:research"],
        deps=[window_dependency(settings, timeframe)],
        description=f"Indicator lengths for {timeframe}, in force during the month. An Optuna study over purged folds "
        "inside the training window; the error is that of the size of the next move, because tuning for its sign fits "
        "noise. An interrupted study goes on where it was cut.",
    )
    def indicator_params(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, months in split_keys(context.partition_keys).items():
                for month in months:
                    result = tune(adapters, instrument, month, timeframe=timeframe)
                    adapters.lake.put_document(
                        TABLE, instrument, month, timeframe=timeframe, document=result.to_document()
                    )
                    report(context, adapters, f"{month}|{instrument}", study_metadata(result))

    return indicator_params


def tune(adapters: Adapters, instrument: Instrument, month: date, *, timeframe: Timeframe) -> "TuningResult":
    """The study of one month; a pure function of the window's bars and the settings.

    Raises:
        MissingInputError: the training window is incomplete.
    """
    from tradecore_pipeline.tuning.study import run_study  # noqa: PLC0415 (Optuna takes a second to import)

    settings = adapters.settings
    window = training_bars(adapters, instrument, month, timeframe=timeframe)
    return run_study(
        bars_with_warm_up(adapters, instrument, window.index[0], day_start(month), timeframe=timeframe),
        start=window.index[0].to_pydatetime(),
        timeframe=timeframe,
        trials=settings.tuning_trials,
        seed=settings.random_seed,
        study_path=adapters.layout.study(instrument, month, timeframe=timeframe),
        study_name=f"{instrument} {timeframe} {month:%Y-%m}",
        folds=settings.tuning_folds,
        purge_bars=1,
    )


def study_metadata(result: "TuningResult") -> dict[str, Any]:
    """What a person wants to see of a study: what it chose, and what that gained over the defaults."""
    return {
        "parameters": dg.MetadataValue.json(result.parameters.to_dict()),
        "error": result.value,
        "default_error": result.default_value,
        "gain_percent": round(100 * (1 - result.value / result.default_value), 3),
        "trials": result.trials,
    }
