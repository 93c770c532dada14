"""Gaussian emissions, diagonal or full: log densities and the M-step's sums, without (T, K, D) temporaries."""

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.intrinsics import put
from tradecore_pipeline.models.kernels.recursions import BLOCK_ROWS
from tradecore_pipeline.models.kernels.sweeps import log_likelihood

_FUSED = {"contract"}
_SUMS = {"contract", "reassoc"}  # sums over rows, eight at a time
_TILE = 1024
_ADVICE = "drop collinear features or use fewer states"


class GaussianDistribution:
    """K Gaussians over D features about a common ``centre`` (D,), so that large means cancel nothing.

    ``precision_factors`` are the inverses of the covariances' lower Cholesky factors, (K, D, D), or of the standard
    deviations, (K, D). ``sums`` are of x, and of x x^T (its lower triangle, row by row) or x^2, about the centre.
    """

    def __init__(self, *, means: Floats, precision_factors: Floats, centre: Floats) -> None:
        states, features = means.shape
        diagonal = precision_factors.ndim == 2
        away = means - centre
        offset = precision_factors * away if diagonal else np.einsum("kij,kj->ki", precision_factors, away)
        widths = precision_factors if diagonal else np.einsum("kii->ki", precision_factors)
        self._constant = np.log(widths).sum(axis=1) - 0.5 * features * math.log(2 * math.pi)
        self._factors, self._offset, self._centre = np.ascontiguousarray(precision_factors), offset, centre
        self._zeros, self._features = (0.0,) * states, (0.0,) * features
        self._fours = (0.0,) * (4 * states)
        self._left, self._right = _products(features, diagonal=diagonal)
        self._moments = np.zeros((states, len(self._left)))
        self.states = states
        self.block_rows = BLOCK_ROWS
        seconds = features if diagonal else features * (features + 1) // 2
        self.sums = {"second": self._moments[:, :seconds], "first": self._moments[:, seconds : seconds + features]}

    def log_densities(self, X: Floats, out: Floats) -> None:
        """Log densities of the rows of ``X`` into the first columns of ``out`` (K, B)."""
        _log_densities(self._zeros, self._features, X, self._centre, self._factors, self._offset, self._constant, out)

    def accumulate(self, X: Floats, gamma: Floats, *, first: int) -> None:  # noqa: ARG002 (one place is as good as another)
        """Adds the rows of ``X``, weighted by the first columns of ``gamma`` (K, B), to ``sums``."""
        _add_moments(
            self._zeros, self._features, self._fours, self._left, self._right, X, self._centre, gamma, self._moments
        )


def _products(features: int, *, diagonal: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which columns to multiply for the moments; the last one is of ones, and fills up what is no multiple of four."""
    row, column = (np.arange(features),) * 2 if diagonal else np.tril_indices(features)
    ones = np.full(features, features)
    left, right = np.concatenate((row, np.arange(features))), np.concatenate((column, ones))
    spare = np.full(-len(left) % 4, features)
    return np.concatenate((left, spare)), np.concatenate((right, spare))


def gaussian_log_likelihood(X: Floats, means: Floats, covars: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) under each state's Gaussian; covars (K, D) or (K, D, D).

    Raises:
        ModelFitError: a covariance is not positive definite; the message names the state.
    """
    emission = GaussianDistribution(means=means, precision_factors=precision_factors(covars), centre=means.mean(axis=0))
    return log_likelihood(emission, X)


def precision_factors(covars: Floats) -> Floats:
    """Inverse standard deviations (K, D) of variances (K, D); inverse Cholesky factors of covariances (K, D, D).

    Raises:
        ModelFitError: a covariance is not positive definite; the message names the state.
    """
    if covars.ndim == 2:
        bad = ~(covars > 0).all(axis=1)
        if bad.any():
            raise ModelFitError(f"state {int(bad.argmax())} has a variance of zero: {_ADVICE}")
        return 1 / np.sqrt(covars)
    factors = np.empty(covars.shape)
    for k, covar in enumerate(covars):
        try:
            factors[k] = np.linalg.inv(np.linalg.cholesky(covar))
        except np.linalg.LinAlgError as error:
            raise ModelFitError(f"state {k} has a singular covariance: {_ADVICE}") from error
    return factors


# Rows are gathered from a flat view whose step the compiler knows, by an index that it knows to be no negative one:
# otherwise it takes them one at a time.


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _fill_columns(features: tuple[float, ...], X: Floats, first: int, centre: Floats, columns: Floats) -> int:
    """Up to ``_TILE`` rows of ``X`` from ``first`` on, about the centre, into the first of ``columns``; how many."""
    width = len(features)
    middle = features
    for d in range(width):
        middle = put(middle, d, centre[d])
    rows = min(_TILE, X.shape[0] - first)
    flat = X.reshape(X.size)[first * width : (first + rows) * width]
    for t in range(rows):
        for d in range(width):
            columns[d, t] = flat[np.uint64(t) * np.uint64(width) + np.uint64(d)] - middle[d]
    return rows


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def _log_densities(  # noqa: PLR0917 (compiled functions take arguments by place)
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    X: Floats,
    centre: Floats,
    factors: Floats,
    offset: Floats,
    constant: Floats,
    out: Floats,
) -> None:
    states, width = len(zeros), len(features)
    away = np.empty((width, _TILE))
    for first in range(0, X.shape[0], _TILE):
        rows = _fill_columns(features, X, first, centre, away)
        for k in range(states):
            row = out[k, first : first + rows]
            for t in range(rows):
                density = constant[k]
                for d in range(width):
                    z = -offset[k, d]
                    if factors.ndim == 2:
                        z += factors[k, d] * away[d, t]
                    else:
                        for e in range(d + 1):
                            z += factors[k, d, e] * away[e, t]
                    density -= 0.5 * z * z
                row[t] = density


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _add_moments(  # noqa: PLR0917 (four products at a time; compiled functions take arguments by place)
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    fours: tuple[float, ...],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    X: Floats,
    centre: Floats,
    gamma: Floats,
    moments: Floats,
) -> None:
    """Adds each state's sum of the products of columns ``left`` and ``right``, four of them for each weight read."""
    states, width = len(zeros), len(features)
    columns, held = np.empty((width + 1, _TILE)), np.empty((states, _TILE))
    columns[width] = 1.0
    for first in range(0, X.shape[0], _TILE):
        rows = _fill_columns(features, X, first, centre, columns)
        for k in range(states):
            held[k, :rows] = gamma[k, first : first + rows]
        for place in range(0, left.shape[0], 4):
            a, b, c, d = (
                columns[left[place]], columns[left[place + 1]], columns[left[place + 2]], columns[left[place + 3]],
            )  # fmt: skip
            e, f, g, h = (
                columns[right[place]], columns[right[place + 1]], columns[right[place + 2]], columns[right[place + 3]],
            )  # fmt: skip
            sums = fours
            for t in range(rows):
                ae, bf, cg, dh = a[t] * e[t], b[t] * f[t], c[t] * g[t], d[t] * h[t]
                for k in range(states):
                    weight = held[k, t]
                    sums = put(sums, 4 * k, sums[4 * k] + weight * ae)
                    sums = put(sums, 4 * k + 1, sums[4 * k + 1] + weight * bf)
                    sums = put(sums, 4 * k + 2, sums[4 * k + 2] + weight * cg)
                    sums = put(sums, 4 * k + 3, sums[4 * k + 3] + weight * dh)
            for k in range(states):
                for one in range(4):
                    moments[k, place + one] += sums[4 * k + one]
