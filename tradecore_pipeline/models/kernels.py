"""The loops that must be fast: forward filter, E-step and Student-t emissions, compiled by numba and cached on disk.

Log-likelihood rows are shifted by the maximum over the states that can be reached, so that no bar, however extreme,
underflows to a zero row.
"""

import math

import numba as nb
import numpy as np

from tradecore_pipeline.models.density import Floats

_BETA_CAP = 1e150
_LEAST_FACTOR = 1e-30
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
    sizes = (0,) * log_likelihood.shape[1]
    likelihood, shift = _shifted(sizes, log_likelihood)
    np.exp(likelihood, out=likelihood)
    alpha, gain = _forward(sizes, startprob, transmat, log_likelihood, likelihood, shift)
    _normalise(sizes, alpha)
    return alpha, shift + np.log(gain)


def expectation(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[float, Floats, Floats]:
    """The E-step: total log-likelihood, smoothed probabilities (T, K) and summed transition probabilities (K, K)."""
    sizes = (0,) * log_likelihood.shape[1]
    likelihood, shift = _shifted(sizes, log_likelihood)
    np.exp(likelihood, out=likelihood)
    gamma, gain = _forward(sizes, startprob, transmat, log_likelihood, likelihood, shift)
    transitions = _backward(sizes, transmat, likelihood, gamma)
    return float((shift + np.log(gain)).sum()), gamma, transitions


def student_t_log_likelihood(X: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) in each state: independent Student-t per feature.

    A NaN says nothing about the state.
    """
    states = len(means)
    result = np.zeros((len(X), states))
    for d in range(X.shape[1]):
        scale, nu = scales[:, d], dfs[:, d]
        logs = _scaled_squares((0,) * states, X[:, d], means[:, d], 1 / (scale * np.sqrt(nu)))
        np.log1p(logs, out=logs)
        constant = np.array([math.lgamma((one + 1) / 2) - math.lgamma(one / 2) for one in nu.tolist()])
        constant -= 0.5 * np.log(nu * math.pi) + np.log(scale)
        _add_densities((0,) * states, result, X[:, d], logs, constant, (nu + 1) / 2)
    return result


# The functions below take the number of states from the length of a tuple: the compiler then knows it and unrolls the
# loops over states. Exponentials and logarithms are left to numpy, which takes them eight at a time.


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _shifted(sizes: tuple[int, ...], log_likelihood: Floats) -> tuple[Floats, Floats]:
    """Each row less its maximum, and the maxima."""
    rows, states = log_likelihood.shape[0], len(sizes)
    shifted, shift = np.empty((rows, states)), np.empty(rows)
    for t in range(rows):
        top = log_likelihood[t, 0]
        for k in range(1, states):
            top = max(top, log_likelihood[t, k])
        for k in range(states):
            shifted[t, k] = log_likelihood[t, k] - top
        shift[t] = top
    return shifted, shift


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _forward(
    sizes: tuple[int, ...],
    startprob: Floats,
    transmat: Floats,
    log_likelihood: Floats,
    likelihood: Floats,
    shift: Floats,
) -> tuple[Floats, Floats]:
    """Filtered probabilities (T, K) up to a factor per row, and the factor (T,) that each row's bar brought.

    Normalising only where the factor has run down keeps divisions off the path from row to row. A row that the shift
    made unlikely for every reachable state is done with care, and ``likelihood`` and ``shift`` are corrected for it.
    """
    rows, states = log_likelihood.shape[0], len(sizes)
    alpha, gain = np.empty((rows, states)), np.empty(rows)
    predicted = startprob.copy()
    before = 1.0
    for t in range(rows):
        if t > 0:
            for j in range(states):
                flow = 0.0
                for i in range(states):
                    flow += alpha[t - 1, i] * transmat[i, j]
                predicted[j] = flow
        total = 0.0
        for k in range(states):
            alpha[t, k] = predicted[k] * likelihood[t, k]
            total += alpha[t, k]
        gain[t] = total / before
        before = total
        if not total > _LEAST_FACTOR:
            predicted /= predicted.sum()
            shift[t] = filter_step(predicted, log_likelihood[t], alpha[t])
            for k in range(states):
                # Where nothing is allowed (-inf) the bar says nothing; an unreachable state may exceed the reachable.
                ratio = math.exp(min(log_likelihood[t, k] - shift[t], 300.0))
                likelihood[t, k] = ratio if shift[t] > -np.inf else 1.0
            gain[t] = before = 1.0
    return alpha, gain


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _normalise(sizes: tuple[int, ...], alpha: Floats) -> None:
    states = len(sizes)
    for t in range(alpha.shape[0]):
        total = 0.0
        for k in range(states):
            total += alpha[t, k]
        for k in range(states):
            alpha[t, k] /= total


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _backward(sizes: tuple[int, ...], transmat: Floats, likelihood: Floats, alpha: Floats) -> Floats:
    """Turns ``alpha`` into smoothed probabilities, and gives the summed transition probabilities (K, K)."""
    rows, states = alpha.shape[0], len(sizes)
    transitions = np.zeros((states, states))
    beta, onward, weight = np.ones(states), np.empty(states), np.empty(states)
    alpha[rows - 1] /= alpha[rows - 1].sum()
    for t in range(rows - 2, -1, -1):
        for j in range(states):
            # Only a state with a probability under exp(-300) meets the bound, where it can change no result.
            onward[j] = min(likelihood[t + 1, j] * beta[j], _BETA_CAP)
        total = 0.0
        for i in range(states):
            flow = 0.0
            for j in range(states):
                flow += transmat[i, j] * onward[j]
            beta[i] = flow
            weight[i] = alpha[t, i] * flow
            total += weight[i]
        scale = 1.0 / total
        for i in range(states):
            share = alpha[t, i] * scale
            for j in range(states):
                transitions[i, j] += share * onward[j]
            alpha[t, i] = weight[i] * scale
        if not _LEAST_FACTOR < total < 1 / _LEAST_FACTOR:
            beta *= scale
    return transitions * transmat


@nb.njit(cache=True, nogil=True, fastmath=_FUSED)
def _scaled_squares(sizes: tuple[int, ...], x: Floats, means: Floats, factors: Floats) -> Floats:
    rows, states = x.shape[0], len(sizes)
    result = np.empty((rows, states))
    for t in range(rows):
        for k in range(states):
            z = (x[t] - means[k]) * factors[k]
            result[t, k] = z * z
    return result


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


@nb.njit(cache=True, nogil=True)
def student_t_statistics(X: Floats, gamma: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Sums (4, K, D) for the M-step: of g u, g u (x - mean), g u (x - mean)^2 and g (log u - u).

    g is the smoothed probability and u = (df + 1) / (df + z^2) the weight that makes a Student-t robust.
    """
    rows, features = X.shape
    states = means.shape[0]
    result = np.zeros((4, states, features))
    for t in range(rows):
        for k in range(states):
            for d in range(features):
                away = X[t, d] - means[k, d]
                z = away / scales[k, d]
                u = (dfs[k, d] + 1) / (dfs[k, d] + z * z)
                weight = gamma[t, k] * u
                result[0, k, d] += weight
                result[1, k, d] += weight * away
                result[2, k, d] += weight * away * away
                result[3, k, d] += gamma[t, k] * (math.log(u) - u)
    return result
