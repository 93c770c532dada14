"""What every family's fit of a training window does the same: go on from an anchor, and what follows from the chain."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradecore_pipeline.models.density import Floats

COLD_CHECKS = 2
"""Fresh starts beside the one from an anchor, to see whether it is stuck."""

_ITERATIONS = 500
_TOLERANCE = 1e-3
"""Nats of the whole window: EM stops where an iteration gains less."""
_LOOSENED = 1e-3
"""Share of an anchor's transitions that is spread evenly before EM goes on: it never revives one that came to zero."""


def run_em(model: Any, X: Floats, lengths: NDArray[np.int64], *, iterations: int) -> float:
    """Run EM of an hmmlearn model, from a start of its own where it has ``init_params``; what it raised, in nats."""
    model.n_iter = model.monitor_.n_iter = iterations
    model.tol = model.monitor_.tol = _TOLERANCE
    model.fit(X, lengths)
    return float(model.monitor_.history[-1])


def converge(model: Any, X: Floats, lengths: NDArray[np.int64]) -> float:
    """Run EM of an hmmlearn model to its end from where it stands; what it raised, in nats."""
    model.init_params = ""
    return run_em(model, X, lengths, iterations=_ITERATIONS)


def set_chain(model: Any, transmat: Floats) -> None:
    """Let EM of ``model`` begin with nearly the transitions of an anchor, in any state."""
    states = len(transmat)
    model.startprob_ = np.full(states, 1 / states)
    model.transmat_ = (1 - _LOOSENED) * transmat + _LOOSENED / states


def run_lengths(whole: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the unbroken runs of usable rows: transitions are not counted over a hole."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], whole.astype(np.int8), [0]))))
    return (edges[1::2] - edges[::2]).astype(np.int64)


def stationary(transmat: Floats) -> Floats:
    """Long-run state probabilities of a chain."""
    states = len(transmat)
    system = np.vstack((transmat.T - np.eye(states), np.ones(states)))
    solution = np.linalg.lstsq(system, np.append(np.zeros(states), 1.0), rcond=None)[0]
    clipped = np.maximum(solution, 0.0)
    return clipped / clipped.sum()
