"""A hidden Markov model with Student-t emissions on hmmlearn's BaseHMM, whose API, priors and M-step it keeps."""

from typing import Any

import numpy as np
from hmmlearn.base import BaseHMM
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, Floats, mean_absolute_deviation
from tradecore_pipeline.models.kernels import CompiledSteps, StudentTDistribution, solve_dfs
from tradecore_pipeline.models.restarts import (
    MINIMUM_OCCUPANCY,
    best_of_restarts,
    dead_state,
    neighbourhood_groups,
    require_rows,
    robust_scale,
    seeds_of,
    sticky_transitions,
)

SCALE_FLOOR = 0.1
"""Least scale of a state, relative to the feature's robust scale: repeated values must not make a spike."""

_INITIAL_DF = 8.0


class StudentTHMM(CompiledSteps, BaseHMM):
    """Independent Student-t emissions per feature, fitted by EM (ECM for the degrees of freedom).

    Independent rather than multivariate t: each feature has its own tails, and the marginal density of one feature
    (the return) stays a plain mixture. Parameter codes: ``s`` startprob, ``t`` transmat, ``m`` means_, ``c`` scales_,
    ``d`` dfs_; the last three are (n_components, n_features).
    """

    means_: Floats
    scales_: Floats
    dfs_: Floats
    floor_: Floats

    def __init__(  # noqa: PLR0913 (the arguments are hmmlearn's)
        self,
        n_components: int = 1,
        *,
        startprob_prior: float = 1.0,
        transmat_prior: float = 1.0,
        algorithm: str = "viterbi",
        random_state: int | None = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "stmcd",
        init_params: str = "stmcd",
        implementation: str = "log",
    ) -> None:
        super().__init__(
            n_components,
            startprob_prior=startprob_prior,
            transmat_prior=transmat_prior,
            algorithm=algorithm,
            random_state=random_state,
            n_iter=n_iter,
            tol=tol,
            verbose=verbose,
            params=params,
            init_params=init_params,
            implementation=implementation,
        )

    def _get_n_fit_scalars_per_param(self) -> dict[str, int]:
        states, emissions = self.n_components, self.n_components * self.n_features
        return {"s": states - 1, "t": states * (states - 1), "m": emissions, "c": emissions, "d": emissions}

    def _init(self, X: Floats, lengths: ArrayLike | None = None) -> None:  # noqa: ARG002 (hmmlearn's hook)
        """Sticky transitions; states by jittered quantiles of the first feature's absolute size, locally smoothed."""
        self._check_and_set_n_features(X)
        random = check_random_state(self.random_state)
        states = self.n_components
        scale = robust_scale(X)
        self.floor_ = SCALE_FLOOR * scale
        if self._needs_init("s", "startprob_"):
            self.startprob_ = np.full(states, 1 / states)
        if self._needs_init("t", "transmat_"):
            self.transmat_ = sticky_transitions(states)
        if self._needs_init("d", "dfs_"):
            self.dfs_ = np.full((states, X.shape[1]), _INITIAL_DF)
        moves, spreads = self._needs_init("m", "means_"), self._needs_init("c", "scales_")
        if not (moves or spreads):
            return
        groups = neighbourhood_groups(np.abs(X[:, 0] - np.median(X[:, 0])), states, random)
        jitter = np.exp(random.normal(0, 0.2, (states, X.shape[1])))
        if moves:
            spread = 0.1 * scale * random.normal(size=(states, X.shape[1]))
            self.means_ = np.stack([np.median(X[groups == k], axis=0) for k in range(states)]) + spread
        if spreads:
            scales = np.stack([robust_scale(X[groups == k]) for k in range(states)])
            self.scales_ = np.maximum(scales * jitter, self.floor_)

    def _check(self) -> None:
        super()._check()
        for name in ("means_", "scales_", "dfs_"):
            value = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if value.shape[0] != self.n_components or not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite, one row per state")
            setattr(self, name, value)
        self.n_features = self.means_.shape[1]
        if not hasattr(self, "floor_"):
            self.floor_ = np.zeros(self.n_features)
        if (self.scales_ <= 0).any() or (self.dfs_ <= 0).any():
            raise ValueError("scales_ and dfs_ must be positive")

    def _emission(self) -> StudentTDistribution:
        return StudentTDistribution(means=self.means_, scales=self.scales_, dfs=self.dfs_)

    def _generate_sample_from_state(self, state: int, random_state: Any) -> Any:
        noise = check_random_state(random_state).standard_t(self.dfs_[state])
        return self.means_[state] + self.scales_[state] * noise

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        super()._do_mstep(stats)
        weight, first, second, log_weight = stats["moments"]
        post = np.maximum(stats["post"], 1e-10)[:, None]
        shift = first / np.maximum(weight, 1e-10)
        if "d" in self.params:
            self.dfs_ = solve_dfs(1 + log_weight / post, self.dfs_, DF_FLOOR, DF_CAP)
        if "m" in self.params:
            self.means_ = self.means_ + shift
        if "c" in self.params:
            moved = shift if "m" in self.params else np.zeros_like(shift)
            variance = (second - 2 * moved * first + moved**2 * weight) / post
            self.scales_ = np.maximum(np.sqrt(np.maximum(variance, 0)), self.floor_)


def fit_student_t_hmm(X: Floats, lengths: NDArray[np.int64], *, states: int, restarts: int, seed: int) -> StudentTHMM:
    """The best of ``restarts`` seeded starts, its states in order of the first feature's scale.

    Args:
        X: observations (T, D), without NaN.
        lengths: of the unbroken sequences in ``X``.
        states: number of states.
        restarts: seeded starts of EM.
        seed: of the starts.

    Raises:
        ModelFitError: in every fit some state held less than ``MINIMUM_OCCUPANCY`` of the window.
    """
    require_rows(X, states=states)
    best = best_of_restarts(
        lambda start: StudentTHMM(states, random_state=start),
        X,
        lengths,
        seeds=seeds_of(seed, restarts),
        defect=lambda model: student_t_defect(model, X, lengths),
    )
    return _in_order_of_scale(best)


def student_t_defect(model: StudentTHMM, X: Floats, lengths: NDArray[np.int64]) -> str:
    """What is wrong with a fit: a state nearly empty; or nothing."""
    return dead_state(model.occupancy(X, lengths), minimum=MINIMUM_OCCUPANCY)


def _in_order_of_scale(model: StudentTHMM) -> StudentTHMM:
    order = np.argsort(mean_absolute_deviation(model.scales_[:, 0], model.dfs_[:, 0]))
    model.startprob_ = model.startprob_[order]
    model.transmat_ = model.transmat_[np.ix_(order, order)]
    model.means_, model.scales_, model.dfs_ = model.means_[order], model.scales_[order], model.dfs_[order]
    return model
