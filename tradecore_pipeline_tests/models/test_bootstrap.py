import numpy as np
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.bootstrap import block_length, resampled_sums, weighted_mean_intervals

BLOCK = 48


def test_resampled_sums_are_centred_on_the_sum_and_repeat_with_the_seed() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, (960, 2))
    sums = resampled_sums(values, block_bars=BLOCK, seed=3)
    np.testing.assert_allclose(sums.mean(axis=0), values.sum(axis=0), rtol=0.02)
    np.testing.assert_array_equal(sums, resampled_sums(values, block_bars=BLOCK, seed=3))
    assert not np.array_equal(sums, resampled_sums(values, block_bars=BLOCK, seed=4))


def test_a_constant_has_no_spread_even_over_the_seam() -> None:
    np.testing.assert_allclose(resampled_sums(np.ones((960, 1)), block_bars=BLOCK, seed=1), 960)


def test_intervals_of_means_hold_the_truth_as_often_as_they_say() -> None:
    random, held = np.random.default_rng(7), 0
    for trial in range(150):
        state = np.repeat(random.random(60) < 0.5, 20)
        weights = np.column_stack((state, ~state)).astype(np.float64)
        noise = np.convolve(random.normal(size=1202), np.full(3, 1 / 3), mode="valid")
        low, high = weighted_mean_intervals(noise + 0.3 * state, weights, block_bars=BLOCK, seed=trial).T
        held += int((low[0] < 0.3 < high[0]) and (low[1] < 0 < high[1]))
    assert held / 150 == pytest.approx(0.9, abs=0.08)


def test_a_block_is_two_days_of_bars_and_at_least_five() -> None:
    lengths = {name: block_length(Timeframe(name)) for name in ("5m", "15m", "1h", "4h", "1d")}
    assert lengths == {"5m": 576, "15m": 192, "1h": 48, "4h": 12, "1d": 5}


def test_longer_blocks_see_the_dependence_that_short_ones_cut() -> None:
    daily = np.repeat(np.random.default_rng(2).normal(size=60), 288)[:, None]
    short, long = (resampled_sums(daily, block_bars=block, seed=1).std() for block in (48, 576))
    truth = 288 * np.sqrt(60)
    assert short < 0.6 * truth
    assert long > 0.8 * truth
