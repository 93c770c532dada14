"""Regimes: a fitted Student-t HMM with all it needs to label new bars, and its causal filter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.inputs import SCALED_RETURN
from tradecore_pipeline.models.kernels import forward_filter, student_t_log_likelihood
from tradecore_pipeline.models.observations import Scaling, fit_scaling, observe
from tradecore_pipeline.models.returns import next_open, percent_returns
from tradecore_pipeline.models.student_t_hmm import fit_student_t_hmm

BASIS_POINTS = 100.0
"""Basis points in a percent."""


@dataclass(frozen=True, slots=True)
class FilteredRegimes:
    """What the filter knows at each ts_close: nothing here depends on later bars."""

    ts_open: pd.DatetimeIndex
    probabilities: Floats
    """(T, K), in order of scale (state 0 is the calmest); rows sum to 1."""
    log_density: Floats
    """(T,), nats: of each observation given those before it."""

    @property
    def index(self) -> NDArray[np.intp]:
        """The most probable state per bar."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> Floats:
        """That state's filtered probability."""
        return self.probabilities.max(axis=1)

    @property
    def frame(self) -> pd.DataFrame:
        """The probabilities as columns ``state_0`` ..., for use as forecast inputs."""
        columns = [f"state_{k}" for k in range(self.probabilities.shape[1])]
        return pd.DataFrame(self.probabilities, index=self.ts_open, columns=columns)


@dataclass(frozen=True, slots=True)
class RegimeModel:
    """A fitted regime model; arrays are (K,), (K, K) or (K, D), states in order of scale (0 is the calmest)."""

    timeframe: Timeframe
    scaling: Scaling
    startprob: Floats
    transmat: Floats
    means: Floats
    scales: Floats
    dfs: Floats
    mean_returns_bps: Floats
    """Mean return of the training bars by state, weighted by filtered probability."""
    occupancy: Floats
    """Share of the training window by state."""
    log_likelihood: float
    """Nats per usable bar in the training window."""

    @property
    def states(self) -> int:
        return len(self.startprob)

    def filter(self, bars: pd.DataFrame, columns: pd.DataFrame | None = None) -> FilteredRegimes:
        """Filtered probabilities of ``bars``; row t uses bars up to t only, the first row starts at ``startprob``.

        Give bars from some way before the first row that matters (the start of the training window makes a month
        reproducible). A bar without a value (the first, or after a gap) moves by the transitions alone.

        Args:
            bars: consecutive bars of the model's timeframe.
            columns: the feature columns that the model uses beside its own, on the same index.
        """
        likelihood = self.log_likelihood_of(bars, columns)
        probabilities, log_density = forward_filter(self.startprob, self.transmat, likelihood)
        return FilteredRegimes(pd.DatetimeIndex(bars.index), probabilities, log_density)

    def log_likelihood_of(self, bars: pd.DataFrame, columns: pd.DataFrame | None = None) -> Floats:
        """Log density (T, K) of each bar's observation in each state; zeros where nothing was observed."""
        X = observe(bars, columns, scaling=self.scaling, timeframe=self.timeframe)
        return student_t_log_likelihood(X, self.means, self.scales, self.dfs)

    def forecast(self, bars: pd.DataFrame, filtered: FilteredRegimes) -> StudentMixture:
        """Density in percent of the bar after each one, known at ts_close: states one step ahead, scaled by the hour.

        Raises:
            ValueError: the model has no ``scaled_return``, so it says nothing about the size of returns.
        """
        if SCALED_RETURN not in self.scaling.features:
            raise ValueError(f"a regime model without {SCALED_RETURN!r} has no density for returns")
        column = self.scaling.features.index(SCALED_RETURN)
        season = self.scaling.seasonal.at(next_open(bars, self.timeframe))[:, None]
        return StudentMixture(
            filtered.probabilities @ self.transmat,
            season * self.means[:, column],
            season * self.scales[:, column],
            np.tile(self.dfs[:, column], (len(bars), 1)),
        )

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return arrays | self.scaling.to_arrays() | {"log_likelihood": np.array(self.log_likelihood)}

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file."""
        return {"timeframe": self.timeframe.name, "features": list(self.scaling.features), "states": self.states}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The model that ``config`` and ``to_arrays`` described."""
        return cls(
            timeframe=Timeframe.parse(config["timeframe"]),
            scaling=Scaling.from_arrays(tuple(config["features"]), arrays),
            log_likelihood=float(arrays["log_likelihood"]),
            **{name: np.ascontiguousarray(arrays[name]) for name in _ARRAYS},
        )


_ARRAYS = ("startprob", "transmat", "means", "scales", "dfs", "mean_returns_bps", "occupancy")


def fit_regimes(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    timeframe: Timeframe,
    states: int,
    restarts: int,
    features: tuple[str, ...],
    seed: int,
) -> RegimeModel:
    """The regime model of a training window; nothing outside ``bars`` is read.

    Args:
        bars: the window, indexed by ts_open.
        columns: features by name, on the same index, for those in ``features`` that are not computed here.
        timeframe: the length of the bars.
        states: number of regimes.
        restarts: seeded starts of EM.
        features: what the states emit; ``inputs.FEATURES`` or names in ``columns``.
        seed: of the starts.

    Raises:
        ModelFitError: no acceptable model came out; the message says why.
        MissingInputError: a feature is in neither place.
    """
    scaling = fit_scaling(bars, columns, features=features, timeframe=timeframe)
    X = observe(bars, columns, scaling=scaling, timeframe=timeframe)
    whole = np.asarray(np.isfinite(X).all(axis=1), dtype=np.bool_)
    hmm = fit_student_t_hmm(X[whole], _run_lengths(whole), states=states, restarts=restarts, seed=seed)
    startprob = _stationary(hmm.transmat_)
    likelihood = student_t_log_likelihood(X, hmm.means_, hmm.scales_, hmm.dfs_)
    filtered, log_density = forward_filter(startprob, hmm.transmat_, likelihood)
    returns = percent_returns(bars, timeframe)
    known = ~np.isnan(returns)
    occupancy = filtered[known].sum(axis=0)
    return RegimeModel(
        timeframe=timeframe,
        scaling=scaling,
        startprob=startprob,
        transmat=hmm.transmat_,
        means=hmm.means_,
        scales=hmm.scales_,
        dfs=hmm.dfs_,
        mean_returns_bps=BASIS_POINTS * (filtered[known].T @ returns[known]) / occupancy,
        occupancy=occupancy / known.sum(),
        log_likelihood=float(log_density[whole].mean()),
    )


def _run_lengths(whole: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the unbroken runs of usable rows: transitions are not counted over a hole."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], whole.astype(np.int8), [0]))))
    return (edges[1::2] - edges[::2]).astype(np.int64)


def _stationary(transmat: Floats) -> Floats:
    """Long-run state probabilities: the fitted start only says in which state the window happened to begin."""
    states = len(transmat)
    system = np.vstack((transmat.T - np.eye(states), np.ones(states)))
    solution = np.linalg.lstsq(system, np.append(np.zeros(states), 1.0), rcond=None)[0]
    clipped = np.maximum(solution, 0.0)
    return clipped / clipped.sum()
