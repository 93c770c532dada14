import numpy as np
import pytest

from tradecore_pipeline.models.bootstrap import block_resampled_sums, weighted_mean_intervals


def test_resampled_sums_are_centred_on_the_sum_and_repeat_with_the_seed() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, (960, 2))
    sums = block_resampled_sums(values, seed=3)
    np.testing.assert_allclose(sums.mean(axis=0), values.sum(axis=0), rtol=0.02)
    np.testing.assert_array_equal(sums, block_resampled_sums(values, seed=3))
    assert not np.array_equal(sums, block_resampled_sums(values, seed=4))


def test_a_constant_has_no_spread_even_over_the_seam() -> None:
    np.testing.assert_allclose(block_resampled_sums(np.ones((960, 1)), seed=1), 960)


def test_intervals_of_means_hold_the_truth_as_often_as_they_say() -> None:
    random, held = np.random.default_rng(7), 0
    for trial in range(150):
        state = np.repeat(random.random(60) < 0.5, 20)
        weights = np.column_stack((state, ~state)).astype(np.float64)
        noise = np.convolve(random.normal(size=1202), np.full(3, 1 / 3), mode="valid")
        low, high = weighted_mean_intervals(noise + 0.3 * state, weights, seed=trial).T
        held += int((low[0] < 0.3 < high[0]) and (low[1] < 0 < high[1]))
    assert held / 150 == pytest.approx(0.9, abs=0.08)
