import numpy as np
import pytest

from tradecore_pipeline.domain.statistics import variance_of_mean


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


def test_more_lags_than_rows_and_rounding_leave_a_variance() -> None:
    assert variance_of_mean(np.array([1.0, -1.0, 1.0]), lags=48) >= 0
    assert variance_of_mean(np.full(7, 0.1), lags=3) >= 0
