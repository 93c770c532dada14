"""The interval that a weighted mean of an autocorrelated series is known to."""

import numpy as np

from tradecore_pipeline.domain.statistics import variance_of_mean
from tradecore_pipeline.models.density import Floats

NORMAL_95 = 1.96
"""Standard errors on either side of an estimate that hold 95% of a normal distribution."""


def mean_interval(values: Floats, weights: Floats, *, lags: int) -> tuple[float, float, float]:
    """The weighted mean of a series with its 95% interval (Newey-West over ``lags`` lags); no NaN in either.

    All three are NaN where the weights add up to less than two rows.
    """
    if weights.sum() < 2:
        return np.nan, np.nan, np.nan
    mean = float(weights @ values / weights.sum())
    influence = weights * (values - mean) / weights.mean()
    reach = NORMAL_95 * float(np.sqrt(variance_of_mean(influence, lags=lags)))
    return mean, mean - reach, mean + reach
