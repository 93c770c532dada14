"""What regime models look at: returns and variances of bars, and features, on scales of the training window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import PERCENT, Floats
from tradecore_pipeline.models.inputs import FEATURES, LOG_REALIZED_VARIANCE, SCALED_RETURN
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale

_VARIANCE_FLOOR = 1e-3
"""Least realized variance, relative to the window's median: a bar without trades has no logarithm."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How observations are made comparable; everything comes from the training window."""

    features: tuple[str, ...]
    seasonal: SeasonalScale
    variance_floor: float
    centre: Floats
    spread: Floats
    """Subtracted from, and divided into, feature columns; 0 and 1 for ``FEATURES``, whose units mean something."""

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        return {
            "seasonal": self.seasonal.log_table,
            "variance_floor": np.array(self.variance_floor),
            "centre": self.centre,
            "spread": self.spread,
        }

    @classmethod
    def from_arrays(cls, features: tuple[str, ...], arrays: Mapping[str, Floats]) -> Self:
        """The scaling that ``to_arrays`` described."""
        floor = float(arrays["variance_floor"])
        return cls(features, SeasonalScale(arrays["seasonal"]), floor, arrays["centre"], arrays["spread"])


def fit_scaling(
    bars: pd.DataFrame, columns: pd.DataFrame | None, *, features: tuple[str, ...], timeframe: Timeframe
) -> Scaling:
    """The scaling of a training window.

    Raises:
        MissingInputError: a feature is neither one of ``FEATURES`` nor a column.
    """
    floor = _variance_floor(PERCENT**2 * bars["realized_variance"].to_numpy(dtype=np.float64))
    count = len(features)
    plain = Scaling(features, SeasonalScale.fit(bars), floor, np.zeros(count), np.ones(count))
    X = observe(bars, columns, scaling=plain, timeframe=timeframe)
    own = np.array([name in FEATURES for name in features])
    whole = X[~np.isnan(X).any(axis=1)]
    if len(whole) == 0:
        raise MissingInputError(f"no bar of the training window has all of {', '.join(features)}")
    spread = np.where(whole.std(axis=0) > 0, whole.std(axis=0), 1.0)
    centre = np.where(own, 0.0, whole.mean(axis=0))
    return Scaling(features, plain.seasonal, floor, centre, np.where(own, 1.0, spread))


def observe(bars: pd.DataFrame, columns: pd.DataFrame | None, *, scaling: Scaling, timeframe: Timeframe) -> Floats:
    """Observations (T, D) known at each ts_close; NaN where a bar has none (the first bar, a gap, warm-up)."""
    values = [_feature(name, bars, columns, scaling, timeframe) for name in scaling.features]
    return np.ascontiguousarray((np.column_stack(values) - scaling.centre) / scaling.spread)


def _feature(
    name: str, bars: pd.DataFrame, columns: pd.DataFrame | None, scaling: Scaling, timeframe: Timeframe
) -> Floats:
    log_season = scaling.seasonal.log_at(pd.DatetimeIndex(bars.index))
    if name == SCALED_RETURN:
        return percent_returns(bars, timeframe) / np.exp(log_season)
    if name == LOG_REALIZED_VARIANCE:
        return np.log(np.maximum(_full_variances(bars, timeframe), scaling.variance_floor)) - 2 * log_season
    if columns is None or name not in columns:
        raise MissingInputError(f"feature {name!r} is neither one of {', '.join(FEATURES)} nor a given column")
    if not columns.index.equals(bars.index):
        raise MissingInputError(f"feature {name!r} is not on the same bars: its index differs")
    return columns[name].to_numpy(dtype=np.float64)


@dataclass(frozen=True, slots=True)
class VarianceScaling:
    """How returns and realized variances are freed of the season, and what of earlier bars is carried over."""

    seasonal: SeasonalScale
    variance_floor: float
    """Least realized variance, percent squared: a bar without trades has no logarithm."""
    carry_bars: tuple[int, ...]
    """Over how many bars before each one the mean variance is carried over; one column each."""
    centre: Floats
    """Mean of those columns' logarithms in the training window."""

    @classmethod
    def fit(
        cls, bars: pd.DataFrame, *, seasonal: SeasonalScale, carry_bars: tuple[int, ...], timeframe: Timeframe
    ) -> Self:
        """The scaling of a training window."""
        plain = cls(seasonal, 0.0, carry_bars, np.zeros(len(carry_bars)))
        floored = cls(seasonal, _variance_floor(plain.variances(bars, timeframe)), carry_bars, plain.centre)
        return cls(seasonal, floored.variance_floor, carry_bars, floored.carried_on(bars, timeframe).mean(axis=0))

    def variances(self, bars: pd.DataFrame, timeframe: Timeframe) -> Floats:
        """Realized variance of each bar, percent squared, over its season's; at least the floor."""
        season = self.seasonal.at(pd.DatetimeIndex(bars.index))
        return np.maximum(_full_variances(bars, timeframe) / season**2, self.variance_floor)

    def carried_on(self, bars: pd.DataFrame, timeframe: Timeframe) -> Floats:
        """What each bar leaves to the next (T, J): log mean variances up to it, less their centre; known at ts_close.

        Bars count as they come: the first ones have less behind them, and a gap is passed over. So are bars that did
        not move (a halt says nothing about volatility); where none did, the window's median stands in.
        """
        variances = pd.Series(np.where(_moved(bars), self.variances(bars, timeframe), np.nan))
        usual = max(self.variance_floor / _VARIANCE_FLOOR, float(np.finfo(np.float64).tiny))
        means = [
            np.nan_to_num(np.asarray(variances.rolling(length, min_periods=1).mean(), dtype=np.float64), nan=usual)
            for length in self.carry_bars
        ]
        return np.log(np.column_stack(means)) - self.centre if means else np.empty((len(bars), 0))

    def observe(self, bars: pd.DataFrame, timeframe: Timeframe) -> Floats:
        """Return, variance and what the bar before left (T, 2 + J), known at ts_close.

        The return is NaN in the first bar and after a gap, both are where no minute moved: a halt shows no state. Into
        the first bar nothing is carried.
        """
        carried = self.carried_on(bars, timeframe)
        before = np.vstack((np.zeros((1, carried.shape[1])), carried))[: len(bars)]
        returns = percent_returns(bars, timeframe) / self.seasonal.at(pd.DatetimeIndex(bars.index))
        moved = np.where(_moved(bars), 1.0, np.nan)
        return np.column_stack((moved * returns, moved * self.variances(bars, timeframe), before))

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        return {
            "seasonal": self.seasonal.log_table,
            "variance_floor": np.array(self.variance_floor),
            "carry_centre": self.centre,
        }

    @classmethod
    def from_arrays(cls, carry_bars: tuple[int, ...], arrays: Mapping[str, Floats]) -> Self:
        """The scaling that ``to_arrays`` described."""
        floor = float(arrays["variance_floor"])
        return cls(SeasonalScale(arrays["seasonal"]), floor, carry_bars, arrays["carry_centre"])


def _moved(bars: pd.DataFrame) -> NDArray[np.bool_]:
    """Which bars saw the price move inside them."""
    return np.asarray(bars["realized_variance"].to_numpy(dtype=np.float64) > 0, dtype=np.bool_)


def _full_variances(bars: pd.DataFrame, timeframe: Timeframe) -> Floats:
    """Realized variances, percent squared, as if no minute were missing."""
    full = timeframe.minutes / bars["minutes"].to_numpy(dtype=np.float64)
    return PERCENT**2 * bars["realized_variance"].to_numpy(dtype=np.float64) * full


def _variance_floor(variances: Floats) -> float:
    moving = variances[variances > 0]
    return _VARIANCE_FLOOR * float(np.median(moving)) if len(moving) else float(np.finfo(np.float64).tiny)
