"""Rolling sums and moments whose every row depends on its own window only, to the last bit, so no history leaks in."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FLAT = 1e-12
"""A standard deviation below this share of the mean is rounding: the window is flat."""


def window_sums(values: Floats, length: int) -> Floats:
    """The sum of each row and the ``length`` - 1 before it; rows before the first count as zero.

    Sums of powers of two are combined, so the cost grows with log(length) and nothing accumulates over the history.
    """
    total = np.zeros_like(values)
    block, covered, size = values, 0, 1
    while size <= length:
        if length & size:
            total = total + _delayed(block, covered)
            covered += size
        block = block + _delayed(block, size)
        size *= 2
    return total


def window_moments(values: Floats, length: int, *, least: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (n - 1) of the values present among each row and the ``length`` - 1 before it.

    NaN where fewer than ``least`` values are present.
    """
    padded = np.concatenate([np.full(length - 1, np.nan), values])
    known = ~np.isnan(padded)
    filled = np.where(known, padded, 0.0)
    rows = values.size
    count, total, squares = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    for offset in range(length):
        count += known[offset : offset + rows]
        total += filled[offset : offset + rows]
    mean = total / np.maximum(count, 1)
    for offset in range(length):
        squares += known[offset : offset + rows] * (filled[offset : offset + rows] - mean) ** 2
    enough = count >= max(least, 2)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    return np.where(enough, mean, np.nan), np.where(enough, deviation, np.nan)


def window_zscore(values: Floats, length: int, *, least: int) -> Floats:
    """How many standard deviations (n - 1) each value lies above its window's mean; NaN where the window is flat."""
    mean, deviation = window_moments(values, length, least=least)
    varied = deviation > _FLAT * np.abs(mean)
    return np.where(varied, (values - mean) / np.where(varied, deviation, 1.0), np.nan)


def _delayed(values: Floats, rows: int) -> Floats:
    if not rows:
        return values
    delayed = np.zeros_like(values)
    delayed[rows:] = values[:-rows]
    return delayed
