import numpy as np
import pytest

from tradecore_pipeline.models.statistics import mean_interval, variance_of_mean


def test_without_lags_it_is_the_plain_variance_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 500)
    assert variance_of_mean(values, lags=0) == pytest.approx(values.var() / 500)


def test_autocorrelation_makes_t_modest() -> None:
    random = np.random.default_rng(1)
    calls = []
    for _ in range(300):
        noise = np.convolve(random.normal(size=1200), np.ones(12), mode="valid")
        calls.append([abs(noise.mean()) > 2 * np.sqrt(variance_of_mean(noise, lags=lags)) for lags in (0, 48)])
    plain, robust = np.mean(calls, axis=0)
    assert plain > 0.4
    assert robust < 0.12


def test_the_interval_of_a_state_holds_the_true_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    state = (np.repeat(random.random(100) < 0.4, 20)).astype(np.float64)
    held = []
    for _ in range(300):
        noise = np.convolve(random.normal(size=len(state) + 5), np.ones(6), mode="valid")
        mean, low, high = mean_interval(noise + 0.5 * state, state, lags=24)
        assert mean == pytest.approx((noise + 0.5 * state)[state > 0].mean())
        held.append(low < 0.5 < high)
    assert 0.88 < np.mean(held) <= 0.99


def test_a_state_that_hardly_came_has_no_interval() -> None:
    assert np.isnan(mean_interval(np.arange(5.0), np.array([0, 0, 1.0, 0, 0]), lags=2)).all()
