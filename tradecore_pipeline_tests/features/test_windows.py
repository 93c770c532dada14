import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.features.windows import window_moments, window_sums, window_zscore

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=80)


@settings(max_examples=80, deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=80), length=st.integers(1, 40))
def test_a_window_sum_is_the_sum_of_its_rows(values: list[float], length: int) -> None:
    sums = window_sums(np.array(values), length)
    expected = [sum(values[max(0, row - length + 1) : row + 1]) for row in range(len(values))]
    np.testing.assert_allclose(sums, expected, atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(values=VALUES, length=st.integers(2, 30), least=st.integers(2, 10))
def test_moments_are_those_of_the_values_present(values: list[float], length: int, least: int) -> None:
    mean, deviation = window_moments(np.array(values), length, least=least)
    for row in range(len(values)):
        window = np.array(values[max(0, row - length + 1) : row + 1])
        window = window[~np.isnan(window)]
        if window.size < least:
            assert np.isnan(mean[row])
            assert np.isnan(deviation[row])
        else:
            assert mean[row] == pytest.approx(window.mean(), rel=1e-9, abs=1e-6)
            assert deviation[row] == pytest.approx(window.std(ddof=1), rel=1e-9, abs=1e-6)


def test_a_flat_window_has_no_z_score() -> None:
    assert np.isnan(window_zscore(np.full(50, 0.1), 20, least=20)).all()
