"""The LSTM's shape by a yearly study of data that ended before the year, and which study is in force in a month.

A study is asked for (by materializing a year, by `tradecore tune-lstm`, by the `yearly` schedule) and leaves a document
under its January. A month's fit reads that and keeps the shape in its own model. There is no edge between the two, for
Dagster maps a year onto months without an offset only: onto the year's own, not those before it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from pydantic import Field

from tradecore_pipeline.defs.fits import Month
from tradecore_pipeline.defs.partitions import DATE, INSTRUMENT, Partitions, split_keys
from tradecore_pipeline.defs.regime_fits import regime_choices
from tradecore_pipeline.defs.resources import Adapters, guarded, missing_days, report
from tradecore_pipeline.defs.windows import read_bars
from tradecore_pipeline.domain.errors import InvalidDataError, NotEnoughHistoryError
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import FIRST_DAY, Timeframe, day_range, day_start
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.model_registry import Place
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE, LstmShape
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.tuning.lstm_plan import ShapePlan, ShapeResult, StoredStudy, sealed
from tradecore_pipeline.tuning.lstm_space import MOST_WINDOWS_TRIED
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS, training_window

if TYPE_CHECKING:
    from tradecore_pipeline.tuning.lstm_folds import ShapeData

STAGE = "training"
KIND = "lstm_shape"
"""Of the asset, the runs and the documents in the lake, each under its January."""
FIRST_YEAR = FIRST_DAY.year + 1
"""The first year before which there can be bars."""
NO_STUDY = "settings"
"""The source of a shape that no study chose."""
STUDY_DEVICE = "cpu"
"""Whatever trains the months' networks: a study may go on on another machine, and every machine has one."""
_ONE_DAY = timedelta(days=1)


class ShapeStudyConfig(dg.Config):
    """How much a study tries; asked again with more trials, it goes on from those that it has."""

    trials: int = Field(default=20, ge=1)
    """Shapes, the default among them."""
    processes: int = Field(default=1, ge=1, le=64)
    """Folds fitted at a time; no figure depends on it."""


def asset_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset that holds the yearly studies of ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, KIND])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The study of every configured timeframe, by year and instrument; this year exists, too (``end_offset=1``)."""
    years = dg.TimeWindowPartitionsDefinition(
        cron_schedule="0 0 1 1 *", start=f"{FIRST_YEAR}-01-01", fmt="%Y-%m-%d", end_offset=1
    )
    instruments = dg.StaticPartitionsDefinition([str(instrument) for instrument in partitions.instruments])
    by_instrument = dg.MultiPartitionsDefinition({DATE: years, INSTRUMENT: instruments})
    return dg.Definitions(assets=[_asset(timeframe, by_instrument) for timeframe in settings.parsed_timeframes])


def _asset(timeframe: Timeframe, years: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(timeframe),
        partitions_def=years,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        group_name=STAGE,
        kinds={"optuna", "mlflow"},
        owners=["team:research"],
        description=f"The LSTM's shape at {timeframe}: an Optuna study over purged folds of bars that ended before the "
        "year. What it finds is in force in the months trained from then on, until a newer year's study: the best "
        "shape if it leads the default by more than the best of so many equal ones would (2.8 standard errors for 20 "
        "trials), else the default. Its networks are trained on the CPU, whatever lstm_device says. It reads bars of "
        "up to five training windows before January (and features, where the regimes do), which have to be there: "
        "Dagster cannot say so, since it maps years only onto their own months. An interrupted study goes on where it "
        "was cut.",
    )
    def lstm_shape(
        context: dg.AssetExecutionContext, config: ShapeStudyConfig, adapters: dg.ResourceParam[Adapters]
    ) -> None:
        with guarded(context, adapters):
            for instrument, januaries in split_keys(context.partition_keys).items():
                for january in januaries:
                    own = Month(adapters, instrument, timeframe, january)
                    with own.named():
                        result, run_id = study(own, context.run.run_id, config, done=adapters.done)
                    link = dg.MetadataValue.url(adapters.run_url(run_id))
                    report(context, adapters, f"{january}|{instrument}", {"mlflow": link, **study_metadata(result)})

    return lstm_shape


def study(
    january: Month, run_id: str, config: ShapeStudyConfig, *, done: Callable[[str], None]
) -> tuple[ShapeResult, str]:
    """The study of the year that begins with ``january``, kept as a document and as a run, whose id comes with it.

    Raises:
        MissingInputError: days before the year are not stored, or there are too few.
        InvalidDataError: the study's journal is damaged.
    """
    from tradecore_pipeline.serving.lstm_shape_card import shape_card, verdict  # noqa: PLC0415 (only runs need it)
    from tradecore_pipeline.tuning.lstm_study import tune_shape  # noqa: PLC0415 (only runs need it)

    adapters, year = january.adapters, january.month.year
    data, plan = _data(january), _plan(january, config)
    journal = adapters.layout.study(january.instrument, january.month, timeframe=january.timeframe)
    result = tune_shape(
        data,
        plan,
        study_path=journal.with_name(f"{KIND}-{year}.journal"),
        study_name=f"{KIND} {january.instrument} {january.timeframe} {year}",
        processes=config.processes,
        done=done,
    )
    document = sealed(result.to_document() | {"verdict": verdict(result)})
    adapters.lake.put_document(KIND, january.instrument, january.month, timeframe=january.timeframe, document=document)
    card = shape_card(f"{january.instrument} {january.timeframe} {year}", result)
    logged = adapters.registry.log_study(
        f"{KIND} {year} {january.instrument}",
        place=Place(january.instrument, january.timeframe, january.month),
        kind=KIND,
        parameters=result.shape.config() | plan.facts() | {"trials": len(result.trials), "study": result.study_name},
        metrics=dict(card.metrics),
        series={name: list(values) for name, values in card.series.items()},
        tags=_tags(data.bars, run_id) | {"mlflow.note.content": f"{card.text}\n\n{adapters.dagster_link(run_id)}"},
        figures=dict(card.figures),
    )
    return result, logged


def shape_in_force(month: Month) -> tuple[LstmShape, str]:
    """The shape that a month's LSTM is trained with, and where it is from: a study's year and digest, or the settings.

    A study is in force from its January on until a newer one's, and never in a month that began before its data ended.
    What a month was trained with stands in its own model: predicting does not ask again.

    Raises:
        InvalidDataError: the study in force is damaged; the message names the command that mends it.
    """
    for year in range(month.month.year, FIRST_YEAR - 1, -1):
        found = stored_study(replace(month, month=month.month.replace(year=year, month=1)))
        if found is not None and found.last_ts_close <= day_start(month.month):
            return found.shape, f"study of {year}, sha256 {found.digest}"
    return default_shape(month.adapters.settings), NO_STUDY


def default_shape(settings: Settings) -> LstmShape:
    """The shape without a study: the usual one, of the settings' width."""
    return replace(DEFAULT_SHAPE, hidden=settings.lstm_hidden)


def stored_study(january: Month) -> StoredStudy | None:
    """What the year's study left in the lake; None where nobody has asked for one.

    Raises:
        InvalidDataError: as in ``shape_in_force``.
    """
    lake, kind = january.adapters.lake, (KIND, january.instrument, january.month)
    path = lake.layout.document(*kind, timeframe=january.timeframe)
    if not path.exists():
        return None
    try:
        return StoredStudy.from_document(lake.get_document(*kind, timeframe=january.timeframe))
    except InvalidDataError as error:
        year = january.month.year
        raise InvalidDataError(
            f"{january.instrument} {january.timeframe}: the study of the LSTM's shape of {year} is damaged "
            f"({path}): run `tradecore tune-lstm {january.instrument} --timeframe {january.timeframe} --year {year}`, "
            "or remove the file to do without it"
        ) from error


def study_metadata(result: ShapeResult) -> dict[str, Any]:
    """What a person wants to see of a study in Dagster."""
    from tradecore_pipeline.serving.lstm_shape_card import folds_table, shapes_table  # noqa: PLC0415 (as above)

    return {
        "shape": dg.MetadataValue.md(shapes_table(result)),
        "folds": dg.MetadataValue.md(folds_table(result)),
        "replaces_default": result.replaces_default,
        "gain_nats_a_bar": result.gain,
        "standard_error": result.gain_error if pd.notna(result.gain_error) else "too few bars",
        "trials": len(result.trials),
        "first_ts_open": result.first_ts_open.isoformat(),
        "last_ts_close": result.last_ts_close.isoformat(),
        "notes": "; ".join(result.notes) or "none",
    }


def _data(january: Month) -> "ShapeData":
    """What the study may see. Indicators have their default lengths: a month's own were tuned for that month."""
    from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, tuned_columns  # noqa: PLC0415 (only runs need it)
    from tradecore_pipeline.models.lstm_training import Recipe  # noqa: PLC0415 (torch)
    from tradecore_pipeline.serving.tuned_sources import tuned_sources  # noqa: PLC0415 (likewise)
    from tradecore_pipeline.tuning.lstm_folds import ShapeData  # noqa: PLC0415 (likewise)

    settings, bars = january.adapters.settings, _bars(january)
    warm = january.with_warm_up(bars)
    sources = tuned_sources(january.adapters.lake, january.instrument, warm, timeframe=january.timeframe)
    tuned = tuned_columns(sources, DEFAULT_PARAMETERS).loc[bars.index] if settings.lstm_tuned else None
    read = [frame for frame in (tuned, january.columns(bars, settings.lstm_features)) if frame is not None]
    recipe = Recipe(
        filtered=None,
        features=pd.concat(read, axis=1) if read else None,
        regimes=settings.lstm_regimes,
        shape=default_shape(settings),
        epochs=settings.lstm_epochs,
        seed=settings.random_seed,
        device=STUDY_DEVICE,
        history=None,
    )
    columns = january.columns(bars, january.hmm_features)
    return ShapeData(bars, january.timeframe, columns, regime_choices(settings), recipe)


def data_span(settings: Settings, timeframe: Timeframe, january: date) -> tuple[datetime, datetime]:
    """First and last moment (exclusive, by ts_open) of the bars that the study of a year reads, if there are so many.

    As many training windows as a study tries, and one more to be tested on.
    """
    bars = (MOST_WINDOWS_TRIED + 1) * settings.window_bars(timeframe)
    return training_window(january, bars=bars, timeframe=timeframe)


def _bars(january: Month) -> pd.DataFrame:
    adapters, first = january.adapters, january.month
    start, end = data_span(adapters.settings, january.timeframe, first)
    days = adapters.lake.days(BARS, january.instrument, timeframe=january.timeframe)
    stored = {day for day in days if start.date() <= day < first}
    if not stored:
        raise NotEnoughHistoryError(f"there are no bars before {first}: backfill earlier days, or study a later year")
    if absent := [day for day in day_range(min(stored), first - _ONE_DAY) if day not in stored]:
        remedy = (
            f"the study of {first.year} needs those days, which `tradecore backfill` fetches, or study another year"
        )
        raise missing_days(f"{january.timeframe} bars", january.instrument, absent, remedy)
    return read_bars(adapters, january.instrument, start, end, timeframe=january.timeframe)


def _tags(bars: pd.DataFrame, run_id: str) -> dict[str, str]:
    """What a run says of its data; the same names as those of a month's fits."""
    return {
        "data_first_ts_open": str(bars.index[0]),
        "data_last_ts_open": str(bars.index[-1]),
        "data_bars": str(len(bars)),
        "data_sha256": frame_digest(bars),
        "dagster_run_id": run_id,
    }


def _plan(january: Month, config: ShapeStudyConfig) -> ShapePlan:
    settings = january.adapters.settings
    return ShapePlan(
        end=day_start(january.month),
        window_bars=settings.window_bars(january.timeframe),
        folds=settings.tuning_folds,
        purge_bars=LABEL_HORIZON_BARS,
        trials=config.trials,
        seed=settings.random_seed,
        default=default_shape(settings),
    )
