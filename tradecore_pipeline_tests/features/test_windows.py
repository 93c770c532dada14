import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.features.windows import rows_since, window_moments, window_sums, window_zscore

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


def _in_turn(values: np.ndarray, length: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    """The same moments, each row's values added oldest first."""
    mean, deviation = np.full(values.size, np.nan), np.full(values.size, np.nan)
    for row in range(values.size):
        window = [value for value in values[max(0, row - length + 1) : row + 1].tolist() if value == value]  # noqa: PLR0124 (NaN)
        if len(window) >= least:
            mean[row] = sum(window) / len(window)
            squares = sum((value - mean[row]) * (value - mean[row]) for value in window)
            deviation[row] = np.sqrt(squares / (len(window) - 1))
    return mean, deviation


@pytest.mark.parametrize("length", [2, 20, 1023, 1024, 1025, 2500])
def test_moments_are_exact_across_the_kernel_s_blocks(length: int) -> None:
    rng = np.random.default_rng(4)
    values = np.where(rng.random(2200) < 0.1, np.nan, rng.normal(5, 1, 2200))
    for actual, expected in zip(
        window_moments(values, length, least=2), _in_turn(values, length, least=2), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-13, equal_nan=True)


def test_moments_do_not_depend_on_rows_outside_the_window() -> None:
    values = np.random.default_rng(4).normal(5, 1, 5000)
    spiked = np.concatenate([values[:1500] * 1e12, values[1500:]])
    for whole, alone in zip(
        window_moments(spiked, 168, least=168), window_moments(values[1500:], 168, least=168), strict=True
    ):
        np.testing.assert_array_equal(whole[1500 + 167 :], alone[167:])


def test_moments_of_a_strided_view_are_those_of_its_copy() -> None:
    values = np.random.default_rng(4).normal(5, 1, (50, 2))
    for actual, expected in zip(
        window_moments(values[:, 1], 9, least=9), window_moments(values[:, 1].copy(), 9, least=9), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(st.integers(1, 50), max_size=60), reach=st.integers(0, 200))
def test_rows_since_counts_the_rows_within_reach(steps: list[int], reach: int) -> None:
    moments = np.cumsum(np.array(steps, dtype=np.int64))
    expected = [int(((moments < at) & (moments >= at - reach)).sum()) for at in moments]
    assert rows_since(moments, reach).tolist() == expected
