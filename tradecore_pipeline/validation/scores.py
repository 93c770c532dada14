"""Scores of forecasts over the rows that have both a forecast and what it is held against."""

import numpy as np
from numpy.typing import ArrayLike


def mean_log_score(log_densities: ArrayLike) -> float:
    """Mean log density in nats over the rows that have one.

    Raises:
        ValueError: no row has one.
    """
    scores = np.asarray(log_densities, dtype=np.float64)
    known = scores[~np.isnan(scores)]
    if len(known) == 0:
        raise ValueError("no row has a forecast and an outcome: nothing to score")
    return float(known.mean())


def oracle_r2(forecast: ArrayLike, oracle: ArrayLike) -> float:
    """1 - mean squared distance to the best possible forecast, relative to that forecast's own variance.

    1 is the oracle, 0 is always saying its mean. Above the oracle's realised accuracy is luck or a leak; this is not.
    """
    ours, best = np.asarray(forecast, dtype=np.float64), np.asarray(oracle, dtype=np.float64)
    known = ~np.isnan(ours) & ~np.isnan(best)
    return float(1 - ((ours - best)[known] ** 2).mean() / best[known].var())
