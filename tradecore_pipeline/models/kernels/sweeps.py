"""The E-step of EM over many sequences, block by block: from observations to the sums that an M-step needs."""

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.recursions import (
    BLOCK_ROWS,
    backward,
    forward,
    likelihoods,
    smooth,
)


class Emission(Protocol):
    """What the states emit; ``sums`` grows by each block of rows that is accumulated."""

    states: int
    block_rows: int
    sums: dict[str, Any]

    def log_densities(self, X: Floats, out: Floats) -> None:
        """Log densities of the rows of ``X`` into the first columns of ``out`` (K, B)."""

    def accumulate(self, X: Floats, gamma: Floats, *, again: bool) -> None:
        """Adds the rows of ``X``, weighted by the first columns of ``gamma`` (K, B), to ``sums``.

        ``again``: the last call of ``log_densities`` was for the same rows.
        """


@dataclass(slots=True)
class Workspace:
    """The lattices of an E-step, kept from one to the next: asking for fresh memory costs as much as filling it.

    Likelihoods and probabilities take 16 bytes per row and state between them.
    """

    likelihood: Floats
    probability: Floats

    @classmethod
    def suiting(cls, kept: "Workspace | None", emission: Emission, *, rows: int) -> "Workspace":
        """``kept`` if it has the right shape, else a new one."""
        width = min(emission.block_rows, rows)
        shape = (-(-rows // width), emission.states, width)
        if kept is not None and kept.likelihood.shape == shape:
            return kept
        return cls(np.empty(shape), np.empty(shape))


def sweep(
    emission: Emission, startprob: Floats, transmat: Floats, X: Floats, *, begins: NDArray[np.bool_], space: Workspace
) -> tuple[float, dict[str, Any]]:
    """Total log-likelihood, and the sums ``start``, ``trans``, ``post`` and the emission's over all of ``X``.

    Args:
        emission: what the states emit, with sums of zero.
        startprob: (K,).
        transmat: (K, K).
        X: rows (T, D) of all sequences.
        begins: (T + 1,), true where a sequence begins, and at the end.
        space: of ``Workspace.suiting`` these sizes.
    """
    total = _forward(emission, startprob, transmat, X, begins=begins, space=space)
    states, width = space.likelihood.shape[1:]
    zeros, onward, ahead = (0.0,) * states, np.ones(states), np.empty((states, width))
    transitions, start, post = np.zeros((states, states)), np.zeros(states), np.zeros(states)
    last = len(space.likelihood) - 1
    for number in range(last, -1, -1):
        part, edges = _block(number, X, begins, space)
        rows, gamma = len(part), space.probability[number]
        backward(zeros, rows, edges, transmat, space.likelihood[number], gamma, onward, ahead)
        smooth(zeros, rows, transmat, gamma, ahead, transitions, post)
        emission.accumulate(part, gamma, again=number == last)
        start += gamma[:, np.flatnonzero(edges[:rows])].sum(axis=1)
    return total, {"start": start, "trans": transitions * transmat, "post": post, **emission.sums}


def _forward(
    emission: Emission, startprob: Floats, transmat: Floats, X: Floats, *, begins: NDArray[np.bool_], space: Workspace
) -> float:
    states, width = space.likelihood.shape[1:]
    zeros, carried = (0.0,) * states, np.ones(states)
    shifted, shift, totals = np.zeros((states, width)), np.empty(width), np.ones(width + 1)
    total = 0.0
    for number, likelihood in enumerate(space.likelihood):
        part, edges = _block(number, X, begins, space)
        rows = len(part)
        emission.log_densities(part, shifted)
        likelihoods(zeros, rows, shifted, shifted, shift, likelihood)
        forward(
            zeros, rows, edges, startprob, transmat, shifted, likelihood, space.probability[number], shift, totals,
            carried,
        )  # fmt: skip
        # The totals of rows between cancel: what remains are those of the sequences' last rows.
        total += float(shift[:rows].sum() + np.log(totals[1:][np.flatnonzero(edges[1:])]).sum())
        totals[0] = totals[rows]
    return total


def _block(number: int, X: Floats, begins: NDArray[np.bool_], space: Workspace) -> tuple[Floats, NDArray[np.bool_]]:
    first = number * space.likelihood.shape[2]
    part = X[first : first + space.likelihood.shape[2]]
    return part, begins[first : first + len(part) + 1]


def sequence_begins(rows: int, lengths: ArrayLike | None) -> NDArray[np.bool_]:
    """(rows + 1,), true where a sequence begins, and at the end.

    Raises:
        ValueError: the lengths do not add up to the rows.
    """
    edges = np.cumsum(np.concatenate(([0], [rows] if lengths is None else np.atleast_1d(lengths))))
    if edges[-1] != rows or (np.diff(edges) <= 0).any():
        raise ValueError(f"lengths add up to {edges[-1]} rows of {rows}, or one of them is not positive")
    begins = np.zeros(rows + 1, dtype=np.bool_)
    begins[edges] = True
    return begins


def split_lengths(rows: int, lengths: ArrayLike | None) -> list[slice]:
    """The rows of each sequence."""
    edges = np.flatnonzero(sequence_begins(rows, lengths)).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def log_likelihood(emission: Emission, X: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) in each state."""
    width = min(emission.block_rows, max(len(X), 1))
    block = np.zeros((emission.states, width))
    result = np.empty((len(X), emission.states))
    for first in range(0, len(X), width):
        part = result[first : first + width]
        emission.log_densities(np.ascontiguousarray(X[first : first + width]), block)
        part[:] = block[:, : len(part)].T
    return result


def forward_filter(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[Floats, Floats]:
    """Filtered probabilities (T, K), row t given rows up to t, and log density (T,) of each row given those before it.

    A row of zeros in ``log_likelihood`` is a bar that says nothing: only the transition happens.
    """
    states, width = len(startprob), min(BLOCK_ROWS, len(log_likelihood))
    zeros, carried = (0.0,) * states, np.ones(states)
    begins = sequence_begins(len(log_likelihood), None)
    shifted, likelihood, probability = (np.zeros((states, width)) for _ in range(3))
    totals = np.ones(width + 1)  # row t's is at t + 1, and the row before the block's at 0
    filtered, log_density = np.empty((len(log_likelihood), states)), np.empty(len(log_likelihood))
    for first in range(0, len(log_likelihood), width):
        shift = log_density[first : first + width]
        rows = len(shift)
        likelihoods(zeros, rows, log_likelihood[first : first + rows].T, shifted, shift, likelihood)
        forward(
            zeros, rows, begins[first:], startprob, transmat, shifted, likelihood, probability, shift, totals,
            carried,
        )  # fmt: skip
        logs = np.log(totals[: rows + 1])
        shift += np.diff(logs)
        filtered[first : first + rows] = probability[:, :rows].T
        totals[0] = totals[rows]
    return filtered, log_density


def expectation(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[float, Floats, Floats]:
    """The E-step: total log-likelihood, smoothed probabilities (T, K) and summed transition probabilities (K, K)."""
    emission = _Given(log_likelihood)
    space = Workspace.suiting(None, emission, rows=len(log_likelihood))
    begins = sequence_begins(len(log_likelihood), None)
    total, sums = sweep(emission, startprob, transmat, log_likelihood, begins=begins, space=space)
    return total, emission.gamma, sums["trans"]


class _Given:
    """Log densities that are known already; the smoothed probabilities are kept instead of summed."""

    def __init__(self, log_likelihood: Floats) -> None:
        self.states, self.block_rows = log_likelihood.shape[1], BLOCK_ROWS
        self.sums: dict[str, Any] = {}
        self.gamma = np.empty(log_likelihood.shape)
        self._end = len(log_likelihood)

    def log_densities(self, X: Floats, out: Floats) -> None:
        out[:, : len(X)] = X.T

    def accumulate(self, X: Floats, gamma: Floats, *, again: bool) -> None:  # noqa: ARG002 (blocks come last to first)
        self.gamma[self._end - len(X) : self._end] = gamma[:, : len(X)].T
        self._end -= len(X)
