"""The loops that must be fast: forward filter, E-step and Student-t emissions, compiled by numba and cached on disk.

Log-likelihood rows are shifted by their maximum (over the states that can be reached, where that matters), so that no
bar, however extreme, underflows to a zero row.
"""

import math

import numba as nb
import numpy as np

from tradecore_pipeline.models.density import Floats

_BETA_CAP = 1e150
_LEAST_FACTOR = 1e-30
"""What is carried from row to row is normalised once it sums to less."""
_FUSED = {"contract"}  # a multiplication and the addition after it in one instruction; nothing is reordered


@nb.njit(cache=True, nogil=True)
def filter_step(predicted: Floats, log_likelihood: Floats, out: Floats) -> float:
    """Bayes' rule for one bar: ``predicted`` (K,) times exp(``log_likelihood``), normalised, into ``out``.

    Returns:
        Log density of the bar in nats given the bars before it; -inf (and ``out`` = ``predicted``) if no reachable
        state allows it.
    """
    states = predicted.shape[0]
    shift = -np.inf
    for k in range(states):
        if predicted[k] > 0.0 and log_likelihood[k] > shift:
            shift = log_likelihood[k]
    if shift == -np.inf:
        out[:] = predicted
        return -np.inf
    total = 0.0
    for k in range(states):
        out[k] = predicted[k] * math.exp(log_likelihood[k] - shift) if predicted[k] > 0.0 else 0.0
        total += out[k]
    for k in range(states):
        out[k] /= total
    return shift + math.log(total)


def forward_filter(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[Floats, Floats]:
    """Filtered probabilities (T, K), row t given rows up to t, and log density (T,) of each row given those before it.

    A row of zeros in ``log_likelihood`` is a bar that says nothing: only the transition happens.
    """
    filtered, log_density, _ = _filter(startprob, transmat, log_likelihood)
    return filtered, log_density


def expectation(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[float, Floats, Floats]:
    """The E-step: total log-likelihood, smoothed probabilities (T, K) and summed transition probabilities (K, K)."""
    gamma, log_density, likelihood = _filter(startprob, transmat, log_likelihood)
    transitions = np.zeros_like(transmat)
    _backward((0,) * len(startprob), transmat, likelihood, gamma, transitions)
    return float(log_density.sum()), gamma, transitions * transmat


def _filter(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[Floats, Floats, Floats]:
    """Filtered probabilities, log densities, and each row's likelihoods up to a factor."""
    sizes = (0,) * len(startprob)
    likelihood, filtered = np.empty_like(log_likelihood), np.empty_like(log_likelihood)
    density = np.empty((2, len(log_likelihood)))
    _shift_rows(sizes, log_likelihood, likelihood, density[0])
    np.exp(likelihood, out=likelihood)
    _forward(sizes, startprob, transmat, log_likelihood, likelihood, filtered, density)
    np.log(density[1], out=density[1])
    return filtered, density[0] + density[1], likelihood


def student_t_log_likelihood(X: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) in each state: independent Student-t per feature.

    A NaN says nothing about the state.
    """
    states = len(means)
    result, logs = np.zeros((len(X), states)), np.empty((len(X), states))
    for d in range(X.shape[1]):
        scale, nu = scales[:, d], dfs[:, d]
        _scale_squares((0,) * states, X[:, d], means[:, d], 1 / (scale * np.sqrt(nu)), logs)
        np.log1p(logs, out=logs)
        constant = np.array([math.lgamma((one + 1) / 2) - math.lgamma(one / 2) for one in nu.tolist()])
        constant -= 0.5 * np.log(nu * math.pi) + np.log(scale)
        _add_densities((0,) * states, result, X[:, d], logs, constant, (nu + 1) / 2)
    return result


def student_t_statistics(X: Floats, gamma: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Sums (4, K, D) for the M-step: of g u, g u (x - mean), g u (x - mean)^2 and g (log u - u).

    g is the smoothed probability and u = (df + 1) / (df + z^2) the weight that makes a Student-t robust.
    """
    sizes = (0,) * len(means)
    result = np.zeros((4, *means.shape))
    weights, logs = np.empty_like(gamma), np.empty_like(gamma)
    for d in range(X.shape[1]):
        part = np.zeros((4, len(means)))
        _robust_weights(sizes, X[:, d], means[:, d], scales[:, d], dfs[:, d], weights)
        np.log(weights, out=logs)
        _add_moments(sizes, X[:, d], gamma, means[:, d], weights, logs, part)
        result[:, :, d] = part
    return result


# The functions below take the number of states from the length of a tuple: the compiler then knows it and unrolls the
# loops over states. Exponentials and logarithms are left to numpy, which takes them eight at a time, and so is memory,
# which numpy asks for in huge pages.


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _shift_rows(sizes: tuple[int, ...], log_likelihood: Floats, shifted: Floats, shift: Floats) -> None:
    """Each row less its maximum into ``shifted``, and the maxima into ``shift``."""
    states = len(sizes)
    for t in range(log_likelihood.shape[0]):
        top = log_likelihood[t, 0]
        for k in range(1, states):
            top = max(top, log_likelihood[t, k])
        for k in range(states):
            shifted[t, k] = log_likelihood[t, k] - top
        shift[t] = top


@nb.njit(cache=True, nogil=True)
def _careful_row(predicted: Floats, log_likelihood: Floats, likelihood: Floats, filtered: Floats) -> float:
    """``filter_step`` from an unnormalised prediction; ``likelihood`` is set anew, relative to that density."""
    log_density = filter_step(predicted / predicted.sum(), log_likelihood, filtered)
    for k in range(predicted.shape[0]):
        # Where nothing is allowed (-inf) the bar says nothing; an unreachable state may exceed the reachable ones.
        ratio = math.exp(min(log_likelihood[k] - log_density, 300.0))
        likelihood[k] = ratio if log_density > -np.inf else 1.0
    return log_density


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _forward(
    sizes: tuple[int, ...],
    startprob: Floats,
    transmat: Floats,
    log_likelihood: Floats,
    likelihood: Floats,
    filtered: Floats,
    density: Floats,
) -> None:
    """Filtered probabilities into ``filtered``; each row's density is exp(``density[0]``) times ``density[1]``.

    What is carried from row to row is normalised only when it has run down: a division each time would double the way
    from one row to the next. A row that the shift made unlikely for every reachable state is done with care, and
    ``likelihood`` and ``density[0]`` are corrected for it.
    """
    states = len(sizes)
    shift, gain = density[0], density[1]
    carried, predicted = np.empty(states), startprob.copy()
    before = 1.0
    for t in range(log_likelihood.shape[0]):
        if t > 0:
            for j in range(states):
                flow = 0.0
                for i in range(states):
                    flow += carried[i] * transmat[i, j]
                predicted[j] = flow
        total = 0.0
        for k in range(states):
            carried[k] = predicted[k] * likelihood[t, k]
            total += carried[k]
        scale = 1.0 / total if total > 0.0 else 0.0
        for k in range(states):
            filtered[t, k] = carried[k] * scale
        gain[t] = total / before
        before = total
        if not total > _LEAST_FACTOR:
            shift[t] = _careful_row(predicted, log_likelihood[t], likelihood[t], filtered[t])
            for k in range(states):
                carried[k] = filtered[t, k]
            gain[t] = before = 1.0


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _backward(
    sizes: tuple[int, ...], transmat: Floats, likelihood: Floats, filtered: Floats, transitions: Floats
) -> None:
    """Turns ``filtered`` into smoothed probabilities; ``transitions`` gains their transitions', over ``transmat``."""
    states = len(sizes)
    beta, onward, weight = np.ones(states), np.empty(states), np.empty(states)
    for t in range(filtered.shape[0] - 2, -1, -1):
        for j in range(states):
            # Only a state with a probability under exp(-300) meets the bound, where it can change no result.
            onward[j] = min(likelihood[t + 1, j] * beta[j], _BETA_CAP)
        total = 0.0
        for i in range(states):
            flow = 0.0
            for j in range(states):
                flow += transmat[i, j] * onward[j]
            beta[i] = flow
            weight[i] = filtered[t, i] * flow
            total += weight[i]
        scale = 1.0 / total
        for i in range(states):
            share = filtered[t, i] * scale
            for j in range(states):
                transitions[i, j] += share * onward[j]
            filtered[t, i] = weight[i] * scale
        if not _LEAST_FACTOR < total < 1 / _LEAST_FACTOR:
            for i in range(states):
                beta[i] *= scale


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _scale_squares(sizes: tuple[int, ...], x: Floats, means: Floats, factors: Floats, result: Floats) -> None:
    states = len(sizes)
    for t in range(x.shape[0]):
        for k in range(states):
            z = (x[t] - means[k]) * factors[k]
            result[t, k] = z * z


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _add_densities(
    sizes: tuple[int, ...], result: Floats, x: Floats, logs: Floats, constant: Floats, exponent: Floats
) -> None:
    """Adds one feature's log densities to ``result`` (T, K) where it has a value."""
    states = len(sizes)
    for t in range(x.shape[0]):
        if not math.isnan(x[t]):
            for k in range(states):
                result[t, k] += constant[k] - exponent[k] * logs[t, k]


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _robust_weights(
    sizes: tuple[int, ...], x: Floats, means: Floats, scales: Floats, dfs: Floats, weights: Floats
) -> None:
    states = len(sizes)
    for t in range(x.shape[0]):
        for k in range(states):
            z = (x[t] - means[k]) / scales[k]
            weights[t, k] = (dfs[k] + 1) / (dfs[k] + z * z)


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _add_moments(
    sizes: tuple[int, ...], x: Floats, gamma: Floats, means: Floats, weights: Floats, logs: Floats, result: Floats
) -> None:
    states = len(sizes)
    for t in range(x.shape[0]):
        for k in range(states):
            away = x[t] - means[k]
            weight = gamma[t, k] * weights[t, k]
            result[0, k] += weight
            result[1, k] += weight * away
            result[2, k] += weight * away * away
            result[3, k] += gamma[t, k] * (logs[t, k] - weights[t, k])
