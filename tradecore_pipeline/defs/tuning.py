"""Stage tuning: indicator lengths per month, chosen inside the training window only."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from tradecore_pipeline.defs.fits import INDICATORS, Month
from tradecore_pipeline.defs.partitions import Partitions, split_keys
from tradecore_pipeline.defs.resources import Adapters, guarded, report
from tradecore_pipeline.defs.windows import window_dependency
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.model_registry import LoggedModel
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS

if TYPE_CHECKING:
    from tradecore_pipeline.features.prices import Sources
    from tradecore_pipeline.tuning.plan import StudyPlan, TuningResult

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
                    with month.named():
                        result, logged = tune(month, context.run.run_id)
                    adapters.lake.put_document(
                        INDICATORS, instrument, first_day, timeframe=timeframe, document=result.to_document()
                    )
                    link = dg.MetadataValue.url(adapters.run_url(logged.run_id))
                    report(context, adapters, f"{first_day}|{instrument}", {"mlflow": link, **study_metadata(result)})

    return indicator_params


def tune(month: Month, run_id: str) -> tuple["TuningResult", LoggedModel]:
    """The study of one month, kept as a run; a pure function of the window's rows and the settings.

    Raises:
        MissingInputError: the training window is incomplete.
    """
    from tradecore_pipeline.serving.tuning_report import importance_picture  # noqa: PLC0415 (only runs need it)
    from tradecore_pipeline.tuning.study import tune_lengths  # noqa: PLC0415 (Optuna takes a second to import)

    window = month.window()
    plan = _plan(month, window)
    result = tune_lengths(
        _sources(month, window),
        plan,
        study_path=month.adapters.layout.study(month.instrument, month.month, timeframe=month.timeframe),
        study_name=f"{month.instrument} {month.timeframe} {month.month:%Y-%m}",
    )
    choices = {name: getattr(plan, name) for name in ("objective", "trials", "seed", "folds", "purge_bars")}
    logged = month.log(
        INDICATORS,
        window,
        run_id,
        config={"parameters": result.parameters.to_dict()},
        arrays={},
        parameters=choices | result.parameters.to_dict(),
        metrics={"error": result.value, "default_error": result.default_value},
        series={"trial_error": list(result.trial_values)},
        figures={"importance.svg": importance_picture(result.importances).encode()} if result.importances else {},
    )
    return result, logged


def require_history(month: Month) -> None:
    """Check that a month's window holds what tuning and training need.

    Raises:
        MissingInputError: it does not; the message says what is missing.
    """
    from tradecore_pipeline.tuning.objective import objective_of  # noqa: PLC0415 (heavy, and only runs need it)

    window = month.window()
    plan = _plan(month, window)
    objective_of(
        _sources(month, window), start=plan.start, name=plan.objective, folds=plan.folds, purge_bars=plan.purge_bars
    )


def study_metadata(result: "TuningResult") -> dict[str, Any]:
    """What a person wants to see of a study: what it chose, what mattered, and what that gained over the defaults."""
    return {
        "lengths": dg.MetadataValue.md(_lengths_table(result)),
        "parameters": dg.MetadataValue.json(result.parameters.to_dict()),
        "objective": result.objective,
        "error": result.value,
        "default_error": result.default_value,
        "gain_percent": _percent(result.default_value - result.value, result.default_value),
        "gain_t": "none" if result.gain_t is None else round(result.gain_t, 2),
        "trials": result.trials,
    }


def _percent(gain: float, whole: float) -> float:
    """``gain`` in percent of ``whole``; 0 where nothing moved, so that there was no error to lessen."""
    return round(100 * gain / abs(whole), 3) if whole else 0.0


def _plan(month: Month, window: pd.DataFrame) -> "StudyPlan":
    from tradecore_pipeline.tuning.plan import StudyPlan  # noqa: PLC0415 (likewise)

    settings = month.adapters.settings
    return StudyPlan(
        start=window.index[0].to_pydatetime(),
        end=day_start(month.month),
        objective=settings.tuning_objective,
        trials=settings.tuning_trials,
        seed=settings.random_seed,
        folds=settings.tuning_folds,
        purge_bars=LABEL_HORIZON_BARS,
    )


def _sources(month: Month, window: pd.DataFrame) -> "Sources":
    from tradecore_pipeline.serving.tuned_sources import tuned_sources  # noqa: PLC0415 (only runs need it)

    bars = month.with_warm_up(window)
    return tuned_sources(month.adapters.lake, month.instrument, bars, timeframe=month.timeframe)


def _lengths_table(result: "TuningResult") -> str:
    """Chosen and default lengths with each one's importance, as Markdown."""
    from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS  # noqa: PLC0415 (only runs need it)

    usual, chosen = DEFAULT_PARAMETERS.to_dict(), result.parameters.to_dict()
    shares = {name: result.importances.get(name, 0.0) for name in chosen}
    rows = [
        f"| {name} | {usual[name]} | {chosen[name]} | {f'{shares[name]:.0%}' if result.importances else '-'} |"
        for name in sorted(chosen, key=lambda name: -shares[name])
    ]
    return "\n".join(["| length | default | chosen | importance |", "|---|---|---|---|", *rows])
