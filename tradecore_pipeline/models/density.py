"""Forecast densities: mixtures of Student-t distributions, one row per bar, in percent (100 x log return)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, stdtr

Floats = NDArray[np.float64]

PERCENT = 100.0
"""Log returns are modelled in percent, so that log scores compare across models and with the literature."""

DF_FLOOR = 3.0
"""Estimated degrees of freedom run to 2.1, where the variance explodes."""
DF_CAP = 200.0
"""Beyond this a Student-t is a normal distribution, and its likelihood is flat."""

_NARROW = 1e-3
"""An interval of fewer scales than this has its density throughout, to seven digits."""


def student_t_log_density(x: ArrayLike, location: ArrayLike, scale: ArrayLike, df: ArrayLike) -> Floats:
    """Log density in nats of a Student-t distribution; the arguments broadcast, NaN stays NaN."""
    nu = np.asarray(df, dtype=np.float64)
    spread = np.asarray(scale, dtype=np.float64)
    z = (np.asarray(x, dtype=np.float64) - np.asarray(location, dtype=np.float64)) / spread
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    return np.asarray(constant - np.log(spread) - (nu + 1) / 2 * np.log1p(z * z / nu), dtype=np.float64)


def student_t_log_interval_density(
    x: ArrayLike, lower: ArrayLike, upper: ArrayLike, location: ArrayLike, scale: ArrayLike, df: ArrayLike
) -> Floats:
    """Log of a Student-t distribution's mean density over [lower, upper], which holds ``x``; the arguments broadcast.

    Where the interval is narrow against the scale, that is the log density at ``x``.
    """
    density = student_t_log_density(x, location, scale, df)
    ends = (np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64))
    width, spread = ends[1] - ends[0], np.asarray(scale, dtype=np.float64)
    low, high = ((end - np.asarray(location, dtype=np.float64)) / spread for end in ends)
    # Probabilities near one have no digits left to tell them apart: the right half is taken as the left one.
    right = low + high > 0
    low, high = np.where(right, -high, low), np.where(right, -low, high)
    mass = stdtr(df, high) - stdtr(df, low)
    wide = (width > _NARROW * spread) & (mass > 0)
    return np.where(wide, np.log(np.where(wide, mass, 1.0)) - np.log(np.where(wide, width, 1.0)), density)


def mean_absolute_deviation(scale: ArrayLike, df: ArrayLike) -> Floats:
    """E|x - location| of a Student-t with more than one degree of freedom, in the unit of ``scale``."""
    nu = np.asarray(df, dtype=np.float64)
    log_ratio = gammaln((nu + 1) / 2) - gammaln(nu / 2)
    return np.asarray(np.asarray(scale) * 2 * np.sqrt(nu / np.pi) * np.exp(log_ratio) / (nu - 1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class StudentMixture:
    """The density of one return per row, as a mixture of M Student-t distributions; every array is (T, M), percent.

    Row t is the density of the bar after t, known at t's ts_close. Rows that cannot be forecast (warm-up, a missing
    input) are NaN throughout.
    """

    weights: Floats
    locations: Floats
    scales: Floats
    dfs: Floats

    @classmethod
    def single(cls, location: ArrayLike, scale: ArrayLike, df: ArrayLike) -> Self:
        """One Student-t per row; the arguments broadcast to (T,)."""
        parts = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in (location, scale, df))
        )
        located, scaled, freedom = (part[:, None].copy() for part in parts)
        return cls(np.where(np.isnan(scaled), np.nan, 1.0), located, scaled, freedom)

    def pooled(self, other: Self, *, weight: float) -> Self:
        """The linear pool ``weight * self + (1 - weight) * other``; rows that ``self`` lacks are ``other``'s alone."""
        known = ~np.isnan(self.scales).any(axis=1, keepdims=True)
        share = np.where(known, weight, 0.0)
        own = (np.where(known, part, 1.0) for part in (self.weights, self.locations, self.scales, self.dfs))
        weights, locations, scales, dfs = own
        return type(self)(
            np.hstack((share * weights, (1 - share) * other.weights)),
            np.hstack((locations, other.locations)),
            np.hstack((scales, other.scales)),
            np.hstack((dfs, other.dfs)),
        )

    def log_density(self, x: ArrayLike) -> Floats:
        """Log density in nats that row t gives to ``x[t]``, the return in percent of the bar after t."""
        points = np.asarray(x, dtype=np.float64)[:, None]
        # A weight of zero has the logarithm -inf, and a row without a forecast is NaN: both are meant.
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.log(self.weights) + student_t_log_density(points, self.locations, self.scales, self.dfs)
            return np.logaddexp.reduce(terms, axis=1)

    def interval_log_density(self, x: ArrayLike, *, lower: ArrayLike, upper: ArrayLike) -> Floats:
        """Log of the mean density in nats that row t gives to [``lower[t]``, ``upper[t]``], which holds ``x[t]``.

        That is log((F(upper) - F(lower)) / (upper - lower)). It compares with ``log_density``, and equals it where the
        interval is narrow, but no density for values that repeat can raise it beyond -log(upper - lower).
        """
        at, low, high = (np.asarray(part, dtype=np.float64)[:, None] for part in (x, lower, upper))
        with np.errstate(divide="ignore", invalid="ignore"):  # as in log_density
            own = student_t_log_interval_density(at, low, high, self.locations, self.scales, self.dfs)
            return np.logaddexp.reduce(np.log(self.weights) + own, axis=1)

    def cdf(self, x: ArrayLike) -> Floats:
        """The probability that row t gave to a return of at most ``x[t]`` (its PIT value, if that is what came)."""
        points = np.asarray(x, dtype=np.float64)[:, None]
        return (self.weights * stdtr(self.dfs, (points - self.locations) / self.scales)).sum(axis=1)

    @property
    def mean(self) -> Floats:
        """Expected return per row, percent."""
        return (self.weights * self.locations).sum(axis=1)

    @property
    def variance(self) -> Floats:
        """Variance per row, percent squared (finite: degrees of freedom are floored above two)."""
        within = self.scales**2 * self.dfs / (self.dfs - 2)
        return (self.weights * (within + self.locations**2)).sum(axis=1) - self.mean**2

    @property
    def volatility(self) -> Floats:
        """Standard deviation per row, percent."""
        return np.sqrt(self.variance)

    def rows(self, selection: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The same densities for some rows only."""
        return type(self)(
            self.weights[selection], self.locations[selection], self.scales[selection], self.dfs[selection]
        )
