"""Stage tuning: indicator lengths per month, chosen inside the training window only."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from tradecore_pipeline.defs.fits import INDICATORS, Month
from tradecore_pipeline.defs.partitions import Partitions, split_keys
from tradecore_pipeline.defs.resources import Adapters, guarded, report
from tradecore_pipeline.defs.windows import window_dependency
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import LoggedModel
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS

if TYPE_CHECKING:
    from tradecore_pipeline.tuning.study import TuningResult

STAGE = "tuning"


def asset_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset that holds the tuned indicator parameters of ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, INDICATORS])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The tuning asset of every configured timeframe."""
    return dg.Definitions(assets=[_asset(timeframe, settings, partitions) for timeframe in settings.parsed_timeframes])


def _asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(timeframe),
        partitions_def=partitions.months,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.months_per_run),
        group_name=STAGE,
        kinds={"optuna", "mlflow"},
        owners=["team:research"],
        deps=[window_dependency(settings, timeframe, more_months=0)],
        description=f"Indicator lengths for {timeframe}, in force during the month. An Optuna study over purged folds "
        "inside the training window; the error is that of the size of the next move, because tuning for its sign fits "
        "noise. An interrupted study goes on where it was cut.",
    )
    def indicator_params(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, months in split_keys(context.partition_keys).items():
                for first_day in months:
                    month = Month(adapters, instrument, timeframe, first_day)
                    result, logged = tune(month, context.run.run_id)
                    adapters.lake.put_document(
                        INDICATORS, instrument, first_day, timeframe=timeframe, document=result.to_document()
                    )
                    link = dg.MetadataValue.url(adapters.run_url(logged.run_id))
                    report(context, adapters, f"{first_day}|{instrument}", {"mlflow": link, **study_metadata(result)})

    return indicator_params


def tune(month: Month, run_id: str) -> tuple["TuningResult", LoggedModel]:
    """The study of one month, kept as a run; a pure function of the window's bars and the settings.

    Raises:
        MissingInputError: the training window is incomplete.
    """
    from tradecore_pipeline.tuning.study import run_study  # noqa: PLC0415 (Optuna takes a second to import)

    settings, window = month.adapters.settings, month.window()
    choices: dict[str, Any] = {
        "trials": settings.tuning_trials,
        "seed": settings.random_seed,
        "folds": settings.tuning_folds,
        "purge_bars": LABEL_HORIZON_BARS,
    }
    result = run_study(
        month.with_warm_up(window),
        start=window.index[0].to_pydatetime(),
        timeframe=month.timeframe,
        study_path=month.adapters.layout.study(month.instrument, month.month, timeframe=month.timeframe),
        study_name=f"{month.instrument} {month.timeframe} {month.month:%Y-%m}",
        **choices,
    )
    logged = month.log(
        INDICATORS,
        window,
        run_id,
        config={"parameters": result.parameters.to_dict()},
        arrays={},
        parameters=choices | result.parameters.to_dict(),
        metrics={"error": result.value, "default_error": result.default_value},
        series={"trial_error": list(result.trial_values)},
    )
    return result, logged


def require_history(month: Month) -> None:
    """Check that a month's window holds what tuning and training need.

    Raises:
        MissingInputError: it does not; the message says what is missing.
    """
    from tradecore_pipeline.tuning.objective import Objective  # noqa: PLC0415 (heavy, and only runs need it)

    window = month.window()
    start, folds = window.index[0].to_pydatetime(), month.adapters.settings.tuning_folds
    Objective(
        month.with_warm_up(window), start=start, timeframe=month.timeframe, folds=folds, purge_bars=LABEL_HORIZON_BARS
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
