import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from tradecore_pipeline.models.density import StudentMixture, mean_absolute_deviation, student_t_log_density


@settings(max_examples=50, deadline=None)
@given(x=st.floats(-80, 80), location=st.floats(-2, 2), scale=st.floats(0.01, 5), df=st.floats(3, 200))
def test_the_log_density_equals_scipys(x: float, location: float, scale: float, df: float) -> None:
    assert student_t_log_density(x, location, scale, df) == pytest.approx(stats.t.logpdf(x, df, location, scale))


def mixture() -> StudentMixture:
    return StudentMixture(
        np.array([[0.3, 0.7]]), np.array([[-0.5, 0.2]]), np.array([[1.2, 0.4]]), np.array([[5.0, 12.0]])
    )


def test_a_mixture_integrates_to_one_and_has_the_moments_it_says() -> None:
    one = mixture()
    grid = np.linspace(-400, 400, 2_000_001)
    weights = np.exp(np.logaddexp.reduce(
        [np.log(one.weights[0, k]) + stats.t.logpdf(grid, one.dfs[0, k], one.locations[0, k], one.scales[0, k])
         for k in range(2)]
    ))  # fmt: skip
    assert integrate.trapezoid(weights, grid) == pytest.approx(1, abs=1e-6)
    assert one.mean[0] == pytest.approx(integrate.trapezoid(weights * grid, grid), abs=1e-6)
    variance = integrate.trapezoid(weights * (grid - one.mean[0]) ** 2, grid)
    assert one.variance[0] == pytest.approx(variance, rel=1e-4)
    assert one.log_density([0.7])[0] == pytest.approx(np.log(np.interp(0.7, grid, weights)), abs=1e-6)


def test_the_mean_absolute_deviation_is_that_of_draws() -> None:
    draws = stats.t.rvs(6.0, size=400_000, random_state=1) * 0.8
    assert mean_absolute_deviation(0.8, 6.0) == pytest.approx(np.abs(draws).mean(), rel=0.01)


def test_a_pool_lies_between_its_members_and_falls_back_where_one_is_missing() -> None:
    har = StudentMixture.single([0.0, 0.0], [1.0, 1.0], [5.0, 5.0])
    lstm = StudentMixture.single([0.1, np.nan], [0.5, np.nan], [5.0, np.nan])
    pool = lstm.pooled(har, weight=0.25)
    expected = 0.25 * np.exp(lstm.log_density([0.3, 0.3])[0]) + 0.75 * np.exp(har.log_density([0.3, 0.3])[0])
    found = pool.log_density([0.3, 0.3])
    assert found[0] == pytest.approx(np.log(expected), rel=1e-12)
    assert found[1] == pytest.approx(har.log_density([0.3, 0.3])[1], rel=1e-12)
    assert np.isnan(har.pooled(lstm, weight=0.5).log_density([0.3, 0.3])[1])


def test_no_weight_is_the_other_density_exactly() -> None:
    har = StudentMixture.single([0.0], [1.0], [5.0])
    assert StudentMixture.single([9.0], [0.1], [3.0]).pooled(har, weight=0.0).log_density([0.4]) == har.log_density(
        [0.4]
    )
