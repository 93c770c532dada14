from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.simulator.oracle import interval_log_likelihood
from tradecore_pipeline.simulator.parameters import MarketParameters
from tradecore_pipeline.validation.leaks import assert_causal
from tradecore_pipeline.validation.oracle_scores import (
    assert_not_better,
    divergence,
    paired_z,
    relabelled,
    right_states,
    switches_per_1000,
)
from tradecore_pipeline_tests.benchmarks.oracle_nulls import (
    check_future_does_not_matter,
    direction_in_shuffled,
    hindsight,
    skill_in_shuffled,
)
from tradecore_pipeline_tests.benchmarks.oracle_runs import (
    BLOCK_BARS,
    HOUR,
    check_against_oracle,
    fit,
    predict,
    score_monthly,
    score_once,
)
from tradecore_pipeline_tests.benchmarks.oracle_worlds import (
    Market,
    World,
    bar_log_likelihood,
    clustering_worlds,
    draw,
    drifting_world,
    exact,
    mean_worlds,
    scale_worlds,
    shuffled,
    weekly_world,
)

EASY, MID, HARD = scale_worlds()[:3]
ROWS, TRAIN = 10_000, 5_000
OUT_OF_SAMPLE = slice(TRAIN, ROWS)


@pytest.fixture(scope="module")
def market() -> Market:
    return draw(MID, ROWS, seed=7)


@pytest.fixture(scope="module")
def model(market: Market) -> RegimeModel:
    return fit(MID, market.bars.iloc[:TRAIN], restarts=2, seed=7)


def test_a_bar_is_as_likely_as_the_simulator_says(market: Market) -> None:
    world = market.world
    parameters = MarketParameters(
        timeframe=HOUR,
        transition=((0.98, 0.01, 0.01),) * 3,
        mean_log_return=tuple(mean * scale for mean, scale in zip(world.means, world.scales, strict=True)),
        volatility=world.scales,
        degrees_of_freedom=world.df,
        hour_pattern=(1.0,) * 24,
        weekend_factor=1.0,
        funding_rate=(0.0,) * 3,
        open_interest_share=(1.0,) * 3,
        coins=(),
        outages=(),
    )
    bars = market.bars.iloc[:300]
    total, square = np.log(bars["close"] / bars["open"]).to_numpy(), bars["realized_variance"].to_numpy()
    theirs = interval_log_likelihood(parameters, np.ones(300), count=np.full(300, 60), total=total, total_square=square)
    ours = bar_log_likelihood(world, np.tile(world.scales, (300, 1)), total=total, total_square=square)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(
    "world", [mean_worlds()[0], EASY, clustering_worlds()[1], drifting_world(), weekly_world()], ids=lambda w: w.name
)
def test_the_oracle_is_calibrated_in_states_variance_and_density(world: World) -> None:
    market = draw(world, 20_000, seed=3)
    certainty = market.filtered.max(axis=1)
    assert abs(paired_z(right_states(market.filtered, market.states), certainty, block_bars=BLOCK_BARS)) < 4
    forecast = market.forecast.rows(slice(None, -1))
    standard = (market.next_returns[:-1, None] - forecast.locations) / forecast.scales
    rank = (forecast.weights * stats.t.cdf(standard, forecast.dfs)).sum(axis=1)
    assert abs(paired_z(rank, np.full(len(rank), 0.5), block_bars=BLOCK_BARS)) < 4
    assert abs(paired_z((rank - 0.5) ** 2, np.full(len(rank), 1 / 12), block_bars=BLOCK_BARS)) < 4


def test_the_oracle_knows_only_the_past() -> None:
    for world in (clustering_worlds()[1], drifting_world(), weekly_world()):

        def known(bars: pd.DataFrame, world: World = world) -> Floats:
            filtered, forecast = exact(world, bars)
            return np.column_stack((filtered, forecast.mean, forecast.variance))

        assert_causal(known, draw(world, 400, seed=2).bars, (1, 150, 399), tolerance=0.0)


@pytest.mark.parametrize(
    ("world", "least_accuracy", "least_r2"),
    [
        (EASY, 0.99, 0.97),
        (MID, 0.98, 0.95),
        (HARD, 0.95, 0.84),  # what calibration of the density to returns leaves; states alone reach .85
        (clustering_worlds()[1], 0.98, 0.95),
        (weekly_world(), 0.99, 0.97),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_model_comes_close_to_the_oracle(world: World, least_accuracy: float, least_r2: float) -> None:
    scores = score_once(draw(world, ROWS, seed=1), train_bars=TRAIN, restarts=2, seed=1)
    assert least_accuracy <= scores.accuracy_share < 1.01
    assert scores.log_variance_r2 >= least_r2
    assert 0 <= scores.divergence < 0.05
    assert scores.log_density_lost < 0.01
    assert scores.switches < 1.3 * scores.oracle_switches


def test_months_are_labelled_alike_while_scales_drift() -> None:
    scores = score_monthly(draw(drifting_world(), 4320 + 4 * 720, seed=1), restarts=2, seed=1)
    assert scores.accuracy_share >= 0.94
    assert scores.relabelled <= 0.03


def test_the_model_finds_means_that_are_apart() -> None:
    world = replace(mean_worlds()[3], means=(-0.5, 0.0, 0.5))
    scores = score_once(draw(world, ROWS, seed=1), train_bars=TRAIN, restarts=4, seed=1)
    assert scores.accuracy_share >= 0.95
    assert scores.mean_r2 >= 0.9


def test_hindsight_is_caught_and_an_honest_model_is_not(model: RegimeModel, market: Market) -> None:
    check_against_oracle(market, predict(market, model, context=0, rows=OUT_OF_SAMPLE))
    with pytest.raises(AssertionError, match=r"state accuracy .* it looked ahead"):
        check_against_oracle(market, hindsight(model, market, rows=OUT_OF_SAMPLE))


def test_later_bars_change_no_bit_of_what_was_said(model: RegimeModel, market: Market) -> None:
    check_future_does_not_matter(model, market, cut=TRAIN + 17)


def test_shuffled_bars_hold_nothing_to_find(market: Market) -> None:
    assert skill_in_shuffled(market, train_bars=TRAIN, restarts=2, seed=7) < 3


def test_shuffling_keeps_each_bar_and_breaks_its_order(market: Market) -> None:
    moved = shuffled(market, seed=3)
    for columns in (("open", "close"), ("low", "high")):
        before, after = (np.log(bars[columns[1]] / bars[columns[0]]) for bars in (market.bars, moved))
        np.testing.assert_allclose(np.sort(before), np.sort(after), atol=1e-12)
        assert abs(np.corrcoef(before, after)[0, 1]) < 0.1
    np.testing.assert_allclose(moved["open"].iloc[1:], moved["close"].iloc[:-1], rtol=1e-12)


def test_direction_is_not_found_where_there_is_none(market: Market) -> None:
    bars = shuffled(market, seed=5)
    windows = [bars.iloc[start : start + 2000] for start in range(0, ROWS, 2000)]
    evidence = [direction_in_shuffled(MID, window, restarts=1, seed=5) for window in windows]
    assert sum(found.significant for found in evidence) <= 1


probabilities = arrays(np.float64, (20, 3), elements=st.floats(0.001, 1)).map(lambda p: p / p.sum(axis=1)[:, None])


@given(probabilities, probabilities)
def test_divergence_is_never_below_zero_and_zero_only_for_the_oracle(ours: np.ndarray, best: np.ndarray) -> None:
    assert divergence(best, best) == pytest.approx(0, abs=1e-12)
    assert divergence(best, ours) >= 0.25 * np.abs(ours - best).max() ** 2 / len(ours) - 1e-12


def test_scores_of_labels() -> None:
    assert relabelled([0, 1, 1, 2], [0, 1, 2, 2]) == 0.25
    assert switches_per_1000([0, 0, 1, 1, 0]) == 500
    np.testing.assert_array_equal(right_states([[0.2, 0.8], [0.6, 0.4]], [1, 1]), [1, 0])


def test_better_than_the_best_possible_is_a_leak_and_worse_is_not() -> None:
    random = np.random.default_rng(0)
    oracle = random.normal(size=5000)
    worse = oracle - 0.2 + random.normal(size=5000)
    assert assert_not_better(worse, oracle, what="density", block_bars=100) < -4
    with pytest.raises(AssertionError, match="density is better than the best possible by"):
        assert_not_better(oracle, worse, what="density", block_bars=100)
    with pytest.raises(AssertionError, match="inf standard errors"):
        assert_not_better(oracle + 1.0, oracle, what="density", block_bars=100)
    assert paired_z(oracle, oracle, block_bars=100) == 0


def test_blocks_make_up_for_memory() -> None:
    random = np.random.default_rng(1)
    slow = np.repeat(random.normal(size=40), 200)
    assert abs(paired_z(slow, np.zeros(8000), block_bars=400)) < 3
    assert abs(paired_z(slow, np.zeros(8000), block_bars=1)) > abs(paired_z(slow, np.zeros(8000), block_bars=400))


def test_too_few_rows_for_two_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="score more bars"):
        paired_z([1.0, np.nan, 2.0], [0.0, 0.0, 0.0], block_bars=2)
