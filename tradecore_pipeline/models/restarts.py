"""Many starts of EM: which fit is kept, what is wrong with one, and whether one from an anchor lags behind them."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.hmm_fits import converge, run_em

STICKY = 0.98
"""Initial probability of staying: random or uniform starts end in worse optima."""
MINIMUM_OCCUPANCY = 0.05
"""A state that holds less of the window describes a few bars, not a regime."""

_TRIAL_ITERATIONS = 25
_CONVERGED_STARTS = 2
_ROWS_PER_STATE = 20


class Restartable(Protocol):
    """What is asked of an hmmlearn model."""

    n_iter: Any
    tol: Any
    init_params: Any
    monitor_: Any

    def fit(self, X: ArrayLike, lengths: ArrayLike | None = None) -> Any:
        """As hmmlearn has it."""
        ...

    def score(self, X: ArrayLike, lengths: ArrayLike | None = None) -> float:
        """As hmmlearn has it."""
        ...


ModelT = TypeVar("ModelT", bound=Restartable)


def best_of_restarts(
    start: Callable[[int], ModelT],
    X: Floats,
    lengths: NDArray[np.int64],
    *,
    seeds: list[int],
    defect: Callable[[ModelT], str],
) -> ModelT:
    """The most likely of the models that began at ``seeds`` and converged without a ``defect``; the first if tied.

    Every start runs a few iterations; the most likely ones are run to convergence until two are acceptable.

    Raises:
        ModelFitError: every fit had a defect; the message is the likeliest one's.
    """

    def begin(seed: int) -> ModelT | None:
        model = start(seed)
        trouble = _trouble(lambda: run_em(model, X, lengths, iterations=_TRIAL_ITERATIONS))
        return None if trouble else model

    trials = [model for model in map(begin, seeds) if model is not None]
    trials.sort(key=lambda model: -model.monitor_.history[-1])
    accepted: list[ModelT] = []
    reasons: list[str] = []
    for model in trials:
        if reason := finish(model, X, lengths, defect=defect):
            reasons.append(reason)
        else:
            accepted.append(model)
        if len(accepted) == _CONVERGED_STARTS:
            break
    if not accepted:
        reason = reasons[0] if reasons else "no start survived its first iterations"
        raise ModelFitError(f"{reason} (the best of {len(seeds)} fits): use fewer states or a longer window")
    return max(accepted, key=lambda model: model.monitor_.history[-1])


def finish(model: ModelT, X: Floats, lengths: NDArray[np.int64], *, defect: Callable[[ModelT], str]) -> str:
    """Run EM of ``model`` to its end from where it stands; what is wrong with the result, or nothing."""
    return _trouble(lambda: converge(model, X, lengths)) or defect(model)


def cold_gain(model: ModelT, fresh: Callable[[], ModelT], X: Floats, lengths: NDArray[np.int64]) -> float:
    """By how many nats of ``X`` the ``fresh`` fit is more likely than ``model``; NaN where it is refused.

    Both were fitted on these rows, so that the difference says nothing but which optimum was found.
    """
    try:
        other = fresh()
    except ModelFitError:
        return float("nan")
    return float(other.score(X, lengths) - model.score(X, lengths))


def _trouble(em: Callable[[], float]) -> str:
    """What stopped a run of EM for good, or nothing."""
    try:
        log_likelihood = em()
    except ModelFitError as error:
        return str(error)
    return "" if np.isfinite(log_likelihood) else "the likelihood is not finite"


def dead_state(occupancy: Floats, *, minimum: float) -> str:
    """What is wrong with the state that holds least of the window, or nothing."""
    least = int(occupancy.argmin())
    if occupancy[least] >= minimum:
        return ""
    return f"state {least} of {len(occupancy)} held {occupancy[least]:.1%} of the window, under {minimum:.0%}"


def require_rows(X: Floats, *, states: int) -> None:
    """Refuse a window that is too short for so many states."""
    if len(X) < _ROWS_PER_STATE * states:
        raise ModelFitError(f"{len(X)} usable bars are too few for {states} states: lengthen the training window")


def seeds_of(seed: int, count: int) -> list[int]:
    """``count`` seeds of starts from one."""
    return [int(start) for start in np.random.SeedSequence(seed).generate_state(count)]


def sticky_transitions(states: int) -> Floats:
    """Transitions (K, K) that stay with ``STICKY``."""
    away = (1 - STICKY) / max(states - 1, 1)
    transitions = np.full((states, states), away)
    np.fill_diagonal(transitions, 1 - away * (states - 1))
    return transitions


def robust_scale(X: Floats) -> Floats:
    """Scale of each column from its quartiles, or its standard deviation where those coincide."""
    low, high = np.quantile(X, [0.25, 0.75], axis=0)
    spread = (high - low) / 1.349
    if (spread <= 0).any():
        spread = np.where(spread > 0, spread, X.std(axis=0))
    return np.maximum(spread, 1e-12)


def neighbourhood_groups(level: Floats, states: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Rows in ``states`` groups of random sizes by their neighbourhood's mean of ``level`` (T,)."""
    width = int(random.choice([1, 6, 24]))
    smooth = np.convolve(level, np.full(width, 1 / width), mode="same")
    ranks = np.argsort(np.argsort(smooth)) / len(smooth)
    cuts = np.cumsum(random.dirichlet(np.full(states, 10.0)))[:-1]
    return np.searchsorted(cuts, ranks)
