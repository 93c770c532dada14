"""The names of states, and whether the names that speak of direction have earned it out-of-sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.regimes import BASIS_POINTS, fit_regimes
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.statistics import variance_of_mean

HAC_LAGS = 48
SIGNIFICANT_T = 2.0

_VOLATILITY_NAMES = {2: ("Calm", "Turbulent"), 3: ("Calm", "Normal", "Turbulent")}
_DIRECTION_NAMES = {
    2: ("Bear", "Bull"),
    3: ("Bear", "Chop", "Bull"),
    4: ("Strong Bear", "Bear", "Bull", "Strong Bull"),
    5: ("Strong Bear", "Bear", "Chop", "Bull", "Strong Bull"),
}


@dataclass(frozen=True, slots=True)
class DirectionEvidence:
    """Next-bar returns of the top minus the bottom state, on bars the states were not fitted on."""

    difference_bps: float
    t_statistic: float
    reason: str
    """Why there is no figure (both are NaN then), else empty."""

    @property
    def significant(self) -> bool:
        """Whether the difference is above zero with a HAC t over 2."""
        return bool(self.t_statistic > SIGNIFICANT_T)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        known = np.isfinite(self.t_statistic)
        return {
            "difference_bps": self.difference_bps if known else None,
            "t_statistic": self.t_statistic if known else None,
            "significant": self.significant,
            "reason": self.reason,
        }


def volatility_regime_names(states: int) -> tuple[str, ...]:
    """Names of states in order of scale: Calm ... Turbulent, numbered above three."""
    return _VOLATILITY_NAMES.get(states) or tuple(f"Level {k + 1}" for k in range(states))


def direction_names(mean_returns: Floats) -> tuple[str, ...]:
    """Names of states by the order of their mean returns, in state order (2 to 5 states).

    A name says which mean is lower, not that the difference is real: see ``direction_evidence``.
    """
    ranks = np.argsort(np.argsort(mean_returns, kind="stable"), kind="stable")
    names = _DIRECTION_NAMES[len(mean_returns)]
    return tuple(names[rank] for rank in ranks)


def direction_evidence(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    timeframe: Timeframe,
    states: int,
    restarts: int,
    features: tuple[str, ...],
    seed: int,
) -> DirectionEvidence:
    """Whether direction held out-of-sample inside a training window: fit on its first half, filter on its second.

    The arguments are those of ``fit_regimes``. Only ``bars`` are read, so the answer is known when the window ends.
    """
    half = len(bars) // 2
    early = None if columns is None else columns.iloc[:half]
    try:
        model = fit_regimes(
            bars.iloc[:half], early, timeframe=timeframe, states=states, restarts=restarts, features=features, seed=seed
        )
    except ModelFitError as error:
        return DirectionEvidence(np.nan, np.nan, f"no acceptable fit on the first half of the window: {error}")
    state = model.filter(bars, columns).index[half:]
    returns = next_percent_returns(bars, timeframe)[half:]
    known = ~np.isnan(returns)
    top = state[known] == model.mean_returns_bps.argmax()
    bottom = state[known] == model.mean_returns_bps.argmin()
    return difference_of_means(BASIS_POINTS * returns[known], top, bottom)


def difference_of_means(returns: Floats, top: np.ndarray[Any, Any], bottom: np.ndarray[Any, Any]) -> DirectionEvidence:
    """Mean of ``returns`` (bps) where ``top`` less where ``bottom``, with a Newey-West t over ``HAC_LAGS`` lags."""
    if top.sum() < HAC_LAGS or bottom.sum() < HAC_LAGS:
        return DirectionEvidence(np.nan, np.nan, f"a state held fewer than {HAC_LAGS} bars of the second half")
    high, low = returns[top].mean(), returns[bottom].mean()
    influence = top * (returns - high) / top.mean() - bottom * (returns - low) / bottom.mean()
    difference = float(high - low)
    error = np.sqrt(max(variance_of_mean(influence, lags=HAC_LAGS), 1e-300))
    return DirectionEvidence(difference, difference / float(error), "")
