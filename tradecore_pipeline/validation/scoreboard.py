"""Forecasts held against a baseline, bar by bar on the same rows: by era, with what the sample could have shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.statistics import variance_of_mean
from tradecore_pipeline.domain.time import Timeframe

ALL = "all"
"""The era of every row."""
DETECTABLE_ERRORS = 2.0
"""Standard errors that a mean difference must exceed to be called one."""

_LAG_HOURS = 48
_LEAST_LAGS = 5
_LEAST_ROWS_PER_LAG = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one model did in one era; scores are nats a bar, and what cannot be told is NaN."""

    model: str
    era: str
    bars: int
    log_score: float
    difference: float
    """Mean log score less the baseline's."""
    t_statistic: float
    """Of the difference, robust to autocorrelation (HAC)."""
    smallest_detectable: float
    """Two HAC standard errors: a mean difference below this would not have been told from none in this sample."""


def hac_lags(timeframe: Timeframe) -> int:
    """Lags over which scores are taken to depend on each other: two days of bars (48 at 1h), five at least."""
    return max(_LEAST_LAGS, _LAG_HOURS * 60 // timeframe.minutes)


def standard_error(values: ArrayLike, *, lags: int) -> float:
    """Newey-West standard error of the mean of ``values``, in time order; NaN where they are too few for ``lags``."""
    series = np.asarray(values, dtype=np.float64)
    if len(series) < _LEAST_ROWS_PER_LAG * lags:
        return float("nan")
    return float(np.sqrt(variance_of_mean(series, lags=lags)))


def standings(scores: pd.DataFrame, *, baseline: str, lags: int) -> list[Standing]:
    """Every model (column), best first, by calendar year (where there are several) and over all rows.

    Only rows that every model has are counted.

    Args:
        scores: log scores in nats, a column per model, indexed by the scored bar's ``ts_open`` (UTC).
        baseline: the column that the others are held against.
        lags: of the standard errors.

    Raises:
        NotEnoughHistoryError: no row has a score of every model.
    """
    whole = common_rows(scores)
    years = np.asarray(pd.DatetimeIndex(whole.index).year)
    named = sorted(set(years.tolist()))
    eras = {str(year): years == year for year in named} if len(named) > 1 else {}
    table = {str(name): whole[name].to_numpy(dtype=np.float64) for name in whole.columns}
    found: list[Standing] = []
    for era, chosen in (eras | {ALL: np.ones(len(whole), dtype=np.bool_)}).items():
        own = [_standing(name, era, values[chosen], table[baseline][chosen], lags) for name, values in table.items()]
        found += sorted(own, key=lambda standing: -standing.log_score)
    return found


def common_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that every column has.

    Raises:
        NotEnoughHistoryError: there is none.
    """
    whole = scores.dropna()
    if whole.empty:
        empty = [str(name) for name in scores.columns if np.isnan(scores[name].to_numpy(dtype=np.float64)).all()]
        raise NotEnoughHistoryError(
            "no bar was scored by every model" + (f" ({', '.join(empty)} scored none)" if empty else "")
        )
    return whole


def cumulative_gains(scores: pd.DataFrame, *, baseline: str) -> pd.DataFrame:
    """Running sum in nats of each model's log score less the baseline's, on the rows that all models have."""
    whole = common_rows(scores)
    return whole.sub(whole[baseline], axis=0).drop(columns=baseline).cumsum()


def pit_shares(values: Sequence[float] | Floats, *, bins: int) -> Floats:
    """Shares of probability integral transforms in equal bins of [0, 1]: each 1 / bins where forecasts are right."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return np.histogram(known, bins=bins, range=(0.0, 1.0))[0] / max(len(known), 1)


def _standing(model: str, era: str, own: Floats, baseline: Floats, lags: int) -> Standing:
    gains = own - baseline
    error, gain = standard_error(gains, lags=lags), float(gains.mean())
    known = error > 0
    return Standing(
        model=model,
        era=era,
        bars=len(own),
        log_score=float(own.mean()),
        difference=gain,
        t_statistic=gain / error if known else float("nan"),
        smallest_detectable=DETECTABLE_ERRORS * error if known else float("nan"),
    )
