"""hmmlearn's Gaussian HMM, its M-step, priors and parameters kept, with a compiled E-step, sticky starts and floors."""

from typing import Any

import numpy as np
from hmmlearn import hmm
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import CompiledSteps, GaussianDistribution, precision_factors
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

VARIANCE_FLOOR = 0.01
"""Least variance of a state, relative to the square of the feature's robust scale."""
MAXIMUM_CONDITION = 1e6
"""Largest condition number of a state's covariance, in units of the features' scales."""
CLIP = 8.0
"""Observations count as at most so many scales from the median in a fit."""
NO_PRIOR = 0.0
"""hmmlearn's prior on covariances has the unit of the features squared; the floors stand in for it."""

_TAIL, _TAIL_NORMAL = 0.975, 2.2414
"""The scale that clips is this quantile of the distance from the median: a state of 5% of the rows is not clipped."""
_START_BY_SIZE = 0.75
"""Share of starts whose states differ by scale, which is what markets' states do; the others' differ by mean."""
_START_STRETCHES, _STRETCH_ROWS = 20, 1000
"""Starts are found on that many stretches of a longer window: sorting millions of rows costs more than an E-step."""


class GaussianHMM(CompiledSteps, hmm.GaussianHMM):
    """``hmmlearn.hmm.GaussianHMM`` with ``covariance_type`` "diag" or "full".

    The same parameters, priors and M-step; the E-step, scores and smoother are compiled. What differs: starts are
    sticky and seeded by groups of rows (k-means takes longer than the fit, and random transitions find worse optima),
    and variances have a floor relative to the feature (``min_covar`` holds nowhere). Sums are taken about a centre in
    the middle of the states, so that a large mean cancels nothing.
    """

    means_: Floats
    _covars_: Floats
    floor_: Floats

    def _init(self, X: Floats, lengths: ArrayLike | None = None) -> None:  # noqa: ARG002 (hmmlearn's hook)
        self._require_compiled()
        self._check_and_set_n_features(X)
        random = check_random_state(self.random_state)
        states = self.n_components
        sample = _stretches(X)
        scale = robust_scale(sample)
        self.floor_ = VARIANCE_FLOOR * scale**2
        if self._needs_init("s", "startprob_"):
            self.startprob_ = np.full(states, 1 / states)
        if self._needs_init("t", "transmat_"):
            self.transmat_ = sticky_transitions(states)
        moves, spreads = self._needs_init("m", "means_"), self._needs_init("c", "_covars_")
        if not (moves or spreads):
            return
        groups = neighbourhood_groups(
            _start_level((sample - np.median(sample, axis=0)) / scale, random), states, random
        )
        parts = [sample[groups == k] for k in range(states)]
        if moves:
            spread = 0.1 * scale * random.normal(size=(states, X.shape[1]))
            self.means_ = np.stack([part.mean(axis=0) for part in parts]) + spread
        if spreads:
            self.covars_ = self._starting_covariances(sample, parts)

    def _starting_covariances(self, sample: Floats, parts: list[Floats]) -> Floats:
        """Half each group's own and half that of all, so that a small group's is not singular."""
        whole = sample.var(axis=0)
        if self.covariance_type == "diag":
            own = np.stack([part.var(axis=0) for part in parts])
            return np.maximum(0.5 * own + 0.5 * whole, self.floor_)
        joint = np.atleast_2d(np.cov(sample.T)) + np.diag(self.floor_)
        return np.stack([0.5 * np.atleast_2d(np.cov(part.T, ddof=0)) + 0.5 * joint for part in parts])

    def _check(self) -> None:
        self._require_compiled()
        super()._check()

    def _require_compiled(self) -> None:
        if self.covariance_type not in ("diag", "full"):
            raise ValueError(f"covariance_type {self.covariance_type!r} is not compiled: use 'diag' or 'full'")

    def _emission(self) -> GaussianDistribution:
        factors = precision_factors(self._covars_)
        return GaussianDistribution(means=np.asarray(self.means_), precision_factors=factors, centre=self._centre())

    def _centre(self) -> Floats:
        """What sums are taken about: the middle of the states."""
        return np.asarray(self.means_).mean(axis=0)

    def _do_estep(self, X: Floats, lengths: ArrayLike | None) -> tuple[dict[str, Any], float]:
        stats, total = super()._do_estep(X, lengths)
        first, second = stats.pop("first"), stats.pop("second")
        stats["centre"] = self._centre()
        if self.covariance_type == "diag":
            return stats | {"obs": first, "obs**2": second}, total
        squares = np.empty((self.n_components, self.n_features, self.n_features))
        row, column = np.tril_indices(self.n_features)
        squares[:, row, column] = squares[:, column, row] = second
        return stats | {"obs": first, "obs*obs.T": squares}, total

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        """hmmlearn's, in coordinates about the centre that the sums were taken about."""
        centre, prior, means = stats["centre"], self.means_prior, self.means_
        self.means_prior, self.means_ = prior - centre, means - centre
        try:
            super()._do_mstep(stats)
        finally:
            self.means_prior = prior
        self.means_ = self.means_ + centre if "m" in self.params else means
        if "c" in self.params:
            self._hold_floor()

    def _hold_floor(self) -> None:
        if self.covariance_type == "diag":
            self._covars_ = np.maximum(self._covars_, self.floor_)
            return
        diagonal = np.einsum("kii->ki", self._covars_)
        diagonal[:] = np.maximum(diagonal, self.floor_)

    def condition_numbers(self, scale: Floats) -> Floats:
        """Of each state's covariance (K,), in units of the features' ``scale`` (D,)."""
        return np.linalg.cond(np.asarray(self.covars_) / np.outer(scale, scale))


def fit_gaussian_hmm(
    X: Floats,
    lengths: NDArray[np.int64],
    *,
    states: int,
    covariance: str,
    restarts: int,
    seed: int,
) -> GaussianHMM:
    """The best of ``restarts`` seeded starts, its states in order of the first feature's variance.

    Rows far out are pulled in to ``CLIP`` scales for the fit (one bar of 80 sigma would take a state for itself); the
    model then judges rows as they are.

    Args:
        X: observations (T, D), without NaN.
        lengths: of the unbroken sequences in ``X``.
        states: number of states.
        covariance: "diag" or "full".
        restarts: seeded starts of EM.
        seed: of the starts.

    Raises:
        ModelFitError: in every fit some state held less than ``MINIMUM_OCCUPANCY`` of the window, or had a covariance
            with a condition number over ``MAXIMUM_CONDITION``; the message names the state.
    """
    require_rows(X, states=states)
    clipped = clip_outliers(X)
    best = best_of_restarts(
        lambda start: GaussianHMM(states, covariance, random_state=start, covars_prior=NO_PRIOR),
        clipped,
        lengths,
        seeds=seeds_of(seed, restarts),
        defect=lambda model: gaussian_defect(model, clipped, lengths),
    )
    return _in_order_of_variance(best)


def gaussian_defect(model: GaussianHMM, clipped: Floats, lengths: NDArray[np.int64]) -> str:
    """What is wrong with a fit of rows that ``clip_outliers`` gave: a state nearly flat or nearly empty; or nothing."""
    worst = model.condition_numbers(robust_scale(clipped))
    if worst.max() > MAXIMUM_CONDITION:
        state = f"state {int(worst.argmax())} of {model.n_components}"
        return f"{state} has a covariance of condition number {worst.max():.0e}"
    return dead_state(model.occupancy(clipped, lengths), minimum=MINIMUM_OCCUPANCY)


def clip_outliers(X: Floats) -> Floats:
    """Each column within ``CLIP`` scales of its median, where the scale is that of the outer 2.5% of rows."""
    middle = np.median(X, axis=0)
    scale = np.quantile(np.abs(X - middle), _TAIL, axis=0) / _TAIL_NORMAL
    reach = CLIP * np.where(scale > 0, scale, np.inf)
    return np.clip(X, middle - reach, middle + reach)


def _in_order_of_variance(model: GaussianHMM) -> GaussianHMM:
    covars: Floats = np.asarray(model.covars_)
    order = np.argsort(covars[:, 0, 0])
    model.startprob_ = model.startprob_[order]
    model.transmat_ = model.transmat_[np.ix_(order, order)]
    model.means_, covars = model.means_[order], covars[order]
    model.covars_ = np.einsum("kii->ki", covars) if model.covariance_type == "diag" else covars
    return model


def _start_level(away: Floats, random: np.random.RandomState) -> Floats:
    """By what rows are grouped at a start: most often their size over all features, or one feature's sign and size."""
    if random.rand() < _START_BY_SIZE:
        return np.sqrt((away**2 * random.dirichlet(np.ones(away.shape[1]))).sum(axis=1))
    return away[:, random.randint(away.shape[1])]


def _stretches(X: Floats) -> Floats:
    """All of a short window; of a long one, unbroken stretches evenly spread."""
    if len(X) <= _START_STRETCHES * _STRETCH_ROWS:
        return X
    starts = np.linspace(0, len(X) - _STRETCH_ROWS, _START_STRETCHES).astype(np.int64)
    return X[(starts[:, None] + np.arange(_STRETCH_ROWS)).ravel()]
