"""The rows that are published: regimes and forecasts as they stood at each bar's close."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.models.density import PERCENT, Floats, StudentMixture
from tradecore_pipeline.models.direction import state_names
from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
from tradecore_pipeline.models.flicker import held_states
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.models.ticks import next_log_scores


def published_rows(
    bars: pd.DataFrame,
    *,
    model: RegimeModel,
    filtered: FilteredRegimes,
    direction_significant: bool,
    forecast: StudentMixture,
    har: StudentMixture,
    trend: NDArray[np.int32],
    tick: float,
    label_threshold: float,
) -> pd.DataFrame:
    """The columns of the regimes table, run ids apart, for each of ``bars``; row t is known at its ts_close.

    Args:
        bars: consecutive bars from the start of the training window on, so that a month is reproducible.
        model: the month's regime model.
        filtered: its filtered probabilities of ``bars``.
        direction_significant: whether its states' means differed out-of-sample before the month.
        forecast: the published density of the bar after each one.
        har: the baseline's, for its score.
        trend: the sign of the 30-day return at each bar (``trend.trend_signs``), which may reach back before ``bars``.
        tick: the market's price step as the training window showed it, in quote units.
        label_threshold: the filtered probability above which another state is held.
    """
    names = state_names(model)
    index, timeframe = filtered.index, model.timeframe
    return pd.DataFrame(
        {
            "ts_close": bars.index + pd.Timedelta(timeframe.duration),
            "regime_index": index.astype(np.int32),
            "volatility_regime": [names[k][0] for k in index],
            "regime": [names[k][1] for k in index],
            "direction_significant": direction_significant,
            "confidence": filtered.confidence,
            "filtered_probability": list(filtered.probabilities),
            "held_index": held_states(filtered.probabilities, label_threshold).astype(np.int32),
            "trend": trend,
            "forecast_log_return": forecast.mean / PERCENT,
            "forecast_volatility": forecast.volatility / PERCENT,
            "log_score": _standing_before(next_log_scores(forecast, bars, timeframe=timeframe, tick=tick)),
            "har_log_score": _standing_before(next_log_scores(har, bars, timeframe=timeframe, tick=tick)),
        },
        index=bars.index,
    )


def _standing_before(next_scores: Floats) -> Floats:
    """Scores by the bar that was scored: what the forecast made at the bar before gave it; NaN where there was none."""
    return np.append(np.nan, next_scores[:-1])
