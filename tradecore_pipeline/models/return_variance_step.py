"""Newton's step for the joint emission of return and variance: what one M-step moves by, from sums over rows.

Works on log q, log s, log nu and log n per state and on the carry b, which all states share. The hidden activity is
integrated out of what is maximised, so only the states are missing data: a few dozen iterations do what takes plain EM
many hundreds. Means move by their own reweighted average; they hardly depend on the rest.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import digamma, polygamma

from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, Floats
from tradecore_pipeline.models.return_variance_kernels import JointParameters

VARIANCE_DF_BOUNDS = (1.0, 1000.0)
"""A realized variance is worth at least one square, and never more than this many minutes."""

_LONGEST_STEP = 1.0
_AT_BOUND = 1e-9
_LEAST_CURVATURE = 1e-6
"""Relative to the largest: directions that the window says nothing about must not run away."""


@dataclass(frozen=True, slots=True)
class Floors:
    """Least scale of returns and least level of variances: repeated values must not make a spike."""

    return_scale: float
    variance_level: float


@dataclass(frozen=True, slots=True)
class AnchorPrior:
    """What an anchor's states say about log q and log s, as if so many more bars had been seen in each (K,).

    The curvature is that of the emission's own information: given the state, the shares of z^2, n v / s and nu in D are
    Dirichlet(1/2, n/2, nu/2), whose second moments are known. Elsewhere the prior is its second-order expansion.
    """

    log_q: Floats
    log_s: Floats
    information: Floats
    """(3, K): of log q, of log s, and of the two together."""

    @classmethod
    def of(cls, parameters: JointParameters, bars: Floats) -> Self:
        """The prior worth ``bars`` (K,) bars in each state of ``parameters``."""
        _, scales, levels, nu, n = parameters
        p = (nu + n + 1) / 2
        own = np.stack(((p - 0.5) / 2, n / 2 * (p - n / 2), -n / 4)) / (p + 1)
        return cls(2 * np.log(scales), np.log(levels), bars * own)

    def log_density(self, parameters: JointParameters) -> float:
        """Nats, up to a constant."""
        q, s = self._away(parameters)
        qq, ss, qs = self.information
        return float(-(0.5 * qq * q**2 + 0.5 * ss * s**2 + qs * q * s).sum())

    def add_derivatives(self, parameters: JointParameters, gradient: Floats, hessian: Floats) -> None:
        """Adds its own to those of ``_derivatives``."""
        q, s = self._away(parameters)
        qq, ss, qs = self.information
        rows = np.arange(len(q))
        by_s = rows + len(q)
        gradient[rows] -= qq * q + qs * s
        gradient[by_s] -= ss * s + qs * q
        hessian[rows, rows] -= qq
        hessian[by_s, by_s] -= ss
        hessian[rows, by_s] -= qs
        hessian[by_s, rows] -= qs

    def _away(self, parameters: JointParameters) -> tuple[Floats, Floats]:
        return 2 * np.log(parameters.return_scales) - self.log_q, np.log(parameters.variance_levels) - self.log_s


@dataclass(frozen=True, slots=True)
class Step:
    """A direction in which the expected log-likelihood rises."""

    parameters: JointParameters
    carry: Floats
    direction: Floats
    mean_shift: Floats
    lowest: Floats
    highest: Floats

    def taken(self, size: float) -> tuple[JointParameters, Floats]:
        """Parameters and carry after ``size`` (0 to 1) of the step, inside the bounds."""
        states = len(self.parameters.means)
        moved = np.clip(_packed(self.parameters, self.carry) + size * self.direction, self.lowest, self.highest)
        log_q, log_s, log_nu, log_n = moved[: 4 * states].reshape(4, states)
        parameters = JointParameters(
            self.parameters.means + size * self.mean_shift,
            np.exp(log_q / 2), np.exp(log_s), np.exp(log_nu), np.exp(log_n),
        )  # fmt: skip
        return parameters, moved[4 * states :]


def newton_step(
    parameters: JointParameters,
    carry: Floats,
    *,
    moments: Floats,
    levels: Floats,
    curvature: Floats,
    floors: Floors,
    prior: AnchorPrior | None,
) -> Step:
    """The step from sums over rows (``return_variance_kernels.sums``); ``curvature`` (J, J) is that of the carry."""
    gradient, hessian = _derivatives(parameters, moments, levels, curvature)
    if prior is not None:
        prior.add_derivatives(parameters, gradient, hessian)
    lowest, highest = _bounds(parameters, carry, floors)
    packed = _packed(parameters, carry)
    stuck = ((packed <= lowest + _AT_BOUND) & (gradient < 0)) | ((packed >= highest - _AT_BOUND) & (gradient > 0))
    free = np.flatnonzero(~stuck)
    direction = np.zeros_like(gradient)
    direction[free] = _uphill(gradient[free], hessian[np.ix_(free, free)])
    direction *= min(1.0, _LONGEST_STEP / max(float(np.abs(direction).max()), 1e-300))
    weight, by_return, by_variance, pull = (moments[:, row, 0] for row in (0, 1, 2, 6))
    precision = np.maximum(weight - by_return - by_variance, 1e-300) / parameters.dfs
    return Step(parameters, carry, direction, parameters.return_scales * pull / precision, lowest, highest)


def _uphill(gradient: Floats, hessian: Floats) -> Floats:
    """Newton's direction, with directions of the wrong curvature turned uphill."""
    values, vectors = np.linalg.eigh(-hessian)
    values = np.maximum(np.abs(values), _LEAST_CURVATURE * max(float(np.abs(values).max()), 1e-300))
    return vectors @ ((vectors.T @ gradient) / values)


def _packed(parameters: JointParameters, carry: Floats) -> Floats:
    _, scales, levels, dfs, variance_dfs = parameters
    return np.concatenate((2 * np.log(scales), np.log(levels), np.log(dfs), np.log(variance_dfs), carry))


def _bounds(parameters: JointParameters, carry: Floats, floors: Floors) -> tuple[Floats, Floats]:
    states = len(parameters.means)
    lowest = (2 * np.log(floors.return_scale), np.log(floors.variance_level), np.log(DF_FLOOR))
    highest = (np.inf, np.inf, np.log(DF_CAP))
    least, most = np.log(VARIANCE_DF_BOUNDS)
    return (
        np.concatenate((np.repeat((*lowest, least), states), np.full(len(carry), -np.inf))),
        np.concatenate((np.repeat((*highest, most), states), np.full(len(carry), np.inf))),
    )


def _derivatives(
    parameters: JointParameters, moments: Floats, levels: Floats, curvature: Floats
) -> tuple[Floats, Floats]:
    """Gradient and Hessian of the expected log-likelihood; the Hessian takes means to be small beside scales."""
    nu, n = parameters.dfs[:, None], parameters.variance_dfs[:, None]
    p = (nu + n + 1) / 2
    one, a, b, aa, ab, bb, z = moments.transpose(1, 0, 2)
    drift = (parameters.means / parameters.return_scales)[:, None]
    slopes = [-one / 2 + p * a, -n / 2 * one + p * b]
    by_carry = (slopes[0] + slopes[1] + p * drift * z)[:, 1:].sum(axis=0)
    shape_slopes, shape_curves = _shape_derivatives(parameters, moments[:, :, 0], levels)
    gradient = np.concatenate((slopes[0][:, 0], slopes[1][:, 0], *shape_slopes, by_carry))
    qq, qs, ss = -p * (a - aa), p * ab, -p * (b - bb)
    q_nu, s_nu = nu / 2 * a - p * (a - aa - ab), nu / 2 * b - p * (b - ab - bb)
    q_n, s_n = n / 2 * a - p * ab, n / 2 * (b - one) + p * (b - bb)
    nu_nu, nu_n, n_n = shape_curves
    blocks = [
        [qq[:, 0], qs[:, 0], q_nu[:, 0], q_n[:, 0]],
        [qs[:, 0], ss[:, 0], s_nu[:, 0], s_n[:, 0]],
        [q_nu[:, 0], s_nu[:, 0], nu_nu, nu_n],
        [q_n[:, 0], s_n[:, 0], nu_n, n_n],
    ]
    # A carried log scale moves log q and log s of every state alike.
    edge = np.vstack([(pair[0] + pair[1])[:, 1:] for pair in ((qq, qs), (qs, ss), (q_nu, s_nu), (q_n, s_n))])
    own = np.block([[np.diag(block) for block in row] for row in blocks])
    return gradient, np.block([[own, edge], [edge.T, -curvature]])


def _shape_derivatives(
    parameters: JointParameters, moments: Floats, levels: Floats
) -> tuple[list[Floats], list[Floats]]:
    """Slopes in (log nu, log n) per state, and curvatures (nu nu, nu n, n n)."""
    nu, n = parameters.dfs, parameters.variance_dfs
    p = (nu + n + 1) / 2
    one, a, b, aa, ab, bb = moments.T[:6]
    log_v, log_d = levels.T
    rest, rest_squared, mixed = one - a - b, one - 2 * (a + b) + aa + 2 * ab + bb, b - ab - bb
    relative = log_v - one * np.log(parameters.variance_levels / n)
    by_nu = nu / 2 * (one * (digamma(p) - digamma(nu / 2) + np.log(nu) + 1) - log_d)
    by_n = n / 2 * (one * (digamma(p) - digamma(n / 2) + 1) + relative - log_d)
    sharp = polygamma(1, p)
    nu_nu = by_nu + one * (nu**2 / 4 * (sharp - polygamma(1, nu / 2)) + nu / 2) - nu * rest - p * (rest - rest_squared)
    n_n = by_n + one * (n**2 / 4 * (sharp - polygamma(1, n / 2)) + n / 2) - n * b - p * (b - bb)
    nu_n = one * nu * n / 4 * sharp - nu / 2 * b - n / 2 * rest + p * mixed
    return [by_nu - p * rest, by_n - p * b], [nu_nu, nu_n, n_n]
