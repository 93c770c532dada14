"""A model held against the best possible filter and forecast of a market whose true parameters are known."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEAK_Z = 4.0
"""Standard errors above the oracle that luck does not explain."""

_LEAST_PROBABILITY = 1e-12
"""A probability that has underflowed to zero costs 27 nats in a divergence, not infinitely many."""


def right_states(probabilities: ArrayLike, states: ArrayLike) -> Floats:
    """Row by row 1 where the most probable state is the true one, else 0; columns in the order of the states."""
    guessed = np.asarray(probabilities, dtype=np.float64).argmax(axis=1)
    return (guessed == np.asarray(states)).astype(np.float64)


def divergence(oracle: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean Kullback-Leibler divergence in nats of state probabilities (T, K) from the oracle's."""
    best = np.asarray(oracle, dtype=np.float64)
    ours = np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST_PROBABILITY)
    ratio = np.log(np.maximum(best, _LEAST_PROBABILITY)) - np.log(ours)
    return float((best * ratio).sum(axis=1).mean())


def switches_per_1000(labels: ArrayLike) -> float:
    """How often the label changes, per 1,000 bars."""
    return float(1000 * np.mean(np.diff(np.asarray(labels)) != 0))


def relabelled(earlier: ArrayLike, later: ArrayLike) -> float:
    """Share of the same bars that two fits label differently."""
    return float(np.mean(np.asarray(earlier) != np.asarray(later)))


def paired_z(ours: ArrayLike, others: ArrayLike, *, block_bars: int) -> float:
    """Mean of ``ours - others`` in standard errors, over means of blocks that are long against the memory of both.

    Rows without either value count in no block; a tail shorter than a block is left out. Zero where both always agree.

    Raises:
        ValueError: there are fewer than two whole blocks.
    """
    difference = np.asarray(ours, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    blocks = len(difference) // block_bars
    if blocks < 2:
        raise ValueError(f"{len(difference)} rows are fewer than two blocks of {block_bars}: score more bars")
    means = difference[: blocks * block_bars].reshape(blocks, block_bars).mean(axis=1)
    spread = means.std(ddof=1) / np.sqrt(blocks)
    if spread == 0:
        return 0.0 if means[0] == 0 else float(np.copysign(np.inf, means[0]))
    return float(means.mean() / spread)


def assert_not_better(ours: ArrayLike, oracle: ArrayLike, *, what: str, block_bars: int) -> float:
    """Check that a model does not beat the best possible one, and give the z that says by how much it falls short.

    Args:
        ours: the model's score of each bar, higher is better; NaN where there is none.
        oracle: the oracle's, on the same bars.
        what: the score's name, for the message.
        block_bars: as in ``paired_z``.

    Raises:
        AssertionError: the model is better by more than ``LEAK_Z`` standard errors, so it knew of the future.
    """
    z = paired_z(ours, oracle, block_bars=block_bars)
    if z > LEAK_Z:
        raise AssertionError(f"{what} is better than the best possible by {z:.1f} standard errors: it looked ahead")
    return z
