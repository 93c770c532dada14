"""How sure one can be of the mean of an autocorrelated series."""

from tradecore_pipeline.models.density import Floats


def variance_of_mean(values: Floats, *, lags: int) -> float:
    """Newey-West variance of the mean of a series with autocorrelation over up to ``lags`` lags; no NaN in it."""
    centred = values - values.mean()
    total = centred @ centred
    for lag in range(1, min(lags, len(values) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    return float(total) / len(values) ** 2
