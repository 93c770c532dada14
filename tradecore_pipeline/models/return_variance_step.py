"""Newton's step for the joint emission of return and variance: what one M-step moves by, from sums over rows.

Works on log q, log s, log nu and log n per state and on the carry b, which all states share. The hidden activity is
integrated out of what is maximised, so only the states are missing data: a few dozen iterations do what takes plain EM
many hundreds. Means move by their own reweighted average; they hardly depend on the rest.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import block_diag
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
    """What an anchor's states say about mu, log q and log s, as if so many more bars had been seen in each (K,).

    The curvature is that of the emission's own information: given the state, the shares of z^2, n v / s and nu in D are
    Dirichlet(1/2, n/2, nu/2), whose second moments are known. Elsewhere the prior is its second-order expansion.
    """

    means: Floats
    log_q: Floats
    log_s: Floats
    information: Floats
    """(3, K): of log q, of log s, and of the two together."""
    mean_information: Floats

    @classmethod
    def of(cls, parameters: JointParameters, bars: Floats) -> Self:
        """The prior worth ``bars`` (K,) bars in each state of ``parameters``."""
        means, scales, levels, nu, n = parameters
        p = (nu + n + 1) / 2
        own = np.stack(((p - 0.5) / 2, n / 2 * (p - n / 2), -n / 4)) / (p + 1)
        return cls(means, 2 * np.log(scales), np.log(levels), bars * own, bars * p / (p + 1) / scales**2)

    def log_density(self, parameters: JointParameters) -> float:
        """Nats, up to a constant."""
        q, s = self._away(parameters)
        qq, ss, qs = self.information
        shapes = 0.5 * qq * q**2 + 0.5 * ss * s**2 + qs * q * s
        return float(-(shapes + 0.5 * self.mean_information * (parameters.means - self.means) ** 2).sum())

    def add_derivatives(self, parameters: JointParameters, gradient: Floats, hessian: Floats) -> None:
        """Adds its own to those of ``_derivatives``, which are not of means."""
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

    def mean_shift(self, parameters: JointParameters, shift: Floats, precision: Floats) -> Floats:
        """How far means move that would move by ``shift`` without it; ``precision`` is the rows' sum of 1 / D."""
        own = self.mean_information * parameters.return_scales**2 / (parameters.dfs + parameters.variance_dfs + 1)
        return (precision * shift + own * (self.means - parameters.means)) / (precision + own)

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


def own_directions(states: int, carried: int) -> Floats:
    """The basis in which each of ``states`` has numbers of its own; ``carried`` log variances are shared by all."""
    return np.eye(4 * states + carried)


def equal_directions(states: int, carried: int) -> Floats:
    """The basis in which ``states`` that are equal but for their means stay so."""
    each = np.kron(np.eye(4), np.ones((states, 1)))
    return np.asarray(block_diag(each, np.eye(carried)), dtype=np.float64)


def newton_step(
    parameters: JointParameters,
    carry: Floats,
    *,
    basis: Floats,
    moments: Floats,
    levels: Floats,
    curvature: Floats,
    floors: Floors,
    prior: AnchorPrior | None,
) -> Step:
    """The step from sums over rows (``return_variance_kernels.sums``).

    Args:
        parameters: the states' numbers that it starts from.
        carry: (J,), where the carry starts from.
        basis: the directions to move in, whose columns (0 and 1) do not overlap.
        moments: of the rows, by state.
        levels: the same, of logs.
        curvature: (J, J), that of the carry.
        floors: what scales and levels stay above.
        prior: an anchor's, or None.
    """
    gradient, hessian = _derivatives(parameters, moments, levels, curvature)
    if prior is not None:
        prior.add_derivatives(parameters, gradient, hessian)
    gradient, hessian = basis.T @ gradient, basis.T @ hessian @ basis
    lowest, highest = _bounds(parameters, carry, floors)
    of_column = basis.argmax(axis=0)
    packed = _packed(parameters, carry)[of_column]
    low, high = packed <= lowest[of_column] + _AT_BOUND, packed >= highest[of_column] - _AT_BOUND
    free = np.flatnonzero(~((low & (gradient < 0)) | (high & (gradient > 0))))
    direction = np.zeros_like(gradient)
    direction[free] = _uphill(gradient[free], hessian[np.ix_(free, free)])
    direction *= min(1.0, _LONGEST_STEP / max(float(np.abs(direction).max()), 1e-300))
    shift = _mean_shift(parameters, moments, prior)
    return Step(parameters, carry, basis @ direction, shift, lowest, highest)


def _mean_shift(parameters: JointParameters, moments: Floats, prior: AnchorPrior | None) -> Floats:
    weight, by_return, by_variance, pull = (moments[:, row, 0] for row in (0, 1, 2, 6))
    precision = np.maximum(weight - by_return - by_variance, 1e-300) / parameters.dfs
    shift = parameters.return_scales * pull / precision
    return shift if prior is None else prior.mean_shift(parameters, shift, precision)


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
