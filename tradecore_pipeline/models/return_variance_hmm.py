"""A hidden Markov model of a bar's return and realized variance, jointly, on hmmlearn's BaseHMM."""

from typing import Any, Literal

import numpy as np
from hmmlearn.base import BaseHMM
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import FlooredChain, expectation, sequence_begins
from tradecore_pipeline.models.restarts import robust_scale, sticky_transitions
from tradecore_pipeline.models.return_variance_kernels import JointParameters, joint_log_likelihood, sums
from tradecore_pipeline.models.return_variance_step import AnchorPrior, Floors, newton_step, own_directions

FLOOR = 0.1
"""Least scale of returns, relative to their robust scale in the window; its square for variances."""

_INITIAL_DF = 8.0
_HALVINGS = 8
_ROUNDING = 1e-12
"""Relative error of a sum of log densities: a step that changes less is taken."""
_SIZE_WIDTHS = (6, 24, 96)
_RETURN_WIDTH = 24

Grouping = Literal["size", "return"]
"""What a start groups bars by: how much moves around them, or which way."""


class ReturnVarianceHMM(FlooredChain, BaseHMM):
    """Columns of X: return, realized variance, and J columns ``c`` known before the bar, which carry over into it.

    On the scale e = exp(c . carry_), in state k: the return is a Student-t and the variance an F, with one hidden
    activity of the bar in both (``return_variance_kernels`` has the density). Parameter codes: ``s`` startprob, ``t``
    transmat, ``e`` the emission: means_, return_scales_, variance_levels_, dfs_, variance_dfs_ (K,) and carry_ (J,).
    """

    means_: Floats
    return_scales_: Floats
    variance_levels_: Floats
    dfs_: Floats
    variance_dfs_: Floats
    carry_: Floats
    floors_: Floors
    n_iter: int
    tol: float
    init_params: str
    monitor_: Any
    start: Grouping
    prior: AnchorPrior | None
    _directions = staticmethod(own_directions)

    def __init__(  # noqa: PLR0913 (the arguments are hmmlearn's)
        self,
        n_components: int = 1,
        *,
        start: Grouping = "size",
        prior: AnchorPrior | None = None,
        startprob_prior: float = 1.0,
        transmat_prior: float | Floats = 1.0,
        algorithm: str = "viterbi",
        random_state: int | None = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "ste",
        init_params: str = "ste",
        implementation: str = "log",
    ) -> None:
        super().__init__(
            n_components,
            startprob_prior=startprob_prior,
            transmat_prior=transmat_prior,  # pyright: ignore[reportArgumentType] (an array by hmmlearn's docs)
            algorithm=algorithm,
            random_state=random_state,
            n_iter=n_iter,
            tol=tol,
            verbose=verbose,
            params=params,
            init_params=init_params,
            implementation=implementation,
        )
        self.start = start
        self.prior = prior

    @property
    def parameters(self) -> JointParameters:
        """The emission's parameters per state."""
        return JointParameters(self.means_, self.return_scales_, self.variance_levels_, self.dfs_, self.variance_dfs_)

    def set_emission(self, parameters: JointParameters, carry: Floats) -> None:
        """Replace the emission."""
        self.means_, self.return_scales_, self.variance_levels_, self.dfs_, self.variance_dfs_ = parameters
        self.carry_ = carry

    def _get_n_fit_scalars_per_param(self) -> dict[str, int]:
        states = self.n_components
        return {"s": states - 1, "t": states * (states - 1), "e": 5 * states + self.n_features - 2}

    def _init(self, X: Floats, lengths: ArrayLike | None = None) -> None:  # noqa: ARG002 (hmmlearn's hook)
        """Sticky transitions, and states by jittered quantiles of the neighbourhood's size or return."""
        self._check_and_set_n_features(X)
        states = self.n_components
        self.floors_ = window_floors(X)
        if self._needs_init("s", "startprob_"):
            self.startprob_ = np.full(states, 1 / states)
        if self._needs_init("t", "transmat_"):
            self.transmat_ = sticky_transitions(states)
        if self._needs_init("e", "means_"):
            random = check_random_state(self.random_state)
            group = _groups(X, states, self.start, random)
            parts = [X[group == k] for k in range(states)]
            scales = np.array([robust_scale(part[:, :1])[0] for part in parts])
            levels = np.array([np.median(part[:, 1]) for part in parts]) * np.exp(random.normal(0, 0.2, states))
            parameters = JointParameters(
                np.array([np.median(part[:, 0]) for part in parts]),
                np.maximum(scales, self.floors_.return_scale),
                np.maximum(levels, self.floors_.variance_level),
                np.full(states, _INITIAL_DF),
                np.full(states, _INITIAL_DF),
            )
            self.set_emission(parameters, np.zeros(X.shape[1] - 2))

    def _check(self) -> None:
        super()._check()
        for name, value in zip(JointParameters._fields, self.parameters, strict=True):
            if value.shape != (self.n_components,) or not np.isfinite(value).all():
                raise ValueError(f"{name}_ must be finite, one value per state")
            if name != "means" and (value <= 0).any():
                raise ValueError(f"{name}_ must be positive")
        self.n_features = 2 + len(self.carry_)
        if not hasattr(self, "floors_"):
            self.floors_ = Floors(np.finfo(np.float64).tiny, np.finfo(np.float64).tiny)

    def _compute_log_likelihood(self, X: Floats) -> Floats:
        return joint_log_likelihood(*scaled(X, self.carry_), self.parameters)[0]

    def _generate_sample_from_state(self, state: int, random_state: Any) -> Any:
        """A bar with nothing carried over into it."""
        random = check_random_state(random_state)
        nu, n = self.dfs_[state], self.variance_dfs_[state]
        activity = random.gamma(nu / 2, 2 / nu)
        variance = random.gamma(n / 2, 2 * self.variance_levels_[state] / (n * activity))
        value = self.means_[state] + self.return_scales_[state] * random.normal() / np.sqrt(activity)
        return np.concatenate(((value, variance), np.zeros(len(self.carry_))))

    def _do_estep(self, X: Floats, lengths: ArrayLike | None) -> tuple[dict[str, Any], float]:
        """The E-step of hmmlearn, by the compiled kernels; the emission's M-step needs whole rows, so keeps them."""
        rows = scaled(X, self.carry_)
        likelihood, logs = joint_log_likelihood(*rows, self.parameters)
        total, gamma, transitions = expectation(self.startprob_, self.transmat_, likelihood, lengths)
        firsts = gamma[sequence_begins(len(X), lengths)[:-1]]
        stats = {"nobs": len(firsts), "start": firsts.sum(axis=0), "trans": transitions}
        return stats | {"X": X, "rows": rows, "gamma": gamma, "logs": logs, "likelihood": likelihood}, total

    def occupancy(self, X: Floats, lengths: ArrayLike | None) -> Floats:
        """Share of the rows that each state holds (hindsight: smoothed)."""
        return self._do_estep(X, lengths)[0]["gamma"].mean(axis=0)

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        """The M-step of hmmlearn for the chain; one Newton step for the emission, halved until EM gains."""
        super()._do_mstep(stats)
        if "e" not in self.params:
            return
        X, gamma = stats["X"], stats["gamma"]
        returns, variances, _ = stats["rows"]
        carried = np.ascontiguousarray(X[:, 2:])
        moments, levels, rows = sums(returns, variances, carried, gamma, stats["logs"], self.parameters)
        step = newton_step(
            self.parameters,
            self.carry_,
            basis=self._directions(self.n_components, len(self.carry_)),
            moments=moments,
            levels=levels,
            curvature=(carried * rows[:, None]).T @ carried,
            floors=self.floors_,
            prior=self.prior,
        )
        before = np.vdot(gamma, stats["likelihood"]) + self._log_prior(self.parameters)
        least = before - _ROUNDING * abs(before)
        for halving in range(_HALVINGS):
            parameters, carry = step.taken(0.5**halving)
            after = np.vdot(gamma, joint_log_likelihood(*scaled(X, carry), parameters)[0])
            if after + self._log_prior(parameters) >= least:
                self.set_emission(parameters, carry)
                return

    def _log_prior(self, parameters: JointParameters) -> float:
        return 0.0 if self.prior is None else self.prior.log_density(parameters)

    def _compute_lower_bound(self, curr_logprob: float) -> float:
        """What EM raises: the log-likelihood and the log densities of the priors (up to constants)."""
        counts = np.broadcast_to(np.asarray(self.transmat_prior, dtype=np.float64) - 1, self.transmat_.shape)
        chain = (counts * np.log(np.maximum(self.transmat_, 1e-300))).sum()
        return curr_logprob + float(chain) + self._log_prior(self.parameters)


def scaled(X: Floats, carry: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns and variances over the scale that is carried into their bars, and its log."""
    log_scale = X[:, 2:] @ carry
    root = np.exp(-0.5 * log_scale)
    return X[:, 0] * root, X[:, 1] * root * root, log_scale


def window_floors(X: Floats) -> Floors:
    """The floors of a training window."""
    return Floors(FLOOR * float(robust_scale(X[:, :1])[0]), FLOOR**2 * float(np.median(X[:, 1])))


def _groups(X: Floats, states: int, start: Grouping, random: np.random.RandomState) -> NDArray[np.int64]:
    """Rows in ``states`` groups of similar size, by their neighbourhood's log variance or return."""
    values = X[:, 0] if start == "return" else np.log(X[:, 1])
    width = _RETURN_WIDTH if start == "return" else int(random.choice(_SIZE_WIDTHS))
    smooth = np.convolve(values - values.mean(), np.full(width, 1 / width), mode="same")
    ranks = np.argsort(np.argsort(smooth)) / len(smooth)
    cuts = np.cumsum(random.dirichlet(np.full(states, 10.0)))[:-1]
    return np.searchsorted(cuts, ranks)
