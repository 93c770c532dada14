"""Stage regimes: each day's filtered regimes and forecasts, by the models of its month."""

from collections import Counter
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from tradecore_pipeline.defs import feature_days, features, training
from tradecore_pipeline.defs.days import DailyTable, known_until, require_days
from tradecore_pipeline.defs.fits import Month, load_forecaster, load_regime_model
from tradecore_pipeline.defs.partitions import Partitions, same_instrument, split_keys, stretches
from tradecore_pipeline.defs.resources import Adapters, guarded
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import Timeframe, day_range, day_start, month_of
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.walk_forward import training_window

STAGE = "regimes"

_LONGEST_MONTH_DAYS = 31


def asset_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset that publishes regimes of ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, REGIMES.name])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The regimes asset of every configured timeframe."""
    return dg.Definitions(assets=[_asset(timeframe, settings, partitions) for timeframe in settings.parsed_timeframes])


def _asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    table = DailyTable(REGIMES, timeframe, plot="confidence", describe=day_summary)
    models = [dg.AssetDep(key, partition_mapping=same_instrument()) for key in training.asset_keys(timeframe)]
    read = (BARS, feature_days.FEATURES)
    month_to_date = same_instrument(first_offset=-_LONGEST_MONTH_DAYS)

    @dg.asset(
        key=asset_key(timeframe),
        partitions_def=partitions.days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=STAGE,
        kinds={"parquet"},
        owners=["team:research"],
        deps=[
            *(dg.AssetDep(features.asset_key(timeframe, t.name), partition_mapping=month_to_date) for t in read),
            *models,
        ],
        description=f"Filtered regime probabilities and the forecast density of the next {timeframe} bar, as they were "
        "when each bar closed. The models are those of the row's month, trained only on data that ended before it: the "
        "whole history is out-of-sample.",
    )
    def regimes(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for instrument, days in split_keys(context.partition_keys).items():
                for first, last in month_stretches(days):
                    frame = compute_regimes(adapters, instrument, first, last, timeframe=timeframe)
                    table.publish(context, adapters, instrument, frame, first, last)

    return regimes


def day_summary(rows: pd.DataFrame) -> dict[str, object]:
    """What a person wants to see of a day of regimes."""
    counts = Counter(rows["volatility_regime"])
    scores = rows["log_score"].dropna().to_numpy(dtype=np.float64)
    summary: dict[str, object] = {"regimes": ", ".join(f"{name} {count}" for name, count in counts.most_common())}
    return summary | ({"log_score": round(float(scores.mean()), 4)} if scores.size else {})


def _bars_up_to(month: Month, last: date) -> pd.DataFrame:
    """The bars from the start of the month's training window to the end of ``last``, or as far as it is known."""
    adapters, instrument, timeframe = month.adapters, month.instrument, month.timeframe
    require_days(adapters, BARS, instrument, day_range(month.month, last), timeframe=timeframe)
    start, _ = training_window(month.month, bars=adapters.settings.window_bars(timeframe), timeframe=timeframe)
    end = min(day_start(last) + timedelta(days=1), known_until(adapters, instrument, last))
    return adapters.lake.read(BARS, instrument, start, end, timeframe=timeframe)


def month_stretches(days: list[date]) -> list[tuple[date, date]]:
    """Unbroken ranges of ``days`` that each lie in one month."""
    months = {month_of(day): [d for d in days if month_of(d) == month_of(day)] for day in days}
    return [stretch for inside in months.values() for stretch in stretches(inside, monthly=False)]


def compute_regimes(
    adapters: Adapters, instrument: Instrument, first: date, last: date, *, timeframe: Timeframe
) -> pd.DataFrame:
    """The published rows of the days from ``first`` to ``last`` of one month.

    Everything runs from the start of the training window, so that a row is the same however many days are computed.

    Raises:
        MissingInputError: bars of the month so far, or one of its models, are missing.
    """
    from tradecore_pipeline.models.lstm import forecast_inputs  # noqa: PLC0415 (heavy, and only runs need it)
    from tradecore_pipeline.models.published import published_rows  # noqa: PLC0415 (as above)

    month = Month(adapters, instrument, timeframe, month_of(first))
    bars = _bars_up_to(month, last)
    model, hmm = load_regime_model(month)
    forecaster, lstm = load_forecaster(month)
    filtered = model.filter(bars, month.columns(bars, model.emission.features))
    inputs = forecast_inputs(bars, forecaster.har, filtered=filtered.frame, features=month.tuned(bars))
    forecast = forecaster.forecast(bars, inputs)
    rows = published_rows(
        bars,
        model=model,
        filtered=filtered,
        direction_significant=bool(hmm.config["direction"]["significant"]),
        forecast=forecast.pooled,
        har=forecast.har,
        tick=forecaster.har.tick,
        label_threshold=adapters.settings.label_threshold,
        timeframe=timeframe,
    )
    return rows.assign(hmm_run_id=hmm.run_id, forecast_run_id=lstm.run_id).loc[day_start(first) :]
