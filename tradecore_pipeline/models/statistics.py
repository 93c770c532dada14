"""How sure one can be of the mean of an autocorrelated series."""

import numpy as np

from tradecore_pipeline.models.density import Floats

NORMAL_95 = 1.96
"""Standard errors on either side of an estimate that hold 95% of a normal distribution."""


def variance_of_mean(values: Floats, *, lags: int) -> float:
    """Newey-West variance of the mean of a series with autocorrelation over up to ``lags`` lags; no NaN in it."""
    centred = values - values.mean()
    total = centred @ centred
    for lag in range(1, min(lags, len(values) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    return float(total) / len(values) ** 2


def mean_interval(values: Floats, weights: Floats, *, lags: int) -> tuple[float, float, float]:
    """The weighted mean of a series with its 95% interval (Newey-West over ``lags`` lags); no NaN in either.

    All three are NaN where the weights add up to less than two rows.
    """
    if weights.sum() < 2:
        return np.nan, np.nan, np.nan
    mean = float(weights @ values / weights.sum())
    influence = weights * (values - mean) / weights.mean()
    reach = NORMAL_95 * float(np.sqrt(max(variance_of_mean(influence, lags=lags), 0.0)))
    return mean, mean - reach, mean + reach
