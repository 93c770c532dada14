"""How sure one can be of the mean of an autocorrelated series."""

import numpy as np
from numpy.typing import NDArray


def variance_of_mean(values: NDArray[np.float64], *, lags: int) -> float:
    """Newey-West (HAC) variance of the mean of a series in time order, without NaN.

    Args:
        values: the series.
        lags: over how many rows values are taken to depend on each other.
    """
    centred = values - values.mean()
    total = centred @ centred
    for lag in range(1, min(lags, len(values) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    # Bartlett's weights keep it from being negative, but for rounding.
    return max(float(total), 0.0) / len(values) ** 2
