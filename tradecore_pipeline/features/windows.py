"""Rolling sums and moments whose every row depends on its own window only, to the last bit, so no history leaks in."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

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
    from tradecore_pipeline.features import kernels  # noqa: PLC0415 (numba, only when something is computed)

    mean, deviation = np.empty(values.size), np.empty(values.size)
    kernels.window_moments(np.ascontiguousarray(values), length, max(least, 2), mean, deviation)
    return mean, deviation


def rows_since(moments: Integers, reach: int) -> Integers:
    """How many rows lie at most ``reach`` before each row, itself left out; ``moments`` are sorted and unique."""
    from tradecore_pipeline.features import kernels  # noqa: PLC0415 (numba, only when something is computed)

    before = np.empty(moments.size, dtype=np.int64)
    kernels.rows_since(np.ascontiguousarray(moments), reach, before)
    return before


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
