"""Stage regimes: each day's filtered regimes and forecasts, by the models of its month."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.defs import feature_days, features, training
from tradecore_pipeline.defs.anchors import other_anchor
from tradecore_pipeline.defs.days import DailyTable, known_until, require_days
from tradecore_pipeline.defs.fits import Month, load_forecaster, load_regime_model
from tradecore_pipeline.defs.own_days import LSTM_FEATURES, require_same_files
from tradecore_pipeline.defs.partitions import Partitions, same_instrument, split_keys, stretches
from tradecore_pipeline.defs.resources import Adapters, guarded
from tradecore_pipeline.defs.windows import read_bars
from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import Timeframe, day_range, day_start, month_of
from tradecore_pipeline.model_registry import StoredModel
from tradecore_pipeline.models.trend import TREND_DAYS, trend_signs
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import OWN_FEATURES
from tradecore_pipeline.validation.walk_forward import training_window

if TYPE_CHECKING:
    from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
    from tradecore_pipeline.models.regimes import RegimeModel

STAGE = "regimes"

_LONGEST_MONTH_DAYS = 31


def asset_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset that publishes regimes of ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, REGIMES.name])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The regimes asset of every configured timeframe."""
    return dg.Definitions(assets=[_asset(timeframe, settings, partitions) for timeframe in settings.parsed_timeframes])


def _asset(timeframe: Timeframe, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    table = DailyTable(REGIMES, timeframe, plot="confidence")
    models = [dg.AssetDep(key, partition_mapping=same_instrument()) for key in training.asset_keys(timeframe)]
    read = [BARS.name, feature_days.FEATURES.name, *([OWN_FEATURES] if settings.own_model_features else [])]
    month_to_date = same_instrument(first_offset=-_LONGEST_MONTH_DAYS)

    @dg.asset(
        key=asset_key(timeframe),
        partitions_def=partitions.days,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.days_per_run),
        group_name=STAGE,
        kinds={"parquet"},
        owners=["team:research"],
        deps=[
            *(dg.AssetDep(features.asset_key(timeframe, name), partition_mapping=month_to_date) for name in read),
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
                    found = predict(Month(adapters, instrument, timeframe, month_of(first)), first, last)
                    told = replace(table, describe=found.day_summary)
                    told.publish(context, adapters, instrument, found.rows, first, last)

    return regimes


@dataclass(frozen=True)
class Predicted:
    """What is published of some days of a month, and what a person should know of how it came about."""

    rows: pd.DataFrame
    unobserved: pd.DatetimeIndex
    """Bars that showed the regime model nothing (a gap, a feature without a value): the transitions alone moved it."""
    notes: Mapping[str, object]

    def day_summary(self, rows: pd.DataFrame) -> dict[str, object]:
        """What a person wants to see of a day of regimes."""
        counts = Counter(rows["volatility_regime"])
        scores = rows["log_score"].dropna().to_numpy(dtype=np.float64)
        summary: dict[str, object] = {"regimes": ", ".join(f"{name} {count}" for name, count in counts.most_common())}
        if scores.size:
            summary["log_score"] = round(float(scores.mean()), 4)
        if silent := int(rows.index.isin(self.unobserved).sum()):
            summary["bars_without_observation"] = silent
        return summary | dict(self.notes)


def _bars_up_to(month: Month, last: date, *, window_bars: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The bars from the start of the month's training window to the end of ``last``, or as far as it is known.

    And the same with those before that the trend of the month looks back to, where the window is shorter.
    """
    adapters, instrument, timeframe = month.adapters, month.instrument, month.timeframe
    start, _ = training_window(month.month, bars=window_bars, timeframe=timeframe)
    # A day more: after a gap the trend looks at the last bar before its lookback.
    trend_start = day_start(month.month) - timedelta(days=TREND_DAYS + 1)
    end = min(day_start(last) + timedelta(days=1), known_until(adapters, instrument, last))
    longer = read_bars(adapters, instrument, min(start, trend_start), end, timeframe=timeframe)
    bars = longer.loc[start:]
    if bars.empty:
        raise MissingInputError(
            f"{month}: no bar is stored from {start:%Y-%m-%d} to {last}, where its models were trained: materialize "
            "bars of those days again"
        )
    return bars, longer


def month_stretches(days: list[date]) -> list[tuple[date, date]]:
    """Unbroken ranges of ``days`` that each lie in one month."""
    months = {month_of(day): [d for d in days if month_of(d) == month_of(day)] for day in days}
    return [stretch for inside in months.values() for stretch in stretches(inside, monthly=False)]


def compute_regimes(
    adapters: Adapters, instrument: Instrument, first: date, last: date, *, timeframe: Timeframe
) -> pd.DataFrame:
    """The published rows of the days from ``first`` to ``last`` of one month; see ``predict``."""
    return predict(Month(adapters, instrument, timeframe, month_of(first)), first, last).rows


def predict(month: Month, first: date, last: date) -> Predicted:
    """What the models of ``month`` say of its days from ``first`` to ``last``.

    Everything runs from the start of the window that the regime model was trained on, whatever the settings ask for by
    now, so that a row is the same however many days are computed.

    Raises:
        MissingInputError: bars of the month so far, or one of its models, are missing, or the forecast was trained on
            another regime model than the month's.
    """
    with month.named():
        require_days(month.adapters, BARS, month.instrument, day_range(month.month, last), timeframe=month.timeframe)
        model, hmm = load_regime_model(month)
        require_same_files(month.adapters, hmm, str(month))
        trained_on = int(hmm.config.get("window_bars", month.adapters.settings.window_bars(month.timeframe)))
        bars, longer = _bars_up_to(month, last, window_bars=trained_on)
        columns = month.columns(bars, model.emission.features)
        trend = trend_signs(longer)[-len(bars) :]
        filtered = model.filter(bars, columns)
        rows = _published(month, bars, model, hmm, filtered, trend=trend)
    return Predicted(
        rows=rows.loc[day_start(first) :],
        unobserved=pd.DatetimeIndex(bars.index[~filtered.observed]),
        notes=_notes(month, hmm, states=model.states),
    )


def _published(
    month: Month,
    bars: pd.DataFrame,
    model: "RegimeModel",
    hmm: StoredModel,
    filtered: "FilteredRegimes",
    *,
    trend: NDArray[np.int32],
) -> pd.DataFrame:
    from tradecore_pipeline.models.lstm import forecast_inputs  # noqa: PLC0415 (heavy, and only runs need it)
    from tradecore_pipeline.models.published import published_rows  # noqa: PLC0415 (as above)

    forecaster, lstm = load_forecaster(month)
    month.require_same_regimes(hmm, lstm)
    require_same_files(month.adapters, lstm, str(month))
    beside = month.with_columns(month.tuned(bars), bars, lstm.config.get(LSTM_FEATURES, ()))
    inputs = forecast_inputs(bars, forecaster.har, filtered=filtered.frame, features=beside)
    forecast = forecaster.forecast(bars, inputs)
    rows = published_rows(
        bars,
        model=model,
        filtered=filtered,
        direction_significant=bool(hmm.config["direction"]["significant"]),
        forecast=forecast.pooled,
        har=forecast.har,
        trend=trend,
        tick=forecaster.har.tick,
        label_threshold=month.adapters.settings.label_threshold,
    )
    return rows.assign(hmm_run_id=hmm.run_id, forecast_run_id=lstm.run_id)


def _notes(month: Month, hmm: StoredModel, *, states: int) -> dict[str, object]:
    """Where the month's model, trained before, is not what the settings and its year's other months have by now."""
    notes: dict[str, object] = {}
    wanted = month.adapters.settings.hmm_states
    if states != wanted:
        notes["hmm_states"] = f"{states} in the month's model; the settings ask for {wanted}: train the month again"
    if other := other_anchor(month, hmm.config):
        notes["hmm_anchor"] = other
    return notes
