"""How sure one can be of means by state, from resampled blocks of bars: states last, so bars are not independent."""

import numpy as np

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats

_BLOCK_MINUTES = 2 * 24 * 60
_LEAST_BLOCK = 5
_LEAST_BLOCKS = 20
"""Blocks are shortened where the series would be fewer."""
_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)


def block_length(timeframe: Timeframe) -> int:
    """Bars over which bars are taken to depend on each other: two days of them (48 at 1h), five at least."""
    return max(_LEAST_BLOCK, _BLOCK_MINUTES // timeframe.minutes)


def resampled_sums(values: Floats, *, block_bars: int, seed: int) -> Floats:
    """Column sums (resamples, C) of ``values`` (T, C) in resamples of whole blocks, the series being bent to a circle.

    Blocks are of one length, ``block_bars`` or a twentieth of the series if that is less (Politis & Romano's circular
    bootstrap); about T rows go into every resample.
    """
    rows = len(values)
    length = max(1, min(block_bars, rows // _LEAST_BLOCKS))
    wrapped = np.vstack((np.zeros((1, values.shape[1])), np.cumsum(np.vstack((values, values[: length - 1])), axis=0)))
    blocks = wrapped[length:] - wrapped[:-length]
    starts = np.random.default_rng(seed).integers(0, rows, (_RESAMPLES, -(-rows // length)))
    return blocks[starts].sum(axis=1)


def weighted_mean_intervals(values: Floats, weights: Floats, *, block_bars: int, seed: int) -> Floats:
    """95% intervals (K, 2) of the means of ``values`` (T,) under each column of ``weights`` (T, K)."""
    states = weights.shape[1]
    columns = np.hstack((weights * values[:, None], weights))
    sums = resampled_sums(columns, block_bars=block_bars, seed=seed)
    return interval(sums[:, :states] / np.maximum(sums[:, states:], 1e-12))


def interval(samples: Floats) -> Floats:
    """The 95% interval (C, 2) of each column of resampled values."""
    return np.percentile(samples, _PERCENTILES, axis=0).T
