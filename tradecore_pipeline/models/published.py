"""The rows that are published: regimes and forecasts as they stood at each bar's close."""

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import PERCENT, Floats, StudentMixture
from tradecore_pipeline.models.direction import direction_names, volatility_regime_names
from tradecore_pipeline.models.regimes import FilteredRegimes, RegimeModel
from tradecore_pipeline.models.returns import percent_returns


def published_rows(
    bars: pd.DataFrame,
    *,
    model: RegimeModel,
    filtered: FilteredRegimes,
    direction_significant: bool,
    forecast: StudentMixture,
    har: StudentMixture,
    timeframe: Timeframe,
) -> pd.DataFrame:
    """The columns of the regimes table, run ids apart, for each of ``bars``; row t is known at its ts_close.

    Args:
        bars: consecutive bars from the start of the training window on, so that a month is reproducible.
        model: the month's regime model.
        filtered: its filtered probabilities of ``bars``.
        direction_significant: whether its states' means differed out-of-sample before the month.
        forecast: the published density of the bar after each one.
        har: the baseline's, for its score.
        timeframe: the length of the bars.
    """
    volatility, direction = volatility_regime_names(model.states), direction_names(model.mean_returns_bps)
    index = filtered.index
    returns = percent_returns(bars, timeframe)
    return pd.DataFrame(
        {
            "ts_close": bars.index + pd.Timedelta(timeframe.duration),
            "regime_index": index.astype(np.int32),
            "volatility_regime": [volatility[k] for k in index],
            "regime": [direction[k] for k in index],
            "direction_significant": direction_significant,
            "confidence": filtered.confidence,
            "filtered_probability": list(filtered.probabilities),
            "forecast_log_return": forecast.mean / PERCENT,
            "forecast_volatility": forecast.volatility / PERCENT,
            "log_score": _score_of_standing(forecast, returns),
            "har_log_score": _score_of_standing(har, returns),
        },
        index=bars.index,
    )


def _score_of_standing(forecast: StudentMixture, returns: Floats) -> Floats:
    """The log density that the forecast made at the bar before gave to each bar; NaN where there was none."""
    scores = np.full(len(returns), np.nan)
    if len(returns) > 1:
        scores[1:] = forecast.rows(slice(None, -1)).log_density(returns[1:])
    return scores
