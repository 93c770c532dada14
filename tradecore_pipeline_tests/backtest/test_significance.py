"""Deflated Sharpe ratios, effective trials and intervals, on worlds whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tradecore_pipeline.backtest.significance import (
    _probability,
    bootstrap_intervals,
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    probabilistic_sharpe,
    significance,
)
from tradecore_pipeline.domain.errors import NotEnoughHistoryError

DRAWS = 2000


def noise(seed: int, days: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (days, columns))


def frame(columns: np.ndarray) -> pd.DataFrame:
    index = pd.date_range("2022-01-01", periods=len(columns), tz="UTC")
    return pd.DataFrame(columns, index=index, columns=[f"trial {number}" for number in range(columns.shape[1])])


def test_the_published_example_of_a_deflated_sharpe_ratio() -> None:
    """Bailey and Lopez de Prado (2014): 100 trials, their annual variance .5, 1250 days, 250 a year."""
    best = math.sqrt(0.5 / 250) * expected_maximum(100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    found = 2.5 / math.sqrt(250)
    assert _probability(found - best, 1250, found=found, skewness=-3, kurtosis=10) == pytest.approx(0.9004, abs=5e-5)


def test_the_probability_is_the_normal_one_for_normal_returns() -> None:
    returns = noise(1, 100_000, 1)[:, 0] + 0.00005
    found = returns.mean() / returns.std(ddof=1)
    expected = norm.cdf(found * math.sqrt((len(returns) - 1) / (1 + found**2 / 2)))
    assert probabilistic_sharpe(returns, benchmark=0.0) == pytest.approx(expected, abs=1e-3)
    assert probabilistic_sharpe(returns, benchmark=found) == pytest.approx(0.5)


def test_the_probability_is_right_as_often_as_it_says() -> None:
    """Without skill it is uniform: 5% of the series exceed .95."""
    random = np.random.default_rng(2)
    said = np.array([probabilistic_sharpe(random.normal(0, 1, 250), benchmark=0.0) for _ in range(2000)])
    assert np.mean(said > 0.95) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("count", [2, 5, 30, 300])
def test_the_expected_best_is_that_of_drawn_numbers(count: int) -> None:
    drawn = np.random.default_rng(count).standard_normal((20_000, count)).max(axis=1).mean()
    assert expected_maximum(count) == pytest.approx(drawn, abs=0.05)


def test_copies_are_one_trial_and_strangers_are_as_many_as_they_are() -> None:
    one = noise(3, 500, 1)
    assert effective_trials(np.repeat(one, 40, axis=1) * np.arange(1, 41), repetitions=DRAWS, seed=0) < 1.2
    assert effective_trials(noise(4, 500, 50), repetitions=DRAWS, seed=0) == pytest.approx(50, rel=0.2)


def test_more_trials_than_days_are_counted() -> None:
    assert effective_trials(noise(5, 100, 1000), repetitions=DRAWS, seed=0) > 500


def test_clusters_of_near_copies_beside_loners_are_counted_as_such() -> None:
    random = np.random.default_rng(6)
    shared = random.standard_normal((365, 1))
    copies = np.sqrt(0.99) * shared + 0.1 * random.standard_normal((365, 900))
    together = np.hstack((copies, random.standard_normal((365, 100))))
    # A count by the entropy of the correlations' eigenvalues gives 2.4 here, Galwey's 28; drawn maxima say 97.
    assert 70 < effective_trials(together, repetitions=DRAWS, seed=0) < 130


def test_trials_of_other_days_are_independent_ones() -> None:
    early, late = noise(7, 200, 1), noise(8, 200, 1)
    apart = np.full((400, 2), np.nan)
    apart[:200, [0]], apart[200:, [1]] = early, late
    assert effective_trials(apart, repetitions=DRAWS, seed=0) > 1.6


@pytest.mark.parametrize("columns", [0, 1])
def test_one_trial_deflates_nothing(columns: int) -> None:
    assert effective_trials(noise(9, 50, columns), repetitions=DRAWS, seed=0) == 1
    assert effective_trials(np.zeros((50, 3)), repetitions=DRAWS, seed=0) == 1
    returns = noise(9, 50, 1)[:, 0] + 0.001
    found = deflated_sharpe(returns, frame(returns[:, None]), repetitions=DRAWS, seed=0)
    assert found.expected_best == 0
    assert found.probability == probabilistic_sharpe(returns, benchmark=0.0)


def test_the_best_of_many_without_skill_is_not_believed_and_skill_is() -> None:
    trusted, naive = 0, 0
    for seed in range(60):
        trials = noise(100 + seed, 365, 40)
        best = trials[:, np.argmax(trials.mean(axis=0) / trials.std(axis=0))]
        trusted += deflated_sharpe(best, frame(trials), repetitions=500, seed=0).probability > 0.95
        naive += probabilistic_sharpe(best, benchmark=0.0) > 0.95
    assert trusted <= 6
    assert naive >= 45
    skilled = noise(1, 1500, 40)
    skilled[:, 0] += 0.0015
    assert deflated_sharpe(skilled[:, 0], frame(skilled), repetitions=500, seed=0).probability > 0.95


def test_much_alike_trials_still_deflate() -> None:
    random = np.random.default_rng(10)
    alike = random.normal(0, 0.01, (365, 1)) + random.normal(0, 0.002, (365, 200))
    found = deflated_sharpe(alike[:, 0], frame(alike), repetitions=DRAWS, seed=0)
    assert found.configurations == 200
    assert 1 < found.effective < 20
    assert found.expected_best > 0.2


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(100):
        returns = np.random.default_rng(seed).normal(0.0005, 0.01, 400)
        low, high = bootstrap_intervals(returns, repetitions=200, seed=seed).sharpe
        held += low < 0.05 * math.sqrt(365) < high
    assert 85 <= held <= 100


def test_the_same_seed_gives_the_same_intervals() -> None:
    returns = noise(11, 100, 1)[:, 0]
    one, other = (bootstrap_intervals(returns, repetitions=100, seed=3) for _ in range(2))
    assert one == other
    assert one.max_drawdown[0] <= one.max_drawdown[1] <= 0


def test_constant_and_short_series_say_so() -> None:
    flat = bootstrap_intervals(np.zeros(50), repetitions=50, seed=0)
    assert all(math.isnan(value) for value in flat.sharpe)
    assert flat.annual_return == flat.max_drawdown == (0.0, 0.0)
    with pytest.raises(NotEnoughHistoryError, match="5 days are too few"):
        bootstrap_intervals(np.zeros(5), repetitions=50, seed=0)


def test_a_flat_trial_and_a_ruined_one_do_not_stop_the_rest() -> None:
    trials = noise(12, 100, 3)
    trials[:, 1] = 0.0
    trials[50:, 2] = 0.0
    trials[50, 2] = -1.0
    daily = pd.Series(trials[:, 0], index=frame(trials).index)
    found = significance(daily, frame(trials), permutation=None, repetitions=100, seed=0)
    assert found.deflated is not None
    assert found.deflated.configurations == 3
    assert 0 <= found.deflated.probability <= 1


def test_a_short_run_has_no_intervals_and_everything_else() -> None:
    daily = pd.Series([0.01, -0.02, 0.03], index=frame(np.zeros((3, 1))).index)
    found = significance(daily, None, permutation=None, repetitions=100, seed=0)
    assert found.intervals is None
    assert 0 < found.probabilistic_sharpe < 1
