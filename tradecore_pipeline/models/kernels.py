"""The loops that must be fast: forward filter, E-step and Student-t emissions, compiled by numba and cached on disk.

Log-likelihood rows are shifted by the maximum over the states that can be reached, so that no bar, however extreme,
underflows to a zero row.
"""

import math

import numba as nb
import numpy as np

from tradecore_pipeline.models.density import Floats

_BETA_CAP = 1e150


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


@nb.njit(cache=True, nogil=True)
def forward_filter(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[Floats, Floats]:
    """Filtered probabilities (T, K), row t given rows up to t, and log density (T,) of each row given those before it.

    A row of zeros in ``log_likelihood`` is a bar that says nothing: only the transition happens.
    """
    rows, states = log_likelihood.shape
    filtered = np.empty((rows, states))
    log_density = np.empty(rows)
    predicted = startprob.copy()
    for t in range(rows):
        if t > 0:
            for j in range(states):
                predicted[j] = 0.0
                for i in range(states):
                    predicted[j] += filtered[t - 1, i] * transmat[i, j]
        log_density[t] = filter_step(predicted, log_likelihood[t], filtered[t])
    return filtered, log_density


@nb.njit(cache=True, nogil=True)
def expectation(startprob: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[float, Floats, Floats]:
    """The E-step: total log-likelihood, smoothed probabilities (T, K) and summed transition probabilities (K, K)."""
    rows, states = log_likelihood.shape
    gamma, log_density = forward_filter(startprob, transmat, log_likelihood)
    transitions = np.zeros((states, states))
    beta = np.ones(states)
    onward = np.empty(states)
    for t in range(rows - 2, -1, -1):
        for j in range(states):
            # Only a state with a probability under exp(-300) meets the bounds, where it can change no result.
            ratio = math.exp(min(log_likelihood[t + 1, j] - log_density[t + 1], 300.0))
            onward[j] = min(ratio * beta[j], _BETA_CAP)
        total = 0.0
        for i in range(states):
            beta[i] = 0.0
            for j in range(states):
                flow = transmat[i, j] * onward[j]
                beta[i] += flow
                transitions[i, j] += gamma[t, i] * flow
            total += gamma[t, i] * beta[i]
        for i in range(states):
            beta[i] /= total
            gamma[t, i] *= beta[i]
    return log_density.sum(), gamma, transitions


@nb.njit(cache=True, nogil=True)
def student_t_log_likelihood(X: Floats, means: Floats, scales: Floats, dfs: Floats) -> Floats:
    """Log density (T, K) of each row of ``X`` (T, D) in each state: independent Student-t per feature.

    A NaN says nothing about the state.
    """
    rows, features = X.shape
    states = means.shape[0]
    constant = np.empty((states, features))
    for k in range(states):
        for d in range(features):
            nu = dfs[k, d]
            constant[k, d] = (
                math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) - math.log(scales[k, d])
            )
    result = np.zeros((rows, states))
    for t in range(rows):
        for d in range(features):
            if math.isnan(X[t, d]):
                continue
            for k in range(states):
                z = (X[t, d] - means[k, d]) / scales[k, d]
                result[t, k] += constant[k, d] - (dfs[k, d] + 1) / 2 * math.log1p(z * z / dfs[k, d])
    return result


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
