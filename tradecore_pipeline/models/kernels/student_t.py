"""Student-t emissions, independent by feature: log densities and the M-step's sums."""

import math

import numba as nb
import numpy as np

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.intrinsics import bits_of, float_of
from tradecore_pipeline.models.kernels.recursions import BLOCK_ROWS
from tradecore_pipeline.models.kernels.sweeps import log_likelihood

_FUSED = {"contract"}
_SUMS = {"contract", "reassoc"}  # sums over rows, eight at a time
_TILE = 512
_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD  # of the square root of a half: the first mantissa
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SERIES = tuple(2.0 / degree for degree in range(21, 1, -2))


class StudentTDistribution:
    """K x D Student-t distributions with ``means``, ``scales`` and ``dfs`` (K, D); a NaN says nothing about the state.

    ``sums["moments"]`` (4, K, D) takes what the M-step needs: sums of g u, g u (x - mean), g u (x - mean)^2 and
    g (log u - u), where g is the smoothed probability and u = (df + 1) / (df + z^2) the weight that makes a Student-t
    robust.
    """

    def __init__(self, *, means: Floats, scales: Floats, dfs: Floats) -> None:
        states, features = means.shape
        gammas = [math.lgamma((one + 1) / 2) - math.lgamma(one / 2) for one in dfs.ravel().tolist()]
        self._constant = np.reshape(gammas, means.shape) - 0.5 * np.log(dfs * math.pi) - np.log(scales)
        self._means, self._dfs, self._factors = means, dfs, 1 / (scales * np.sqrt(dfs))
        self._zeros, self._features = (0.0,) * states, (0.0,) * features
        self.states = states
        self.block_rows = BLOCK_ROWS
        self.sums = {"moments": np.zeros((4, states, features))}

    def log_densities(self, X: Floats, out: Floats) -> None:
        """Log densities of the rows of ``X`` into the first columns of ``out`` (K, B)."""
        exponents = (self._dfs + 1) / 2
        _log_densities(self._zeros, self._features, X, self._means, self._factors, self._constant, exponents, out)

    def accumulate(self, X: Floats, gamma: Floats, *, first: int) -> None:  # noqa: ARG002 (one place is as good as another)
        """Adds the rows of ``X``, weighted by the first columns of ``gamma`` (K, B), to ``sums``."""
        _add_moments(self._zeros, self._features, X, gamma, self._means, self._factors, self._dfs, self.sums["moments"])


def student_t_log_likelihood(X: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) in each state: independent Student-t per feature.

    A NaN says nothing about the state.
    """
    return log_likelihood(StudentTDistribution(means=means, scales=scales, dfs=dfs), X)


# Rows are gathered from a flat view whose step the compiler knows, by an index that it knows to be no negative one:
# otherwise it takes them one at a time.


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _fill_columns(features: tuple[float, ...], X: Floats, first: int, columns: Floats) -> int:
    """Up to ``_TILE`` rows of ``X`` from ``first`` on into ``columns``; how many."""
    width, rows = len(features), min(_TILE, X.shape[0] - first)
    flat = X.reshape(X.size)[first * width : (first + rows) * width]
    for t in range(rows):
        for d in range(width):
            columns[d, t] = flat[np.uint64(t) * np.uint64(width) + np.uint64(d)]
    return rows


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _log(x: float) -> float:
    """Logarithm of a number from 1 to 1e300, to 2e-16 absolutely; of others anything."""
    bits = bits_of(x)
    exponent = (bits - _ROOT_HALF_BITS) >> 52
    mantissa = float_of(bits - (exponent << 52))
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = _SERIES[0]
    for term in range(1, len(_SERIES)):
        series = series * square + _SERIES[term]
    power = float(exponent)
    return power * _LN2_HIGH + (power * _LN2_LOW + (ratio * square * series + 2.0 * ratio))


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _log_densities(  # noqa: PLR0917 (compiled functions take arguments by place)
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    X: Floats,
    means: Floats,
    factors: Floats,
    constant: Floats,
    exponents: Floats,
    out: Floats,
) -> None:
    columns = np.empty((len(features), _TILE))
    for first in range(0, X.shape[0], _TILE):
        rows = _fill_columns(features, X, first, columns)
        for k in range(len(zeros)):
            row = out[k, first : first + rows]
            row[:] = 0.0
            for d in range(len(features)):
                column, mean, factor = columns[d], means[k, d], factors[k, d]
                top, exponent = constant[k, d], exponents[k, d]
                for t in range(rows):
                    z = (column[t] - mean) * factor
                    density = top - exponent * _log(1.0 + z * z)
                    row[t] += 0.0 if math.isnan(z) else density


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _add_moments(  # noqa: PLR0917 (compiled functions take arguments by place)
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    X: Floats,
    gamma: Floats,
    means: Floats,
    factors: Floats,
    dfs: Floats,
    sums: Floats,
) -> None:
    columns = np.empty((len(features), _TILE))
    for first in range(0, X.shape[0], _TILE):
        rows = _fill_columns(features, X, first, columns)
        for k in range(len(zeros)):
            held = gamma[k, first : first + rows]
            for d in range(len(features)):
                top, column, mean, factor = (dfs[k, d] + 1) / dfs[k, d], columns[d], means[k, d], factors[k, d]
                level = math.log(top)
                weight = moved = spread = log_weight = 0.0
                for t in range(rows):
                    away = column[t] - mean
                    whole = 1.0 + (away * factor) * (away * factor)
                    part = held[t] * (top / whole)
                    weight += part
                    moved += part * away
                    spread += part * away * away
                    log_weight += held[t] * (level - _log(whole)) - part
                sums[0, k, d] += weight
                sums[1, k, d] += moved
                sums[2, k, d] += spread
                sums[3, k, d] += log_weight


@nb.njit(cache=True, nogil=True, error_model="numpy")
def digamma(x: float) -> float:
    """Derivative of log gamma for positive ``x``: the recurrence up to 10, then Stirling's series; to 1e-13."""
    result = 0.0
    while x < 10.0:
        result -= 1 / x
        x += 1
    square = 1 / (x * x)
    tail = 1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square * (1 / 132))))
    return result + math.log(x) - 0.5 / x - square * tail


@nb.njit(cache=True, nogil=True, error_model="numpy")
def solve_dfs(constant: Floats, dfs: Floats, least: float, most: float) -> Floats:
    """Degrees of freedom (K, D) from the ECM condition, by bisection of their logarithm between ``least`` and ``most``.

    The condition is log(df / 2) - digamma(df / 2) + ``constant`` + digamma((d + 1) / 2) - log((d + 1) / 2) = 0, where d
    are the ``dfs`` that the weights in ``constant`` were taken with.
    """
    result = np.empty_like(dfs)
    for k in range(dfs.shape[0]):
        for d in range(dfs.shape[1]):
            half = (dfs[k, d] + 1) / 2
            level = constant[k, d] + digamma(half) - math.log(half)
            low, high = math.log(least), math.log(most)
            for _ in range(40):
                middle = (low + high) / 2
                half = math.exp(middle) / 2
                if math.log(half) - digamma(half) + level > 0:
                    low = middle
                else:
                    high = middle
            result[k, d] = math.exp((low + high) / 2)
    return result
