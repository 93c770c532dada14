"""The E-step of EM over many sequences, block by block: from observations to the sums that an M-step needs."""

import itertools
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.lattice import RAISED_BITS, backward, meet, smooth
from tradecore_pipeline.models.kernels.recursions import BLOCK_ROWS, forward, likelihoods


class EmissionDistribution(Protocol):
    """What the states emit; ``sums`` grows by each block of rows that is accumulated."""

    states: int
    block_rows: int
    sums: dict[str, Floats]

    def log_densities(self, X: Floats, out: Floats) -> None:
        """Log densities of the rows of ``X`` into the first columns of ``out`` (K, B)."""

    def accumulate(self, X: Floats, gamma: Floats, *, first: int) -> None:
        """Adds the rows of ``X``, weighted by the first columns of ``gamma`` (K, B), to ``sums``.

        ``first`` is the place of ``X[0]`` among all rows.
        """


@dataclass(frozen=True, slots=True)
class _Block:
    """Some rows in a row: where they are, which of them (from 0) begin a sequence, and their part of the lattice.

    ``carried`` is the forward recursion's in the first half of the blocks and the backward one's in the second.
    """

    rows: slice
    edges: NDArray[np.bool_]
    firsts: NDArray[np.intp]
    likelihood: Floats
    carried: Floats


@dataclass(frozen=True, slots=True)
class Workspace:
    """The lattice of an E-step, kept from one to the next: asking for fresh memory costs as much as filling it.

    An even number of blocks, 16 bytes per row and state; ``spare`` (3, K, B) is for the block at hand.
    """

    begins: NDArray[np.bool_]
    blocks: list[_Block]
    spare: Floats
    shift: Floats

    @classmethod
    def suiting(
        cls, kept: "Workspace | None", emission: EmissionDistribution, begins: NDArray[np.bool_]
    ) -> "Workspace":
        """``kept`` if it was made for such rows and states, else a new one; ``begins`` of ``sequence_begins``."""
        rows, states = len(begins) - 1, emission.states
        count = 2 * -(-rows // (2 * emission.block_rows))
        same = kept is not None and (len(kept.blocks), kept.spare.shape[1]) == (count, states)
        if kept is not None and same and (kept.begins is begins or np.array_equal(kept.begins, begins)):
            return kept
        shape = (count, states, -(-rows // count))
        likelihood, carried = np.empty(shape), np.empty(shape)
        bounds = [number * rows // count for number in range(count + 1)]
        blocks = [
            _Block(
                rows=slice(first, last),
                edges=begins[first : last + 1],
                firsts=np.flatnonzero(begins[first:last]),
                likelihood=likelihood[number],
                carried=carried[number],
            )
            for number, (first, last) in enumerate(itertools.pairwise(bounds))
        ]
        return cls(begins, blocks, np.zeros((3, *shape[1:])), np.empty(shape[2]))


class _Sums:
    """What an E-step adds up, and the steps both orders of it share."""

    def __init__(self, emission: EmissionDistribution, transmat: Floats, X: Floats, space: Workspace) -> None:
        states = emission.states
        for total in emission.sums.values():
            total[...] = 0.0
        self.zeros, self.squares = (0.0,) * states, (0.0,) * states**2
        self.emission, self.transmat, self.X, self.space = emission, transmat, X, space
        self.transitions, self.start, self.post = np.zeros((states, states)), np.zeros(states), np.zeros(states)

    def likelihood(self, block: _Block) -> float:
        """Fills a block's likelihoods, the space's ``shift`` and, with logs less that, its first spare; shift's sum."""
        logs, part = self.space.spare[0], self.X[block.rows]
        self.emission.log_densities(part, logs)
        return likelihoods(self.zeros, len(part), logs, logs, self.space.shift, block.likelihood)

    def add(self, block: _Block, reached: Floats, ahead: Floats) -> float:
        """Adds a block's rows; how many of them were lost."""
        gamma, part = self.space.spare[0], self.X[block.rows]
        lost = smooth(
            self.zeros, self.squares, len(part), self.transmat, reached, ahead, gamma, self.transitions, self.post
        )
        self.emission.accumulate(part, gamma, first=block.rows.start)
        if len(block.firsts):
            self.start += gamma[:, block.firsts].sum(axis=1)
        return lost

    def done(self) -> dict[str, Floats]:
        return {"start": self.start, "trans": self.transitions * self.transmat, "post": self.post, **self.emission.sums}


def sweep(
    emission: EmissionDistribution, startprob: Floats, transmat: Floats, X: Floats, *, space: Workspace
) -> tuple[float, dict[str, Any]]:
    """Total log-likelihood, and the sums ``start``, ``trans``, ``post`` and the emission's over all of ``X``.

    Both recursions run at once, from both ends. Where that meets a row whose likelihood cannot be told from zero (only
    a state explains it that cannot be reached, say), all is done again in order and with care.

    Args:
        emission: what the states emit; its sums are set to zero first.
        startprob: (K,).
        transmat: (K, K).
        X: rows (T, D) of all sequences, contiguous.
        space: ``Workspace.suiting`` the emission and the sequences.
    """
    startprob, transmat = np.ascontiguousarray(startprob), np.ascontiguousarray(transmat)
    sums = _Sums(emission, transmat, X, space)
    total = _from_both_ends(sums, startprob)
    if total is None:
        sums = _Sums(emission, transmat, X, space)
        total = _in_order(sums, startprob)
    return total, sums.done()


def _from_both_ends(sums: _Sums, startprob: Floats) -> float | None:
    """The log-likelihood, with all sums added up; nothing if some row was lost."""
    blocks, states, total = sums.space.blocks, len(startprob), 0.0
    mass, following = np.zeros(states + 1), np.zeros(states)
    mass[0] = 1.0
    pairs = list(zip(blocks, reversed(blocks), strict=True))
    half = len(blocks) // 2

    def step(front: _Block, reached: Floats, back: _Block, ahead: Floats, soon: tuple[Floats, ...]) -> bool:
        return meet(
            sums.zeros, sums.squares, startprob, sums.transmat, front.edges, front.likelihood, mass, reached,
            back.edges, back.likelihood, following, ahead, *(numbers.reshape(-1) for numbers in soon),
        )  # fmt: skip

    for number, (front, back) in enumerate(pairs[:half]):
        total += sums.likelihood(front) + sums.likelihood(back)
        one, other = pairs[number + 1]
        soon = (sums.X[one.rows], sums.X[other.rows], one.likelihood, other.likelihood)
        if step(front, front.carried, back, back.carried, soon):
            return None
    reached, ahead = sums.space.spare[1:]
    for front, back in pairs[half:]:
        soon = (sums.X[front.rows], sums.X[back.rows], front.carried, back.carried)
        if (
            step(front, reached, back, ahead, soon)
            or sums.add(front, reached, front.carried)
            or sums.add(back, back.carried, ahead)
        ):
            return None
    return total + math.log(mass[:-1].sum()) - float(mass[-1]) * RAISED_BITS * math.log(2.0)


def _in_order(sums: _Sums, startprob: Floats) -> float:
    """The log-likelihood, with all sums added up: forward over all blocks, then backward."""
    space, states, total = sums.space, len(startprob), 0.0
    logs, ahead = space.spare[:2]
    onto, onward, totals = np.ones(states), np.ones(states), np.ones(len(space.shift) + 1)
    for block in space.blocks:
        rows = len(block.edges) - 1
        sums.likelihood(block)
        forward(
            sums.zeros, rows, block.edges, startprob, sums.transmat, logs, block.likelihood, block.carried,
            space.shift, totals, onto,
        )  # fmt: skip
        # The totals of rows between cancel: what remains are those of the sequences' last rows.
        total += float(space.shift[:rows].sum() + np.log(totals[1:][np.flatnonzero(block.edges[1:])]).sum())
        totals[0] = totals[rows]
    for block in reversed(space.blocks):
        backward(
            sums.zeros, len(block.edges) - 1, block.edges, sums.transmat, block.likelihood, block.carried, onward,
            ahead,
        )  # fmt: skip
        sums.add(block, block.carried, ahead)
    return total


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


def log_likelihood(emission: EmissionDistribution, X: Floats) -> Floats:
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


def expectation(
    startprob: Floats, transmat: Floats, log_likelihood: Floats, lengths: ArrayLike | None = None
) -> tuple[float, Floats, Floats]:
    """The E-step: total log-likelihood, smoothed probabilities (T, K) and summed transition probabilities (K, K).

    ``lengths`` are those of the sequences in ``log_likelihood`` (T, K); all rows are one without them.
    """
    emission = _Given(log_likelihood)
    space = Workspace.suiting(None, emission, sequence_begins(len(log_likelihood), lengths))
    total, sums = sweep(emission, startprob, transmat, np.ascontiguousarray(log_likelihood), space=space)
    return total, emission.gamma, sums["trans"]


class _Given:
    """Log densities that are known already; the smoothed probabilities are kept instead of summed."""

    def __init__(self, log_likelihood: Floats) -> None:
        self.states, self.block_rows = log_likelihood.shape[1], BLOCK_ROWS
        self.sums: dict[str, Floats] = {}
        self.gamma = np.empty(log_likelihood.shape)

    def log_densities(self, X: Floats, out: Floats) -> None:
        out[:, : len(X)] = X.T

    def accumulate(self, X: Floats, gamma: Floats, *, first: int) -> None:
        self.gamma[first : first + len(X)] = gamma[:, : len(X)].T
