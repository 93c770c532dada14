"""A hidden Markov model with Student-t emissions on hmmlearn's BaseHMM, whose API, priors and M-step it keeps."""

import itertools
from typing import Any

import numpy as np
from hmmlearn.base import BaseHMM
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma
from sklearn.utils import check_random_state

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, Floats, mean_absolute_deviation
from tradecore_pipeline.models.kernels import expectation, student_t_log_likelihood, student_t_statistics

STICKY = 0.98
"""Initial probability of staying: random or uniform starts end in worse optima."""
MINIMUM_OCCUPANCY = 0.05
"""A state that holds less of the window describes a few bars, not a regime."""
SCALE_FLOOR = 0.1
"""Least scale of a state, relative to the feature's robust scale: repeated values must not make a spike."""

_TRIAL_ITERATIONS = 25
_ITERATIONS = 500
_TOLERANCE = 1e-3
_CONVERGED_STARTS = 2
_INITIAL_DF = 8.0


class StudentTHMM(BaseHMM):
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
        self.floor_ = SCALE_FLOOR * _robust_scale(X)
        if self._needs_init("s", "startprob_"):
            self.startprob_ = np.full(states, 1 / states)
        if self._needs_init("t", "transmat_"):
            away = (1 - STICKY) / max(states - 1, 1)
            self.transmat_ = np.full((states, states), away)
            np.fill_diagonal(self.transmat_, 1 - away * (states - 1))
        groups = _size_groups(X, states, random)
        jitter = np.exp(random.normal(0, 0.2, (states, X.shape[1])))
        if self._needs_init("m", "means_"):
            spread = 0.1 * _robust_scale(X) * random.normal(size=(states, X.shape[1]))
            self.means_ = np.stack([np.median(X[groups == k], axis=0) for k in range(states)]) + spread
        if self._needs_init("c", "scales_"):
            scales = np.stack([_robust_scale(X[groups == k]) for k in range(states)])
            self.scales_ = np.maximum(scales * jitter, self.floor_)
        if self._needs_init("d", "dfs_"):
            self.dfs_ = np.full((states, X.shape[1]), _INITIAL_DF)

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

    def _compute_log_likelihood(self, X: Floats) -> Floats:
        return student_t_log_likelihood(np.ascontiguousarray(X), self.means_, self.scales_, self.dfs_)

    def _generate_sample_from_state(self, state: int, random_state: Any) -> Any:
        noise = check_random_state(random_state).standard_t(self.dfs_[state])
        return self.means_[state] + self.scales_[state] * noise

    def _initialize_sufficient_statistics(self) -> dict[str, Any]:
        stats: dict[str, Any] = super()._initialize_sufficient_statistics()
        stats["post"] = np.zeros(self.n_components)
        stats["emission"] = np.zeros((4, self.n_components, self.n_features))
        return stats

    def _do_estep(self, X: Floats, lengths: ArrayLike | None) -> tuple[dict[str, Any], float]:
        """The E-step of hmmlearn, by the compiled kernels."""
        stats = self._initialize_sufficient_statistics()
        total = 0.0
        bounds = np.cumsum([0, *np.atleast_1d(len(X) if lengths is None else lengths)])
        for start, stop in itertools.pairwise(bounds.tolist()):
            part = np.ascontiguousarray(X[start:stop])
            log_density, gamma, transitions = expectation(
                self.startprob_, self.transmat_, self._compute_log_likelihood(part)
            )
            total += log_density
            stats["nobs"] += 1
            stats["start"] += gamma[0]
            stats["trans"] += transitions
            stats["post"] += gamma.sum(axis=0)
            stats["emission"] += student_t_statistics(part, gamma, self.means_, self.scales_, self.dfs_)
        return stats, total

    def occupancy(self, X: Floats, lengths: ArrayLike | None) -> Floats:
        """Share of the rows that each state holds (hindsight: smoothed)."""
        stats, _ = self._do_estep(X, lengths)
        return stats["post"] / len(X)

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        super()._do_mstep(stats)
        weight, first, second, log_weight = stats["emission"]
        post = np.maximum(stats["post"], 1e-10)[:, None]
        shift = first / np.maximum(weight, 1e-10)
        if "d" in self.params:
            self.dfs_ = _solve_df(1 + log_weight / post, self.dfs_)
        if "m" in self.params:
            self.means_ = self.means_ + shift
        if "c" in self.params:
            moved = shift if "m" in self.params else np.zeros_like(shift)
            variance = (second - 2 * moved * first + moved**2 * weight) / post
            self.scales_ = np.maximum(np.sqrt(np.maximum(variance, 0)), self.floor_)


def fit_student_t_hmm(X: Floats, lengths: NDArray[np.int64], *, states: int, restarts: int, seed: int) -> StudentTHMM:
    """The best of ``restarts`` seeded starts, its states in order of the first feature's scale.

    Every start runs a few iterations; the most likely ones are run to convergence until enough are acceptable.

    Raises:
        ModelFitError: in every fit some state held less than ``MINIMUM_OCCUPANCY`` of the window.
    """
    if len(X) < 20 * states:
        raise ModelFitError(f"{len(X)} usable bars are too few for {states} states: lengthen the training window")
    seeds = np.random.SeedSequence(seed).generate_state(restarts)
    trials = [_trial(X, lengths, states=states, seed=int(start)) for start in seeds]
    trials.sort(key=lambda model: -model.monitor_.history[-1])
    accepted: list[StudentTHMM] = []
    for model in trials:
        _converge(model, X, lengths)
        if model.occupancy(X, lengths).min() >= MINIMUM_OCCUPANCY:
            accepted.append(model)
        if len(accepted) == _CONVERGED_STARTS:
            break
    if not accepted:
        raise ModelFitError(
            f"in each of {restarts} fits one of {states} states held under {MINIMUM_OCCUPANCY:.0%} of the window: "
            "use fewer states or a longer window"
        )
    best = max(accepted, key=lambda model: model.monitor_.history[-1])
    return _in_order_of_scale(best)


def _trial(X: Floats, lengths: NDArray[np.int64], *, states: int, seed: int) -> StudentTHMM:
    model = StudentTHMM(states, random_state=seed, n_iter=_TRIAL_ITERATIONS, tol=_TOLERANCE)
    model.fit(X, lengths)
    return model


def _converge(model: StudentTHMM, X: Floats, lengths: NDArray[np.int64]) -> None:
    model.init_params = ""
    model.n_iter = model.monitor_.n_iter = _ITERATIONS
    model.fit(X, lengths)


def _in_order_of_scale(model: StudentTHMM) -> StudentTHMM:
    order = np.argsort(mean_absolute_deviation(model.scales_[:, 0], model.dfs_[:, 0]))
    model.startprob_ = model.startprob_[order]
    model.transmat_ = model.transmat_[np.ix_(order, order)]
    model.means_, model.scales_, model.dfs_ = model.means_[order], model.scales_[order], model.dfs_[order]
    return model


def _robust_scale(X: Floats) -> Floats:
    """Scale of each column from its quartiles, or its standard deviation where those coincide."""
    low, high = np.quantile(X, [0.25, 0.75], axis=0)
    spread = (high - low) / 1.349
    return np.maximum(np.where(spread > 0, spread, X.std(axis=0)), 1e-12)


def _size_groups(X: Floats, states: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Rows in ``states`` groups by their neighbourhood's absolute size in the first feature."""
    size = np.abs(X[:, 0] - np.median(X[:, 0]))
    width = int(random.choice([1, 6, 24]))
    smooth = np.convolve(size, np.full(width, 1 / width), mode="same")
    ranks = np.argsort(np.argsort(smooth)) / len(smooth)
    cuts = np.cumsum(random.dirichlet(np.full(states, 10.0)))[:-1]
    return np.searchsorted(cuts, ranks)


def _solve_df(constant: Floats, df: Floats) -> Floats:
    """Degrees of freedom from the ECM condition, by bisection on the log scale between the floor and the cap."""
    level = constant + digamma((df + 1) / 2) - np.log((df + 1) / 2)
    low, high = np.full_like(df, np.log(DF_FLOOR)), np.full_like(df, np.log(DF_CAP))
    for _ in range(40):
        middle = (low + high) / 2
        half = np.exp(middle) / 2
        rising = np.log(half) - digamma(half) + level > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.exp((low + high) / 2)
