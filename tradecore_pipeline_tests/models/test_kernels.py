import itertools

import numpy as np
import pytest
from hmmlearn import _hmmc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import (
    expectation,
    filter_step,
    forward_filter,
    student_t_log_likelihood,
)


def chain(seed: int, rows: int = 40, states: int = 3) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(seed)
    start = random.dirichlet(np.ones(states))
    transmat = random.dirichlet(np.ones(states), size=states)
    return start, transmat, random.normal(-1, 2, size=(rows, states))


def test_the_filter_and_the_smoother_equal_brute_force_enumeration_of_paths() -> None:
    start, transmat, log_likelihood = chain(3, rows=6)
    rows, states = log_likelihood.shape
    weight = np.zeros((rows, states))
    pairs = np.zeros((states, states))
    total = 0.0
    for path in itertools.product(range(states), repeat=rows):
        p = start[path[0]] * np.exp(log_likelihood[0, path[0]])
        for t in range(1, rows):
            p *= transmat[path[t - 1], path[t]] * np.exp(log_likelihood[t, path[t]])
        total += p
        for t in range(rows):
            weight[t, path[t]] += p
        for a, b in itertools.pairwise(path):
            pairs[a, b] += p
    log_density, gamma, transitions = expectation(start, transmat, log_likelihood)
    filtered, _ = forward_filter(start, transmat, log_likelihood)
    assert log_density == pytest.approx(np.log(total), rel=1e-12)
    np.testing.assert_allclose(gamma, weight / total, atol=1e-12)
    np.testing.assert_allclose(transitions, pairs / total, atol=1e-12)
    np.testing.assert_allclose(filtered[-1], weight[-1] / total, atol=1e-12)


def test_the_e_step_equals_hmmlearns_scaling_implementation() -> None:
    start, transmat, log_likelihood = chain(5, rows=2000, states=4)
    likelihood = np.exp(log_likelihood)
    expected, forward, scaling = _hmmc.forward_scaling(start, transmat, likelihood)
    backward = _hmmc.backward_scaling(start, transmat, likelihood, scaling)
    posterior = forward * backward
    posterior /= posterior.sum(axis=1, keepdims=True)
    log_density, gamma, transitions = expectation(start, transmat, log_likelihood)
    filtered, _ = forward_filter(start, transmat, log_likelihood)
    assert log_density == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(filtered, forward, atol=1e-10)
    np.testing.assert_allclose(gamma, posterior, atol=1e-10)
    xi = _hmmc.compute_scaling_xi_sum(forward, transmat, backward, likelihood)
    np.testing.assert_allclose(transitions, xi, rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), states=st.integers(2, 5))
def test_filtered_rows_sum_to_one_and_one_bar_at_a_time_gives_the_same(seed: int, states: int) -> None:
    start, transmat, log_likelihood = chain(seed, rows=25, states=states)
    filtered, log_density = forward_filter(start, transmat, log_likelihood)
    np.testing.assert_allclose(filtered.sum(axis=1), 1, atol=1e-12)
    out, predicted = np.empty(states), start
    for t in range(25):
        assert filter_step(predicted, log_likelihood[t], out) == pytest.approx(log_density[t], abs=1e-12)
        np.testing.assert_allclose(out, filtered[t], atol=1e-12)
        predicted = out @ transmat


def test_an_80_sigma_bar_does_not_underflow() -> None:
    start, transmat = np.array([0.5, 0.5]), np.array([[0.99, 0.01], [0.02, 0.98]])
    x = np.concatenate((np.random.default_rng(0).normal(size=50), [80.0], np.zeros(50)))
    log_likelihood = np.stack([stats.norm.logpdf(x, scale=0.5), stats.norm.logpdf(x, scale=1.5)], axis=1)
    log_density, gamma, transitions = expectation(start, transmat, log_likelihood)
    assert np.isfinite(log_density)
    np.testing.assert_allclose(gamma.sum(axis=1), 1, atol=1e-12)
    assert transitions.sum() == pytest.approx(100, rel=1e-9)


def test_a_bar_that_only_an_unreachable_state_explains_is_judged_by_the_reachable_ones() -> None:
    start, transmat = np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    log_likelihood = np.zeros((30, 2))
    log_likelihood[10] = [-5000.0, 0.0]
    filtered, log_density = forward_filter(start, transmat, log_likelihood)
    total, gamma, transitions = expectation(start, transmat, log_likelihood)
    assert log_density[10] == total == -5000
    np.testing.assert_array_equal(filtered, np.tile([1.0, 0.0], (30, 1)))
    np.testing.assert_array_equal(gamma, filtered)
    np.testing.assert_array_equal(transitions, [[29.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("rows", [1, 7, 8, 100, 1999])
def test_later_rows_change_no_bit_of_the_filter(rows: int) -> None:
    start, transmat, _ = chain(8)
    X = np.random.default_rng(8).standard_t(3, size=(2000, 2))
    means, scales, dfs = np.zeros((3, 2)), np.array([[0.5], [1.0], [2.0]]) * np.ones(2), np.full((3, 2), 4.0)
    whole = forward_filter(start, transmat, student_t_log_likelihood(X, means, scales, dfs))
    part = forward_filter(start, transmat, student_t_log_likelihood(X[:rows], means, scales, dfs))
    for found, expected in zip(part, whole, strict=True):
        np.testing.assert_array_equal(found, expected[:rows])


def test_a_bar_that_no_reachable_state_allows_says_so_and_leaves_the_prediction() -> None:
    out = np.empty(2)
    assert filter_step(np.array([1.0, 0.0]), np.array([-np.inf, 0.0]), out) == -np.inf
    np.testing.assert_array_equal(out, [1.0, 0.0])


def test_student_t_emissions_equal_scipys_and_skip_what_is_missing() -> None:
    X = np.array([[0.3, -1.0], [np.nan, 2.0]])
    means, scales, dfs = np.array([[0.1, 0.2]]), np.array([[1.5, 0.7]]), np.array([[4.0, 9.0]])
    found = student_t_log_likelihood(X, means, scales, dfs)
    second = stats.t.logpdf(X[:, 1], 9.0, 0.2, 0.7)
    first = stats.t.logpdf(X[0, 0], 4.0, 0.1, 1.5)
    np.testing.assert_allclose(found[:, 0], [first + second[0], second[1]], rtol=1e-12)
