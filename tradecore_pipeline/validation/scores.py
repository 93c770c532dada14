"""Scores of forecasts and states, and how sure one can be of a difference."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A mean with its autocorrelation-robust t."""

    mean: float
    t_statistic: float
    """NaN where the values do not vary."""
    rows: int

    @property
    def smallest_detectable(self) -> float:
        """The effect that would have had a t of 2 in this sample; NaN where ``t_statistic`` is."""
        return abs(2 * self.mean / self.t_statistic) if self.t_statistic else float("nan")


def hac_mean(values: ArrayLike, *, lags: int) -> MeanDifference:
    """Mean of a series (say, differences of log scores) and its Newey-West t with ``lags`` lags, without NaN rows.

    Raises:
        ValueError: fewer than two values are known.
    """
    series = np.asarray(values, dtype=np.float64)
    series = series[~np.isnan(series)]
    count = len(series)
    if count < 2:
        raise ValueError("a t statistic needs at least two values")
    mean = series.mean()
    centred = series - mean
    total = centred @ centred
    for lag in range(1, min(lags, count - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    error = np.sqrt(max(total, 0.0)) / count
    return MeanDifference(float(mean), float(mean / error) if error > 0 else float("nan"), count)


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
    """1 - mean squared distance to the best possible forecast, relative to that forecast's own mean square.

    1 is the oracle, 0 is always saying zero. Above the oracle's realised accuracy is luck or a leak; this is not.
    """
    ours, best = np.asarray(forecast, dtype=np.float64), np.asarray(oracle, dtype=np.float64)
    known = ~np.isnan(ours) & ~np.isnan(best)
    return float(1 - ((ours - best)[known] ** 2).mean() / (best[known] ** 2).mean())


def state_accuracy(predicted: ArrayLike, truth: ArrayLike, *, states: int) -> float:
    """Share of bars whose state is right, under the best one-to-one renaming of states."""
    ours, true = np.asarray(predicted, dtype=np.intp), np.asarray(truth, dtype=np.intp)
    confusion = np.bincount(ours * states + true, minlength=states * states).reshape(states, states)
    names = itertools.permutations(range(states))
    return float(max(confusion[np.arange(states), list(name)].sum() for name in names) / len(ours))
