"""t-HAR: the next return as a Student-t whose log scale is linear in log realized variance over several horizons.

The baseline family that every forecast has to beat, and a hard one (after Corsi 2009, with a Student-t likelihood).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import digamma

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, PERCENT, Floats, StudentMixture, student_t_log_density
from tradecore_pipeline.models.returns import next_open, next_percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.ticks import price_tick

HORIZON_HOURS = (1, 3, 6, 24, 168)
_HORIZON_BARS = (1, 3)
"""The last bars speak whatever their length: at 5m that is worth .005 nats a bar, at 1h they are the hours above."""
_VARIANCE_FLOOR = 1e-3
"""Least variance, relative to the window's median: a stretch without trades has no logarithm."""
_TICK_FLOOR = 0.25
"""Least scale in ticks of the price: about the spread of rounding alone, below which there is nothing to know."""


@dataclass(frozen=True, slots=True)
class THar:
    """A fitted t-HAR; log scale = ``coefficients`` . (1, log variances, next bar's log seasonal scale), in percent."""

    timeframe: Timeframe
    seasonal: SeasonalScale
    variance_floor: float
    location: float
    coefficients: Floats
    df: float
    tick: float
    """The price's least step in the window, quote units; 0 for models stored before it was noted."""
    horizons: tuple[int, ...]
    """Bars that realized variance is averaged over; one log variance each."""

    def terms(self, bars: pd.DataFrame) -> Floats:
        """The log-variance and seasonal inputs (T, n) known at each ts_close; NaN until every horizon is full."""
        variances = mean_variances(bars, self.timeframe, self.seasonal, self.horizons)
        log_variances = np.log(np.maximum(variances, self.variance_floor))
        seasonal = self.seasonal.log_at(next_open(bars, self.timeframe))
        return np.column_stack((log_variances, seasonal))

    def log_scale(self, bars: pd.DataFrame) -> Floats:
        """Log scale (percent) of the bar after each one, known at ts_close."""
        return self.coefficients[0] + (self.terms(bars) * self.coefficients[1:]).sum(axis=1)

    def forecast(self, bars: pd.DataFrame) -> StudentMixture:
        """Density in percent of the bar after each one, known at ts_close; ``bars`` need a week before the first use.

        Rows without a full longest horizon before them are NaN.
        """
        least = _TICK_FLOOR * PERCENT * self.tick / bars["close"].to_numpy(dtype=np.float64)
        scale = np.maximum(np.exp(self.log_scale(bars)), least)
        known = np.where(np.isnan(scale), np.nan, 1.0)
        return StudentMixture.single(self.location * known, scale, self.df * known)

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        return {
            "har_coefficients": self.coefficients,
            "har_shape": np.array([self.location, self.df, self.variance_floor, self.tick]),
            "har_seasonal": self.seasonal.log_table,
        }

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file."""
        return {"timeframe": self.timeframe.name, "horizon_bars": list(self.horizons)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The model that ``config`` and ``to_arrays`` described."""
        location, df, floor, tick = (float(value) for value in np.append(arrays["har_shape"], 0.0)[:4])
        timeframe = Timeframe.parse(config["timeframe"])
        # Models from before the last bars were added name no bars: theirs are the hours'.
        horizons = config.get("horizon_bars", _bars_of_hours(timeframe))
        return cls(
            timeframe=timeframe,
            seasonal=SeasonalScale(arrays["har_seasonal"]),
            variance_floor=floor,
            location=location,
            coefficients=arrays["har_coefficients"],
            df=df,
            tick=tick,
            horizons=tuple(horizons),
        )


def horizon_bars(timeframe: Timeframe) -> tuple[int, ...]:
    """The horizons in bars, increasing, without those that are equal."""
    return tuple(sorted({*_HORIZON_BARS, *_bars_of_hours(timeframe)}))


def _bars_of_hours(timeframe: Timeframe) -> tuple[int, ...]:
    return tuple(dict.fromkeys(max(1, hours * 60 // timeframe.minutes) for hours in HORIZON_HOURS))


def mean_variances(
    bars: pd.DataFrame, timeframe: Timeframe, seasonal: SeasonalScale, horizons: Sequence[int]
) -> Floats:
    """Mean realized variance per bar (percent squared) over each horizon up to each bar, (T, horizons).

    Each bar's variance is first divided by its seasonal one, so that a busy hour does not look like a busy day. Bars
    with missing minutes count by the minutes they have. NaN until a horizon is full.
    """
    usual = seasonal.at(pd.DatetimeIndex(bars.index)) ** 2
    variance = PERCENT**2 * bars["realized_variance"].to_numpy(dtype=np.float64) / usual
    minutes = bars["minutes"].to_numpy(dtype=np.float64)
    means = [_rolling_sum(variance, length) / _rolling_sum(minutes, length) for length in horizons]
    return timeframe.minutes * np.column_stack(means)


def _rolling_sum(values: Floats, length: int) -> Floats:
    return np.asarray(pd.Series(values).rolling(length).sum(), dtype=np.float64)


def fit_har(bars: pd.DataFrame, *, timeframe: Timeframe, seasonal: SeasonalScale) -> THar:
    """The maximum-likelihood t-HAR of a training window; labels are next returns inside ``bars`` only.

    Raises:
        ModelFitError: too few usable rows, or the optimiser found no finite optimum.
    """
    horizons = horizon_bars(timeframe)
    variances = mean_variances(bars, timeframe, seasonal, horizons)
    usable = variances[~np.isnan(variances).any(axis=1)]
    if len(usable) < 10 * variances.shape[1]:
        raise ModelFitError(f"t-HAR needs more than {len(usable)} bars with {horizons[-1]} bars before them")
    floor = float(_VARIANCE_FLOOR * np.median(usable[:, -1])) or np.finfo(np.float64).tiny
    blank = THar(timeframe, seasonal, floor, 0.0, np.zeros(variances.shape[1] + 2), DF_FLOOR, 0.0, horizons)
    terms, labels = blank.terms(bars), next_percent_returns(bars, timeframe)
    rows = ~np.isnan(terms).any(axis=1) & ~np.isnan(labels)
    location, coefficients, df = _maximise(terms[rows], labels[rows])
    return THar(timeframe, seasonal, floor, location, coefficients, df, price_tick(bars), horizons)


def _maximise(terms: Floats, labels: Floats) -> tuple[float, Floats, float]:
    """Location, coefficients and df of greatest likelihood; the terms are standardised for the optimiser only."""
    centre, spread = terms.mean(axis=0), terms.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.column_stack((np.ones(len(terms)), (terms - centre) / spread))
    typical = np.median(np.abs(labels)) or np.std(labels)
    if typical == 0:
        raise ModelFitError("every return of the training window is zero: this market does not move")
    start = np.concatenate(([0.0, np.log(6.0), np.log(typical)], np.zeros(terms.shape[1])))
    bounds = [(None, None), (np.log(DF_FLOOR), np.log(DF_CAP))] + [(None, None)] * design.shape[1]
    found = minimize(
        _negative_mean_score, start, args=(design, labels), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-7},
    )  # fmt: skip
    if not np.isfinite(found.fun):
        raise ModelFitError("t-HAR found no finite optimum: check the window for impossible prices")
    slopes = found.x[3:] / spread
    intercept = found.x[2] - slopes @ centre
    return float(found.x[0]), np.concatenate(([intercept], slopes)), float(np.exp(found.x[1]))


def _negative_mean_score(parameters: Floats, design: Floats, labels: Floats) -> tuple[float, Floats]:
    """Minus the mean log density and its gradient in (location, log df, coefficients)."""
    location, nu = parameters[0], np.exp(parameters[1])
    scale = np.exp(design @ parameters[2:])
    z = (labels - location) / scale
    ratio = z * z / nu
    pull = (nu + 1) * ratio / (1 + ratio)
    by_location = (nu + 1) * z / (nu * (1 + ratio)) / scale
    by_df = 0.5 * (digamma((nu + 1) / 2) - digamma(nu / 2) - 1 / nu - np.log1p(ratio) + pull / nu)
    gradient = np.concatenate(([by_location.mean(), nu * by_df.mean()], design.T @ (pull - 1) / len(labels)))
    return float(-student_t_log_density(labels, location, scale, nu).mean()), -gradient
