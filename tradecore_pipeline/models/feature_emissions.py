"""The families that look at features, each with its own density: independent Student-t, or jointly Gaussian."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import DF_CAP, Floats
from tradecore_pipeline.models.inputs import GAUSSIAN, SCALED_RETURN, STUDENT_T
from tradecore_pipeline.models.kernels import gaussian_log_likelihood, student_t_log_likelihood
from tradecore_pipeline.models.observations import Scaling, observe
from tradecore_pipeline.models.returns import next_open


@dataclass(frozen=True, slots=True)
class StudentTEmission:
    """Independent Student-t densities of features; arrays are (K, D)."""

    scaling: Scaling
    means: Floats
    scales: Floats
    dfs: Floats

    @property
    def kind(self) -> str:
        return STUDENT_T

    @property
    def features(self) -> tuple[str, ...]:
        return self.scaling.features

    @property
    def equal_scales(self) -> bool:
        return False

    def log_likelihood(self, bars: pd.DataFrame, columns: pd.DataFrame | None, *, timeframe: Timeframe) -> Floats:
        """See ``Emission``; a feature that is NaN says nothing."""
        X = observe(bars, columns, scaling=self.scaling, timeframe=timeframe)
        return student_t_log_likelihood(X, self.means, self.scales, self.dfs)

    def next_return(self, bars: pd.DataFrame, *, timeframe: Timeframe) -> tuple[Floats, Floats, Floats]:
        """See ``Emission``."""
        column, season = _return_column(self.scaling, bars, timeframe)
        dfs = np.tile(self.dfs[:, column], (len(bars), 1))
        return season * self.means[:, column], season * self.scales[:, column], dfs

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """See ``Emission``."""
        return type(self)(self.scaling, self.means[order], self.scales[order], self.dfs[order])

    def to_arrays(self) -> dict[str, Floats]:
        """See ``Emission``."""
        return {"means": self.means, "scales": self.scales, "dfs": self.dfs} | self.scaling.to_arrays()

    def config(self) -> dict[str, Any]:
        """See ``Emission``."""
        return {"emission": self.kind, "features": list(self.features)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The emission that ``config`` and ``to_arrays`` described."""
        scaling = Scaling.from_arrays(tuple(config["features"]), arrays)
        return cls(scaling, *(np.ascontiguousarray(arrays[name]) for name in ("means", "scales", "dfs")))


@dataclass(frozen=True, slots=True)
class GaussianEmission:
    """A joint Gaussian of features per state, as most published studies have it; means (K, D), covars (K, D, D)."""

    scaling: Scaling
    means: Floats
    covars: Floats

    @property
    def kind(self) -> str:
        return GAUSSIAN

    @property
    def features(self) -> tuple[str, ...]:
        return self.scaling.features

    @property
    def equal_scales(self) -> bool:
        return False

    def log_likelihood(self, bars: pd.DataFrame, columns: pd.DataFrame | None, *, timeframe: Timeframe) -> Floats:
        """See ``Emission``; a bar that lacks a feature says nothing."""
        X = observe(bars, columns, scaling=self.scaling, timeframe=timeframe)
        result = np.zeros((len(X), len(self.means)))
        known = ~np.isnan(X).any(axis=1)
        result[known] = gaussian_log_likelihood(X[known], self.means, self.covars)
        return result

    def next_return(self, bars: pd.DataFrame, *, timeframe: Timeframe) -> tuple[Floats, Floats, Floats]:
        """See ``Emission``."""
        column, season = _return_column(self.scaling, bars, timeframe)
        scales = np.sqrt(self.covars[:, column, column])
        return season * self.means[:, column], season * scales, np.full((len(bars), len(scales)), DF_CAP)

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """See ``Emission``."""
        return type(self)(self.scaling, self.means[order], self.covars[order])

    def to_arrays(self) -> dict[str, Floats]:
        """See ``Emission``."""
        return {"means": self.means, "covars": self.covars} | self.scaling.to_arrays()

    def config(self) -> dict[str, Any]:
        """See ``Emission``."""
        return {"emission": self.kind, "features": list(self.features)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The emission that ``config`` and ``to_arrays`` described."""
        scaling = Scaling.from_arrays(tuple(config["features"]), arrays)
        return cls(scaling, *(np.ascontiguousarray(arrays[name]) for name in ("means", "covars")))


def _return_column(scaling: Scaling, bars: pd.DataFrame, timeframe: Timeframe) -> tuple[int, Floats]:
    """Where the scaled return is among the features, and the next bar's season (T, 1)."""
    if SCALED_RETURN not in scaling.features:
        raise ValueError(f"a regime model without {SCALED_RETURN!r} has no density for returns")
    return scaling.features.index(SCALED_RETURN), scaling.seasonal.at(next_open(bars, timeframe))[:, None]
