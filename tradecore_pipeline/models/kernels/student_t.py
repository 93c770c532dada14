"""Student-t emissions, independent by feature: log densities and the M-step's sums."""

import math

import numba as nb
import numpy as np

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.sweeps import log_likelihood

_FUSED = {"contract"}
_SUMS = {"contract", "reassoc"}  # sums over rows, eight at a time
_BLOCK_NUMBERS = 65_536
"""Numbers that a block's temporaries hold: half a megabyte, so that they stay in the processor's cache."""


class StudentTEmission:
    """K x D Student-t distributions with ``means``, ``scales`` and ``dfs`` (K, D); a NaN says nothing about the state.

    ``sums["moments"]`` (4, K, D) takes what the M-step needs: sums of g u, g u (x - mean), g u (x - mean)^2 and
    g (log u - u), where g is the smoothed probability and u = (df + 1) / (df + z^2) the weight that makes a Student-t
    robust.
    """

    def __init__(self, *, means: Floats, scales: Floats, dfs: Floats, rows: int) -> None:
        states, features = means.shape
        gammas = [math.lgamma((one + 1) / 2) - math.lgamma(one / 2) for one in dfs.ravel().tolist()]
        self._constant = np.reshape(gammas, means.shape) - 0.5 * np.log(dfs * math.pi) - np.log(scales)
        self._means, self._dfs, self._factors = means, dfs, 1 / (scales * np.sqrt(dfs))
        self._zeros, self._features = (0.0,) * states, (0.0,) * features
        self.states = states
        self.block_rows = max(min(_BLOCK_NUMBERS // (states * features), rows), 1)
        self._squares = np.empty((states, features, self.block_rows))
        self._logs = np.empty_like(self._squares)
        self.sums = {"moments": np.zeros((4, states, features))}

    def log_densities(self, X: Floats, out: Floats) -> None:
        """Log densities of the rows of ``X`` into the first columns of ``out`` (K, B)."""
        self._take_logs(X)
        exponents = (self._dfs + 1) / 2
        _log_densities(self._zeros, self._features, X, self._logs, self._constant, exponents, out)

    def accumulate(self, X: Floats, gamma: Floats, *, again: bool) -> None:
        """Adds the rows of ``X``, weighted by the first columns of ``gamma`` (K, B), to ``sums``."""
        if not again:
            self._take_logs(X)
        _add_moments(
            self._zeros, self._features, X, gamma, self._means, self._dfs, self._squares, self._logs,
            self.sums["moments"],
        )  # fmt: skip

    def _take_logs(self, X: Floats) -> None:
        """log(1 + z^2 / df), and z^2 / df, of each row; what lies behind the last row is left over, and not read."""
        _scale_squares(self._zeros, self._features, X, self._means, self._factors, self._squares)
        np.log1p(self._squares, out=self._logs)


def student_t_log_likelihood(X: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) in each state: independent Student-t per feature.

    A NaN says nothing about the state.
    """
    return log_likelihood(StudentTEmission(means=means, scales=scales, dfs=dfs, rows=len(X)), X)


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _scale_squares(
    zeros: tuple[float, ...], features: tuple[float, ...], X: Floats, means: Floats, factors: Floats, squares: Floats
) -> None:
    column = np.empty(squares.shape[2])
    for d in range(len(features)):
        for t in range(X.shape[0]):
            column[t] = X[t, d]
        # A whole block is handed to the logarithm, whatever it was.
        column[X.shape[0] :] = 0.0
        for k in range(len(zeros)):
            row, mean, factor = squares[k, d], means[k, d], factors[k, d]
            for t in range(column.shape[0]):
                z = (column[t] - mean) * factor
                row[t] = z * z


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _log_densities(
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    X: Floats,
    logs: Floats,
    constant: Floats,
    exponents: Floats,
    out: Floats,
) -> None:
    for k in range(len(zeros)):
        for t in range(X.shape[0]):
            density = 0.0
            for d in range(len(features)):
                one = constant[k, d] - exponents[k, d] * logs[k, d, t]
                density += 0.0 if math.isnan(one) else one
            out[k, t] = density


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _add_moments(  # noqa: PLR0917 (compiled functions take arguments by place)
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    X: Floats,
    gamma: Floats,
    means: Floats,
    dfs: Floats,
    squares: Floats,
    logs: Floats,
    sums: Floats,
) -> None:
    column = np.empty(X.shape[0])
    for d in range(len(features)):
        for t in range(X.shape[0]):
            column[t] = X[t, d]
        for k in range(len(zeros)):
            top, level = (dfs[k, d] + 1) / dfs[k, d], math.log((dfs[k, d] + 1) / dfs[k, d])
            mean, held, square, log = means[k, d], gamma[k], squares[k, d], logs[k, d]
            weight = first = second = log_weight = 0.0
            for t in range(column.shape[0]):
                away = column[t] - mean
                part = held[t] * (top / (1.0 + square[t]))
                weight += part
                first += part * away
                second += part * away * away
                log_weight += held[t] * (level - log[t]) - part
            sums[0, k, d] += weight
            sums[1, k, d] += first
            sums[2, k, d] += second
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
