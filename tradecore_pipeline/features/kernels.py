"""The loops over rows and windows that must be fast, compiled by numba and cached on disk.

A block of rows goes through its windows together, one place of the window after the other: every row adds its own
values in the same order, whatever lies before or beside it, and the processor still adds several rows at once.
"""

import numba as nb
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_BLOCK = 1024


@nb.njit(cache=True, nogil=True)
def rows_since(moments: Integers, reach: int, before: Integers) -> None:
    """How many rows lie at most ``reach`` before each, itself left out, into ``before``; ``moments`` are sorted."""
    first = 0
    for row in range(moments.shape[0]):
        while moments[first] < moments[row] - reach:
            first += 1
        before[row] = row - first


@nb.njit(cache=True, nogil=True)
def window_moments(values: Floats, length: int, least: int, mean: Floats, deviation: Floats) -> None:
    """Mean and standard deviation (n - 1) of each row's window into both; NaN where fewer than ``least`` exist."""
    count, total, squares = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for start in range(0, values.shape[0], _BLOCK):
        rows = min(_BLOCK, values.shape[0] - start)
        count[:], total[:], squares[:] = 0.0, 0.0, 0.0
        for back in range(min(length, start + rows) - 1, -1, -1):
            first = max(0, back - start)
            _add(values[start + first - back : start + rows - back], count[first:rows], total[first:rows])
        for row in range(rows):
            total[row] /= max(count[row], 1.0)
        for back in range(min(length, start + rows) - 1, -1, -1):
            first = max(0, back - start)
            _add_squares(values[start + first - back : start + rows - back], total[first:rows], squares[first:rows])
        for row in range(rows):
            enough = count[row] >= least
            mean[start + row] = total[row] if enough else np.nan
            deviation[start + row] = np.sqrt(squares[row] / max(count[row] - 1.0, 1.0)) if enough else np.nan


@nb.njit(cache=True, nogil=True)
def _add(values: Floats, count: Floats, total: Floats) -> None:
    for row in range(values.shape[0]):
        absent = np.isnan(values[row])
        count[row] += 0.0 if absent else 1.0
        total[row] += 0.0 if absent else values[row]


@nb.njit(cache=True, nogil=True)
def _add_squares(values: Floats, mean: Floats, squares: Floats) -> None:
    for row in range(values.shape[0]):
        apart = values[row] - mean[row]
        squares[row] += 0.0 if np.isnan(values[row]) else apart * apart
