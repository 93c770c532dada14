"""What the regime model looks at: its own features of bars, and feature columns standardised by the training window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

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
    variance = PERCENT**2 * bars["realized_variance"].to_numpy(dtype=np.float64)
    moving = variance[variance > 0]
    floor = _VARIANCE_FLOOR * float(np.median(moving)) if len(moving) else np.finfo(np.float64).tiny
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
        full = timeframe.minutes / bars["minutes"].to_numpy(dtype=np.float64)
        variance = PERCENT**2 * bars["realized_variance"].to_numpy(dtype=np.float64) * full
        return np.log(np.maximum(variance, scaling.variance_floor)) - 2 * log_season
    if columns is None or name not in columns:
        raise MissingInputError(f"feature {name!r} is neither one of {', '.join(FEATURES)} nor a given column")
    if not columns.index.equals(bars.index):
        raise MissingInputError(f"feature {name!r} is not on the same bars: its index differs")
    return columns[name].to_numpy(dtype=np.float64)
