"""Densities and curvature of the joint emission of a return and its realized variance: the loops, compiled by numba.

Given a bar's hidden activity g ~ Gamma(nu/2, nu/2), in state k: v | g ~ Gamma(n/2, rate n g / (2 s)) and
r | g ~ Normal(mu, q / g); both are on the scale e that earlier bars carry over. Without g the two have one density:
log f = lgamma(p) - lgamma(nu/2) - lgamma(n/2) + nu/2 log nu - log(pi q)/2 + n/2 log(n v / s) - log v - p log D, with
D = nu + n v / s + (r - mu)^2 / q and p = (nu + n + 1) / 2.
"""

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from scipy.special import gammaln

from tradecore_pipeline.models.density import Floats

_FUSED = {"contract"}  # a multiplication and the addition after it in one instruction; nothing is reordered
_BOTH, _VARIANCE, _RETURN = range(3)


class JointParameters(NamedTuple):
    """Parameters of the emission, (K,) each; percent, or percent squared for variances."""

    means: Floats
    return_scales: Floats
    """Square roots of q: scales of the Student-t that returns follow."""
    variance_levels: Floats
    """s: typical realized variance."""
    dfs: Floats
    """nu: degrees of freedom of the return's Student-t, in (2, inf)."""
    variance_dfs: Floats
    """n: how many independent squares the realized variance is worth."""


def joint_log_likelihood(
    returns: Floats, variances: Floats, log_scale: Floats, parameters: JointParameters
) -> tuple[Floats, Floats]:
    """Log density (T, K) of returns and variances that are divided by exp(``log_scale``) (half of it for returns).

    The density is of the undivided values. Where one of the two is NaN the other one counts alone; where both are, the
    row is zero. The second result is log D, for ``sums``.
    """
    sizes = (0,) * len(parameters.means)
    logs = np.empty((len(returns), len(sizes)))
    precision, rate = 1 / parameters.return_scales**2, parameters.variance_dfs / parameters.variance_levels
    _spread(sizes, returns, variances, parameters.means, precision, rate, parameters.dfs, logs)
    np.log(logs, out=logs)
    result = np.empty_like(logs)
    constants, exponents = _constants(parameters)
    _density(
        sizes, returns, np.log(variances), log_scale, logs, constants, exponents, parameters.variance_dfs / 2, result
    )
    return result, logs


def sums(
    returns: Floats, variances: Floats, carried: Floats, gamma: Floats, logs: Floats, parameters: JointParameters
) -> tuple[Floats, Floats, Floats]:
    """What Newton's step needs of whole rows: sums over them, weighted by ``gamma`` (T, K).

    With a = z^2 / D and b = n v / (s D): sums (K, 7, 1 + J) of 1, a, b, a^2, a b, b^2 and z / D times 1 and each
    column of ``carried``; sums (K, 2) of log v and log D; and per row the sum over states of p (a + b) (1 - a - b).
    """
    states = len(parameters.means)
    values = np.empty((states, 7, len(returns)))
    weights, by_state = np.ascontiguousarray(gamma.T), np.ascontiguousarray(logs.T)
    rate = parameters.variance_dfs / parameters.variance_levels
    for k in range(states):
        _shares(
            returns, variances, weights[k], np.exp(-by_state[k]),
            parameters.means[k], 1 / parameters.return_scales[k], rate[k], values[k],
        )  # fmt: skip
    moments = values @ np.column_stack((np.ones(len(returns)), carried))
    levels = np.column_stack((weights @ np.log(variances), (weights * by_state).sum(axis=1)))
    half = (parameters.dfs + parameters.variance_dfs + 1) / 2
    spread = values[:, 1] + values[:, 2] - values[:, 3] - 2 * values[:, 4] - values[:, 5]
    return moments, levels, half @ spread


def _constants(parameters: JointParameters) -> tuple[Floats, Floats]:
    """Constants and exponents of D (3, K): for both values, the variance alone and the return alone."""
    nu, n = parameters.dfs, parameters.variance_dfs
    pooled = 0.5 * nu * np.log(nu) - gammaln(nu / 2)
    variance = 0.5 * n * np.log(n / parameters.variance_levels) - gammaln(n / 2)
    single = -0.5 * math.log(math.pi) - np.log(parameters.return_scales)
    exponents = np.stack(((nu + n + 1) / 2, (nu + n) / 2, (nu + 1) / 2))
    constants = pooled + gammaln(exponents)
    return constants + np.stack((variance + single, variance, single)), exponents


# The number of states is the length of a tuple, so that the compiler unrolls the loops over states.


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _spread(  # noqa: PLR0917 (numba takes no keywords)
    sizes: tuple[int, ...],
    returns: Floats,
    variances: Floats,
    means: Floats,
    precision: Floats,
    rate: Floats,
    dfs: Floats,
    result: Floats,
) -> None:
    """D of every row and state; what is NaN adds nothing."""
    for t in range(returns.shape[0]):
        known_return, known_variance = not math.isnan(returns[t]), not math.isnan(variances[t])
        for k in range(len(sizes)):
            total = dfs[k]
            if known_return:
                away = returns[t] - means[k]
                total += away * away * precision[k]
            if known_variance:
                total += rate[k] * variances[t]
            result[t, k] = total


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _density(  # noqa: PLR0917 (numba takes no keywords)
    sizes: tuple[int, ...],
    returns: Floats,
    log_variances: Floats,
    log_scale: Floats,
    logs: Floats,
    constants: Floats,
    exponents: Floats,
    half: Floats,
    result: Floats,
) -> None:
    for t in range(returns.shape[0]):
        known_return, known_variance = not math.isnan(returns[t]), not math.isnan(log_variances[t])
        row = _BOTH if known_return and known_variance else (_VARIANCE if known_variance else _RETURN)
        jacobian = (0.5 if known_return else 0.0) + (1.0 if known_variance else 0.0)
        for k in range(len(sizes)):
            if jacobian == 0.0:
                result[t, k] = 0.0
            else:
                value = constants[row, k] - exponents[row, k] * logs[t, k] - jacobian * log_scale[t]
                result[t, k] = value + ((half[k] - 1) * log_variances[t] if known_variance else 0.0)


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _shares(  # noqa: PLR0917 (numba takes no keywords)
    returns: Floats,
    variances: Floats,
    weights: Floats,
    inverse: Floats,
    mean: float,
    precision: float,
    rate: float,
    result: Floats,
) -> None:
    """One state's weighted 1, a, b, a^2, a b, b^2 and z / D per row (7, T)."""
    for t in range(returns.shape[0]):
        z = (returns[t] - mean) * precision
        a, b, weight = z * z * inverse[t], rate * variances[t] * inverse[t], weights[t]
        result[0, t], result[1, t], result[2, t] = weight, weight * a, weight * b
        result[3, t], result[4, t], result[5, t] = weight * a * a, weight * a * b, weight * b * b
        result[6, t] = weight * z * inverse[t]
