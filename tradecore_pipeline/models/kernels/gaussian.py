"""Gaussian emissions, diagonal or full: log densities and the M-step's sums, without (T, K, D) temporaries."""

import math
from typing import Any

import numba as nb
import numpy as np

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.recursions import BLOCK_ROWS
from tradecore_pipeline.models.kernels.sweeps import log_likelihood

_FUSED = {"contract"}
_SUMS = {"contract", "reassoc"}  # sums over rows, eight at a time
_TILE = 512
_ADVICE = "drop collinear features or use fewer states"


class GaussianEmission:
    """K Gaussians over D features about a common ``centre`` (D,), so that large means cancel nothing.

    ``precision_factors`` are the inverses of the covariances' lower Cholesky factors, (K, D, D), or of the standard
    deviations, (K, D).
    """

    def __init__(self, *, means: Floats, precision_factors: Floats, centre: Floats) -> None:
        states, features = means.shape
        diagonal = precision_factors.ndim == 2
        away = means - centre
        offset = precision_factors * away if diagonal else np.einsum("kij,kj->ki", precision_factors, away)
        widths = precision_factors if diagonal else np.einsum("kii->ki", precision_factors)
        self._constant = np.log(widths).sum(axis=1) - 0.5 * features * math.log(2 * math.pi)
        self._factors, self._offset, self._centre = np.ascontiguousarray(precision_factors), offset, centre
        self._zeros = (0.0,) * states
        self._firsts = (0.0,) * features
        self._seconds = (0.0,) * (features if diagonal else features * (features + 1) // 2)
        self.states = states
        self.block_rows = BLOCK_ROWS
        self.sums: dict[str, Any] = {
            "first": np.zeros((states, features)),
            "second": np.zeros((states, len(self._seconds))),
            "centre": centre,
        }

    def log_densities(self, X: Floats, out: Floats) -> None:
        """Log densities of the rows of ``X`` into the first columns of ``out`` (K, B)."""
        _log_densities(self._zeros, self._firsts, X, self._centre, self._factors, self._offset, self._constant, out)

    def accumulate(self, X: Floats, gamma: Floats, *, again: bool) -> None:  # noqa: ARG002 (nothing is kept)
        """Adds the rows of ``X``, weighted by the first columns of ``gamma`` (K, B), to ``sums``."""
        _add_moments(
            self._zeros, self._firsts, self._seconds, X, self._centre, gamma, self.sums["first"], self.sums["second"]
        )


def gaussian_log_likelihood(X: Floats, means: Floats, covars: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) under each state's Gaussian; covars (K, D) or (K, D, D).

    Raises:
        ModelFitError: a covariance is not positive definite; the message names the state.
    """
    emission = GaussianEmission(means=means, precision_factors=precision_factors(covars), centre=means.mean(axis=0))
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


# Rows are sliced before the loops over them: an index that is a sum may be negative for all the compiler knows, and
# then it takes rows one at a time.


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
        part = X[first : first + _TILE]
        for t in range(part.shape[0]):
            for d in range(width):
                away[d, t] = part[t, d] - centre[d]
        for k in range(states):
            row = out[k, first : first + part.shape[0]]
            for t in range(part.shape[0]):
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
def _add_moments(  # noqa: C901, PLR0917 (loops; compiled functions take arguments by place)
    zeros: tuple[float, ...],
    features: tuple[float, ...],
    products: tuple[float, ...],
    X: Floats,
    centre: Floats,
    gamma: Floats,
    firsts: Floats,
    seconds: Floats,
) -> None:
    states, width = len(zeros), len(features)
    full = len(products) > width
    away, weighted = np.empty((width, _TILE)), np.empty(_TILE)
    for first in range(0, X.shape[0], _TILE):
        part = X[first : first + _TILE]
        rows = part.shape[0]
        for t in range(rows):
            for d in range(width):
                away[d, t] = part[t, d] - centre[d]
        for k in range(states):
            weights = gamma[k, first : first + rows]
            for d in range(width):
                one = away[d]
                total = square = 0.0
                for t in range(rows):
                    weighted[t] = weights[t] * one[t]
                    total += weighted[t]
                    square += weighted[t] * one[t]
                firsts[k, d] += total
                place = d * (d + 1) // 2 if full else 0
                seconds[k, place + d] += square
                if full:
                    # Two at a time, so that each weight is read half as often.
                    for e in range(0, d, 2):
                        one, other = away[e], away[e + 1]
                        total = square = 0.0
                        for t in range(rows):
                            total += weighted[t] * one[t]
                            square += weighted[t] * other[t]
                        seconds[k, place + e] += total
                        if e + 1 < d:
                            seconds[k, place + e + 1] += square
