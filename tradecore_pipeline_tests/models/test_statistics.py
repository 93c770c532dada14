import numpy as np
import pytest

from tradecore_pipeline.models.statistics import mean_interval


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
