"""The decision function: all bars at once and one after the other say the same, and no row knows what follows it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.strategies.decision import Strategy, StrategyStream, joined
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline.strategies.reading import variant, variants
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline_tests.strategies.worlds import (
    FOUR_HOURS,
    HOUR,
    assert_same,
    changed,
    columns_of,
    scrambled,
    seen,
    series,
    shipped,
    until,
    world,
)

CUTS = 40


@pytest.mark.parametrize("name", variants())
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), gaps=st.sampled_from([0.0, 0.1]), holes=st.sampled_from([0.0, 0.3]))
def test_one_bar_at_a_time_decides_as_all_at_once(name: str, seed: int, gaps: float, holes: float) -> None:
    market = seen(world(seed, 72, gaps=gaps, holes=holes))
    strategy = shipped(name, warmup=5)
    whole, stream = strategy.plan(market), StrategyStream(strategy)
    for row in range(len(market)):
        assert_same(stream.update(market.rows(row, row + 1)), whole, slice(None), of=slice(row, row + 1))


def test_one_bar_at_a_time_decides_as_all_at_once_after_bars_are_forgotten() -> None:
    market = seen(world(5, 720))
    strategy = shipped("indicator", warmup=0)
    assert strategy.warm_up_bars < 700
    whole, stream = strategy.plan(market), StrategyStream(strategy)
    for row in range(len(market)):
        assert_same(stream.update(market.rows(row, row + 1)), whole, slice(None), of=slice(row, row + 1))


def test_limits_that_depend_on_the_side_are_the_same_in_the_warm_up() -> None:
    config = changed(
        variant("vol_target_trend"),
        exit_logic={"name": "AdvancedATRExitMixin", "params": {"p_fast": 2, "p_slow": 3}},
        backtesting_parameters={"warmup": 150},
    )
    market = seen(world(5, 200))
    strategy = Strategy.of(config, Registry())
    whole, stream = strategy.plan(market), StrategyStream(strategy)
    assert (strategy.plan_after(market, waiting=0).side[:150] < 0).any()
    for row in range(len(market)):
        assert_same(stream.update(market.rows(row, row + 1)), whole, slice(None), of=slice(row, row + 1))


@pytest.mark.parametrize("name", variants())
def test_every_shipped_configuration_opens_positions(name: str) -> None:
    # An index under 30 below the lower band is rare.
    market = seen(world(5, 1500 if name == "indicator" else 400))
    assert (shipped(name, warmup=0).plan(market).size > 0).sum() >= 3


@pytest.mark.parametrize("name", variants())
def test_the_future_changes_no_earlier_row(name: str) -> None:
    markets = world(11, 300, gaps=0.02, holes=0.1)
    strategy = shipped(name, warmup=20)
    whole = strategy.plan(seen(markets))
    closes = markets[HOUR].bars["ts_close"]
    for row in np.random.default_rng(1).choice(len(closes), CUTS, replace=False):
        kept = slice(0, int(row) + 1)
        assert_same(strategy.plan(seen(until(markets, closes.iloc[row]))), whole, slice(None), of=kept)
        assert_same(strategy.plan(seen(scrambled(markets, closes.iloc[row], 99))), whole, kept, of=kept)


def test_the_tests_would_notice_a_look_ahead() -> None:
    markets = world(11, 300)
    strategy = shipped("simple", warmup=20)

    def peeking(market: Market) -> Market:
        return replace(market, forecast=np.concatenate((market.forecast[1:], [0.0])))

    whole, noticed = strategy.plan(peeking(seen(markets))), 0
    closes = markets[HOUR].bars["ts_close"]
    for row in range(100, 100 + CUTS):
        cut = strategy.plan(peeking(seen(until(markets, closes.iloc[row]))))
        noticed += bool((cut.side != whole.side[: row + 1]).any())
    assert noticed > 0


def test_a_higher_bar_counts_only_once_it_has_closed() -> None:
    markets = world(3, 48)
    hours, long_bars = seen(markets), markets[FOUR_HOURS]
    votes = hours.higher[FOUR_HOURS].forecast
    assert np.isnan(votes[:3]).all()  # the first closes with the fourth hour
    np.testing.assert_array_equal(votes[3:], np.repeat(long_bars.forecast, 4)[: len(votes) - 3])


def test_a_higher_bar_is_forgotten_when_the_next_one_should_have_closed() -> None:
    markets = dict(world(3, 48))
    long_bars = markets[FOUR_HOURS]
    markets[FOUR_HOURS] = joined(long_bars.rows(0, 3), long_bars.rows(4, 12))
    held = seen(markets).higher[FOUR_HOURS].held
    assert (held[11:15] == long_bars.held[2]).all()
    assert (held[15:19] == NO_STATE).all()
    assert (held[19:23] == long_bars.held[4]).all()


@pytest.mark.parametrize("name", variants())
def test_bars_without_a_model_open_nothing_and_close_what_models_opened(name: str) -> None:
    strategy = shipped(name, warmup=0)
    market = seen(world(7, 400, holes=0.3))
    plan = strategy.plan(market)
    unknown = ~market.known
    assert unknown.sum() > 20
    if strategy.config.entry_logic.name == "RSIBBEntryMixin":
        return  # reads no model
    assert not plan.side[unknown].any()
    assert not plan.size[unknown].any()
    if strategy.config.exit_logic.name == "HMMLSTMExitMixin":
        assert plan.exits.exit_long[unknown].all()
        assert plan.exits.exit_short[unknown].all()


def test_a_market_without_any_model_is_planned_and_trades_nothing() -> None:
    market = series(1, HOUR, 60)
    nothing = np.full(60, np.nan)
    market = replace(
        market,
        probabilities=np.empty((60, 0)),
        held=np.full(60, NO_STATE),
        regime=np.full(60, ""),
        forecast=nothing,
        volatility=nothing,
    )
    for name in variants():
        if name != "indicator":
            assert not shipped(name, warmup=0).plan(market).size.any(), name


def test_nothing_is_opened_in_the_first_bars_of_the_warm_up() -> None:
    market = seen(world(5, 200))
    free, waiting = (shipped("aggressive", warmup=bars).plan(market) for bars in (0, 50))
    assert free.size[:50].any()
    assert not waiting.size[:50].any()
    np.testing.assert_array_equal(waiting.size[50:], free.size[50:])


def test_an_empty_market_has_an_empty_plan() -> None:
    market = seen(world(5, 8))
    for name in variants():
        assert all(len(column) == 0 for column in columns_of(shipped(name, warmup=0).plan(market.rows(0, 0))).values())


def test_a_stream_refuses_what_does_not_follow() -> None:
    market = seen(world(5, 8))
    stream = StrategyStream(shipped("simple", warmup=0))
    stream.update(market.rows(3, 4))
    with pytest.raises(InvalidDataError, match="does not come after"):
        stream.update(market.rows(3, 4))
    with pytest.raises(InvalidDataError, match="one bar at a time, not 2"):
        stream.update(market.rows(4, 6))
    with pytest.raises(InvalidDataError, match="does not continue binance:BTC"):
        stream.update(replace(market.rows(4, 5), instrument="binance:ETH/USDT:USDT"))
    with pytest.raises(InvalidDataError, match="does not continue"):
        stream.update(replace(market.rows(4, 5), higher={}))


def test_a_stream_goes_on_when_the_number_of_states_changes() -> None:
    market = series(5, HOUR, 40)
    strategy = shipped("pipeline", warmup=0)
    whole, stream = strategy.plan(market), StrategyStream(strategy)
    for row in range(40):
        one = market.rows(row, row + 1)
        told = one.probabilities[:, np.isfinite(one.probabilities[0])]
        assert_same(stream.update(replace(one, probabilities=told)), whole, slice(None), of=slice(row, row + 1))


def test_a_market_refuses_what_does_not_fit_together() -> None:
    market = series(5, HOUR, 10)
    with pytest.raises(InvalidDataError, match="held state is none of 3 states"):
        replace(market, held=np.full(10, 3))
    with pytest.raises(InvalidDataError, match="forecast does not have one value per bar"):
        replace(market, forecast=np.zeros(9))
    with pytest.raises(InvalidDataError, match="bars lack volume"):
        replace(market, bars=market.bars.drop(columns="volume"))
    with pytest.raises(InvalidDataError, match="one row per bar and one column per state"):
        replace(market, probabilities=np.zeros((9, 3)))
