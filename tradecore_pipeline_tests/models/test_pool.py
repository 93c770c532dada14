import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.pool import (
    BASELINE,
    FLOOR,
    FORGETTING,
    NETWORK,
    PoolStart,
    mixed,
    pool_start,
    pool_weights,
    pooled,
)

OTHER = "other"
LAGS = 48
LEAST = {OTHER: -1.0, NETWORK: 2.0}


def scores(rows: int, gains: tuple[float, ...], seed: int = 3, noise: float = 0.3) -> Floats:
    """Log scores of a baseline and of members that gain so much a bar on average."""
    random = np.random.default_rng(seed)
    baseline = random.normal(-1, 0.5, rows)
    return np.column_stack([baseline, *(baseline + gain + random.normal(0, noise, rows) for gain in gains)])


def slow_weights(table: Floats, start: list[float]) -> Floats:
    log_weights, rows = np.array(start), []
    for row in table:
        shares = np.exp(log_weights - log_weights.max())
        rows.append((1 - len(start) * FLOOR) * shares / shares.sum() + FLOOR)
        if np.isfinite(row).all():
            log_weights = FORGETTING * log_weights + row - row[0]
    return np.array(rows)


def test_weights_are_those_of_a_plain_loop_over_bars_with_gaps_in_it() -> None:
    table = scores(300, (0.02, -0.01))
    table[40:60, 1] = np.nan
    table[0] = np.nan
    np.testing.assert_allclose(pool_weights(table, [0.0, 1.5, -3.0]), slow_weights(table, [0.0, 1.5, -3.0]), atol=1e-12)


@given(cut=st.integers(1, 199), seed=st.integers(0, 20))
def test_a_row_does_not_know_its_own_score_or_a_later_one(cut: int, seed: int) -> None:
    table = scores(200, (0.0,), seed)
    changed = table.copy()
    changed[cut:] = np.random.default_rng(seed).normal(size=changed[cut:].shape)
    whole = pool_weights(table, [0.0, 0.0])
    np.testing.assert_array_equal(pool_weights(changed, [0.0, 0.0])[: cut + 1], whole[: cut + 1])
    np.testing.assert_array_equal(pool_weights(table[:cut], [0.0, 0.0]), whole[:cut])


def test_weights_add_up_move_to_the_better_member_and_never_below_the_floor() -> None:
    weights = pool_weights(scores(2000, (0.05,), noise=0.05), [0.0, -30.0])
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert weights[0, 1] == pytest.approx(FLOOR)
    assert weights[-1, 1] > 0.95
    assert weights.min() >= FLOOR - 1e-12


def test_the_baseline_alone_is_itself_to_the_last_bit() -> None:
    density = StudentMixture.single(np.linspace(-1, 1, 5), [0.5, np.nan, 1.0, 2.0, 3.0], 4.0)
    found, weights = pooled({BASELINE: density}, {BASELINE: np.zeros(5)}, start=PoolStart({BASELINE: 0.0}, {}), since=2)
    np.testing.assert_array_equal(found.scales, density.scales)
    np.testing.assert_array_equal(found.log_density(np.zeros(5)), density.log_density(np.zeros(5)))
    assert (weights.to_numpy() == 1).all()


def test_a_row_that_a_member_lacks_is_the_others_and_one_that_the_baseline_lacks_is_nobodys() -> None:
    first = StudentMixture.single([0.0, 0.0, np.nan], [1.0, 1.0, np.nan], [4.0, 4.0, np.nan])
    second = StudentMixture.single([0.0, np.nan, 0.0], [2.0, np.nan, 2.0], [4.0, np.nan, 4.0])
    found = mixed([first, second], np.full((3, 2), 0.5))
    assert found.log_density([0.3] * 3)[1] == pytest.approx(first.log_density([0.3] * 3)[1])
    assert np.isnan(found.log_density([0.3] * 3)[2])
    assert found.weights[0].tolist() == [0.5, 0.5]


def test_weights_stand_still_until_scores_are_out_of_sample() -> None:
    table = scores(100, (3.0,))
    density = StudentMixture.single(np.zeros(100), 1.0, 4.0)
    start = PoolStart({BASELINE: 0.0, OTHER: 0.0}, {})
    named = {BASELINE: table[:, 0], OTHER: table[:, 1]}
    _, weights = pooled({BASELINE: density, OTHER: density}, named, start=start, since=60)
    assert (weights[OTHER].iloc[:61] == 0.5).all()
    assert weights[OTHER].iloc[61] > 0.6


def test_a_clear_loser_and_an_unproven_network_stay_out_and_a_proven_one_comes_in() -> None:
    good, none, bad = (scores(1500, (gain,))[:, 1] for gain in (0.1, 0.0, -0.6))
    baseline = scores(1500, ())[:, 0]
    assert set(pool_start({BASELINE: baseline, OTHER: bad}, least_t=LEAST, lags=LAGS).log_weights) == {BASELINE}
    assert set(pool_start({BASELINE: baseline, NETWORK: baseline}, least_t=LEAST, lags=LAGS).log_weights) == {BASELINE}
    assert set(pool_start({BASELINE: baseline, NETWORK: good, OTHER: none}, least_t=LEAST, lags=LAGS).log_weights) >= {
        NETWORK
    }
    assert pool_start({BASELINE: baseline, NETWORK: good}, least_t=LEAST, lags=LAGS).evidence[NETWORK] > 2


def test_a_pool_starts_where_a_run_over_the_held_out_bars_would_have_ended() -> None:
    table = scores(400, (0.01,))
    start = pool_start({BASELINE: table[:, 0], OTHER: table[:, 1]}, least_t={OTHER: -100.0}, lags=LAGS)
    following = np.vstack((table, np.zeros((1, 2))))
    assert start.weights[OTHER] == pytest.approx(pool_weights(following, [0.0, 0.0])[-1, 1], rel=1e-9)


def test_without_enough_held_out_bars_the_baseline_is_alone() -> None:
    few = scores(LAGS, (0.5,))
    for held_out in ({}, {BASELINE: few[:, 0], OTHER: few[:, 1]}, {OTHER: few[:, 1]}):
        assert pool_start(held_out, least_t=LEAST, lags=LAGS).weights == {BASELINE: 1.0}


def test_on_a_market_that_changes_sides_the_pool_loses_little_to_the_better_member() -> None:
    one, two = scores(3000, (0.05,), noise=0.0), scores(3000, (-0.05,), noise=0.0)
    table = np.vstack((one, two))
    weights = pool_weights(table, [0.0, 0.0])
    mixture = np.log((weights * np.exp(table)).sum(axis=1)).mean()
    assert mixture > table.mean(axis=0).max() + 0.015
