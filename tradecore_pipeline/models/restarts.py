"""Many starts of EM, on threads if wanted: the compiled steps hold no lock, and no result depends on the threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats

STICKY = 0.98
"""Initial probability of staying: random or uniform starts end in worse optima."""
MINIMUM_OCCUPANCY = 0.05
"""A state that holds less of the window describes a few bars, not a regime."""

_TRIAL_ITERATIONS = 25
_ITERATIONS = 500
_TOLERANCE = 1e-3
"""Nats of the whole window: EM stops where an iteration gains less."""
_CONVERGED_STARTS = 2
_ROWS_PER_STATE = 20

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class Restartable(Protocol):
    """What is asked of an hmmlearn model."""

    n_iter: Any
    tol: Any
    init_params: Any
    monitor_: Any

    def fit(self, X: ArrayLike, lengths: ArrayLike | None = None) -> Any:
        """As hmmlearn has it."""
        ...


ModelT = TypeVar("ModelT", bound=Restartable)


def run_restarts(job: Callable[[JobT], ResultT], starts: Iterable[JobT], *, workers: int) -> list[ResultT]:
    """``job`` of each start, in their order, on ``workers`` threads; a job's error is raised here."""
    if workers == 1:
        return [job(start) for start in starts]
    with ThreadPoolExecutor(workers, thread_name_prefix="restart") as pool:
        return list(pool.map(job, starts))


def best_of_restarts(
    start: Callable[[int], ModelT],
    X: Floats,
    lengths: NDArray[np.int64],
    *,
    seeds: list[int],
    workers: int,
    defect: Callable[[ModelT], str],
) -> ModelT:
    """The most likely of the models that began at ``seeds`` and converged without a ``defect``; the first if tied.

    Every start runs a few iterations; the most likely ones are run to convergence until two are acceptable. Which
    ones these are does not depend on ``workers``.

    Raises:
        ModelFitError: every fit had a defect; the message is the likeliest one's.
    """

    def begin(seed: int) -> ModelT | None:
        model = start(seed)
        return model if not _run(model, X, lengths, iterations=_TRIAL_ITERATIONS) else None

    def finish(model: ModelT) -> tuple[ModelT, str]:
        model.init_params = ""
        return model, _run(model, X, lengths, iterations=_ITERATIONS) or defect(model)

    trials = [model for model in run_restarts(begin, seeds, workers=workers) if model is not None]
    trials.sort(key=lambda model: -model.monitor_.history[-1])
    accepted: list[ModelT] = []
    reasons: list[str] = []
    while trials and len(accepted) < _CONVERGED_STARTS:
        wanted = _CONVERGED_STARTS - len(accepted)
        wave, trials = trials[:wanted], trials[wanted:]
        for model, reason in run_restarts(finish, wave, workers=workers):
            if reason:
                reasons.append(reason)
            else:
                accepted.append(model)
    if not accepted:
        reason = reasons[0] if reasons else "no start survived its first iterations"
        raise ModelFitError(f"{reason} (the best of {len(seeds)} fits): use fewer states or a longer window")
    return max(accepted, key=lambda model: model.monitor_.history[-1])


def _run(model: Restartable, X: Floats, lengths: NDArray[np.int64], *, iterations: int) -> str:
    """EM from where ``model`` stands; what stopped it for good, or nothing."""
    model.n_iter = model.monitor_.n_iter = iterations
    model.tol = model.monitor_.tol = _TOLERANCE
    try:
        model.fit(X, lengths)
    except ModelFitError as error:
        return str(error)
    return "" if np.isfinite(model.monitor_.history[-1]) else "the likelihood is not finite"


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
    return np.maximum(np.where(spread > 0, spread, X.std(axis=0)), 1e-12)


def neighbourhood_groups(level: Floats, states: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Rows in ``states`` groups of random sizes by their neighbourhood's mean of ``level`` (T,)."""
    width = int(random.choice([1, 6, 24]))
    smooth = np.convolve(level, np.full(width, 1 / width), mode="same")
    ranks = np.argsort(np.argsort(smooth)) / len(smooth)
    cuts = np.cumsum(random.dirichlet(np.full(states, 10.0)))[:-1]
    return np.searchsorted(cuts, ranks)
