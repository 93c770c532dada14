import numpy as np
import pytest

from tradecore_pipeline.validation.scores import hac_mean, mean_log_score, oracle_r2, state_accuracy


def test_without_lags_the_t_is_the_plain_one() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 500)
    found = hac_mean(values, lags=0)
    assert found.t_statistic == pytest.approx(values.mean() / (values.std() / np.sqrt(500)))
    assert found.smallest_detectable == pytest.approx(2 * values.std() / np.sqrt(500))


def test_autocorrelation_makes_it_modest() -> None:
    random = np.random.default_rng(1)
    calls = []
    for _ in range(300):
        noise = np.convolve(random.normal(size=1200), np.ones(12), mode="valid")
        calls.append([abs(hac_mean(noise, lags=lags).t_statistic) > 2 for lags in (0, 48)])
    plain, robust = np.mean(calls, axis=0)
    assert plain > 0.4
    assert robust < 0.12


def test_missing_rows_are_left_out_and_nothing_is_an_error() -> None:
    assert hac_mean([1.0, np.nan, 3.0], lags=1).rows == 2
    assert mean_log_score([np.nan, -1.0, -2.0]) == -1.5
    with pytest.raises(ValueError, match="nothing to score"):
        mean_log_score([np.nan])
    with pytest.raises(ValueError, match="two values"):
        hac_mean([1.0], lags=1)
    assert np.isnan(hac_mean([1.0, 1.0], lags=1).t_statistic)


def test_the_oracle_scores_one_and_silence_zero() -> None:
    oracle = np.random.default_rng(2).normal(size=100)
    assert oracle_r2(oracle, oracle) == 1
    assert oracle_r2(np.zeros(100), oracle) == 0
    assert oracle_r2(0.8 * oracle, oracle) == pytest.approx(0.96)


def test_state_accuracy_does_not_depend_on_the_names() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    assert state_accuracy(np.array([2, 2, 0, 0, 1, 1]), truth, states=3) == 1
    assert state_accuracy(np.array([2, 2, 0, 1, 1, 1]), truth, states=3) == pytest.approx(5 / 6)
