import itertools

import numpy as np
import pytest
from hmmlearn import _hmmc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import (
    EmissionDistribution,
    GaussianDistribution,
    StudentTDistribution,
    Workspace,
    digamma,
    expectation,
    filter_step,
    forward_filter,
    precision_factors,
    sequence_begins,
    solve_dfs,
    student_t_log_likelihood,
    sweep,
)


def chain(seed: int, rows: int = 40, states: int = 3) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(seed)
    start = random.dirichlet(np.ones(states))
    transmat = random.dirichlet(np.ones(states), size=states)
    return start, transmat, random.normal(-1, 2, size=(rows, states))


def enumerated(start: Floats, transmat: Floats, log_likelihood: Floats) -> tuple[float, Floats, Floats, Floats]:
    """Log-likelihood, filtered, smoothed and summed transition probabilities, by going through every path."""
    rows, states = log_likelihood.shape
    smoothed, pairs, filtered = np.zeros((rows, states)), np.zeros((states, states)), np.zeros((rows, states))
    total = 0.0
    for path in itertools.product(range(states), repeat=rows):
        p = start[path[0]] * np.exp(log_likelihood[0, path[0]])
        for t in range(1, rows):
            p *= transmat[path[t - 1], path[t]] * np.exp(log_likelihood[t, path[t]])
        total += p
        for t in range(rows):
            smoothed[t, path[t]] += p
        for a, b in itertools.pairwise(path):
            pairs[a, b] += p
    for t in range(rows):
        for path in itertools.product(range(states), repeat=t + 1):
            p = start[path[0]] * np.exp(log_likelihood[0, path[0]])
            for s in range(1, t + 1):
                p *= transmat[path[s - 1], path[s]] * np.exp(log_likelihood[s, path[s]])
            filtered[t, path[t]] += p
    filtered /= filtered.sum(axis=1, keepdims=True)
    return float(np.log(total)), filtered, smoothed / total, pairs / total


def test_the_filter_and_the_smoother_equal_brute_force_enumeration_of_paths() -> None:
    start, transmat, log_likelihood = chain(3, rows=6)
    total, expected, smoothed, pairs = enumerated(start, transmat, log_likelihood)
    log_density, gamma, transitions = expectation(start, transmat, log_likelihood)
    filtered, _ = forward_filter(start, transmat, log_likelihood)
    assert log_density == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(gamma, smoothed, atol=1e-12)
    np.testing.assert_allclose(transitions, pairs, atol=1e-12)
    np.testing.assert_allclose(filtered, expected, atol=1e-12)


def gaussian_case(seed: int, *, full: bool) -> tuple[EmissionDistribution, Floats, Floats]:
    """An emission of 2 states over 2 features, 12 rows, and scipy's log densities of them."""
    random = np.random.default_rng(seed)
    means, X = random.normal(size=(2, 2)), random.normal(size=(12, 2))
    roots = random.normal(size=(2, 2, 2)) + 2 * np.eye(2)
    covars = roots @ roots.transpose(0, 2, 1) if full else np.stack([np.diag(np.diag(root) ** 2) for root in roots])
    narrow = covars if full else np.einsum("kii->ki", covars)
    emission = GaussianDistribution(means=means, precision_factors=precision_factors(narrow), centre=X.mean(axis=0))
    densities = [stats.multivariate_normal.logpdf(X, mean, covar) for mean, covar in zip(means, covars, strict=True)]
    return emission, X, np.stack(densities, axis=1)


def student_case(seed: int) -> tuple[EmissionDistribution, Floats, Floats]:
    random = np.random.default_rng(seed)
    means, X = random.normal(size=(2, 2)), random.normal(size=(12, 2))
    scales, dfs = random.uniform(0.5, 2, size=(2, 2)), random.uniform(3, 9, size=(2, 2))
    emission = StudentTDistribution(means=means, scales=scales, dfs=dfs)
    return emission, X, stats.t.logpdf(X[:, None, :], dfs, means, scales).sum(axis=2)


@pytest.mark.parametrize("family", ["diag", "full", "student"])
def test_the_sums_of_an_e_step_over_two_sequences_equal_brute_force(family: str) -> None:
    emission, X, densities = student_case(4) if family == "student" else gaussian_case(4, full=family == "full")
    start, transmat, _ = chain(9, states=2)
    begins = sequence_begins(12, [5, 7])
    space = Workspace.suiting(None, emission, begins)
    total, found = sweep(emission, start, transmat, X, space=space)
    parts = [enumerated(start, transmat, densities[part]) for part in (slice(0, 5), slice(5, 12))]
    gamma = np.concatenate([smoothed for _, _, smoothed, _ in parts])
    assert total == pytest.approx(sum(part[0] for part in parts), rel=1e-12)
    np.testing.assert_allclose(found["trans"], sum(part[3] for part in parts), atol=1e-12)
    np.testing.assert_allclose(found["start"], sum(part[2][0] for part in parts), atol=1e-12)
    np.testing.assert_allclose(found["post"], gamma.sum(axis=0), atol=1e-12)
    if family != "student":
        away = X - X.mean(axis=0)
        row, column = np.tril_indices(2) if family == "full" else (np.arange(2), np.arange(2))
        np.testing.assert_allclose(found["first"], gamma.T @ away, atol=1e-12)
        np.testing.assert_allclose(found["second"], gamma.T @ (away[:, row] * away[:, column]), atol=1e-12)


def test_student_t_sums_are_those_of_the_weights_that_make_it_robust() -> None:
    random = np.random.default_rng(2)
    X, gamma = random.standard_t(3, size=(700, 2)), random.dirichlet(np.ones(3), size=700)
    means, scales = random.normal(size=(3, 2)), random.uniform(0.5, 2, size=(3, 2))
    dfs = random.uniform(3, 9, size=(3, 2))
    emission = StudentTDistribution(means=means, scales=scales, dfs=dfs)
    emission.accumulate(X, np.ascontiguousarray(gamma.T), first=0)
    away = X[:, None, :] - means
    weight = (dfs + 1) / (dfs + (away / scales) ** 2)
    g = gamma[:, :, None]
    expected = [part.sum(axis=0) for part in (g * weight, g * weight * away, g * weight * away**2)]
    expected.append((g * (np.log(weight) - weight)).sum(axis=0))
    np.testing.assert_allclose(emission.sums["moments"], expected, rtol=1e-11, atol=1e-11)


def test_degrees_of_freedom_solve_their_condition_between_floor_and_cap() -> None:
    dfs, constant = np.array([[3.5, 8.0, 8.0]]), np.array([[-0.9, -5.0, 5.0]]) / 10
    found = solve_dfs(constant, dfs, 3.0, 200.0)
    level = constant + special.digamma((dfs + 1) / 2) - np.log((dfs + 1) / 2)
    condition = np.log(found / 2) - special.digamma(found / 2) + level
    assert abs(condition[0, 0]) < 1e-9
    np.testing.assert_allclose(found[0, 1:], [3.0, 200.0], rtol=1e-9)
    for x in (0.5, 1.5, 2.0, 9.99, 10.0, 100.0):
        assert digamma(x) == pytest.approx(special.digamma(x), rel=1e-12)


def test_blocks_and_sequences_of_any_length_give_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(6)
    X, start, transmat = random.normal(size=(1300, 2)), np.array([0.4, 0.6]), np.array([[0.9, 0.1], [0.2, 0.8]])
    begins = sequence_begins(1300, [1, 499, 2, 798])
    found = []
    for rows in (8192, 500, 7):
        emission, _, _ = gaussian_case(4, full=True)
        monkeypatch.setattr(emission, "block_rows", rows)
        space = Workspace.suiting(None, emission, begins)
        found.append(sweep(emission, start, transmat, X, space=space))
    for total, sums in found[1:]:
        assert total == pytest.approx(found[0][0], rel=1e-13)
        for name in ("start", "trans", "post", "first", "second"):
            np.testing.assert_allclose(sums[name], found[0][1][name], rtol=1e-10, atol=1e-10)


def test_lengths_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 9 rows of 10"):
        sequence_begins(10, [4, 5])


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


def test_rows_that_are_lost_to_underflow_are_all_added_up_once_and_with_care() -> None:
    start, transmat = np.array([0.5, 0.5]), np.eye(2)
    X = np.concatenate((np.zeros(150), [70.0], np.zeros(49)))[:, None]
    factors = precision_factors(np.array([[0.01], [4.0]]))
    emission = GaussianDistribution(means=np.zeros((2, 1)), precision_factors=factors, centre=np.zeros(1))
    emission.block_rows = 30
    total, found = sweep(
        emission, start, transmat, X, space=Workspace.suiting(None, emission, sequence_begins(200, None))
    )
    # Without transitions one row, 700 of the narrow state's deviations out, gives all of them to the wide one.
    assert total == pytest.approx(np.log(0.5) + stats.norm.logpdf(X, scale=2.0).sum(), rel=1e-12)
    np.testing.assert_allclose(found["post"], [0, 200], atol=1e-9)
    np.testing.assert_allclose(found["first"], [[0], [70]], atol=1e-9)
    np.testing.assert_allclose(found["second"], [[0], [4900]], atol=1e-9)


@pytest.mark.parametrize("states", [1, 3])
def test_one_row_is_its_own_window(states: int) -> None:
    start, transmat, log_likelihood = chain(1, rows=1, states=states)
    total, gamma, transitions = expectation(start, transmat, log_likelihood)
    weight = start * np.exp(log_likelihood[0])
    assert total == pytest.approx(np.log(weight.sum()), rel=1e-12)
    np.testing.assert_allclose(gamma[0], weight / weight.sum(), atol=1e-15)
    assert not transitions.any()


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
