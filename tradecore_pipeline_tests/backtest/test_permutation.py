"""Moved regimes: labels that say nothing do no better, labels that do are found out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.metrics import sharpe_of
from tradecore_pipeline.backtest.orders import Orders, Sizing
from tradecore_pipeline.backtest.permutation import moved, permutation_null
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.significance import Permutation
from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline_tests.backtest.cases import FREE, PLAIN

ROWS = 1200
WARM = 100


def market(seed: int, *, informative: bool) -> Market:
    """Two lasting states; where ``informative`` they are the sign of the drift, else drawn apart from prices."""
    random = np.random.default_rng(seed)
    states, labels = (np.cumsum(random.random(ROWS) < 0.05) % 2 for _ in range(2))
    if informative:
        labels = states
    returns = (2 * states - 1) * 0.003 + random.normal(0, 0.01, ROWS)
    close = 100 * np.exp(np.cumsum(returns))
    index = pd.DatetimeIndex(pd.date_range("2022-01-01", periods=ROWS, freq="h", tz="UTC"), name="ts_open")
    opened = np.concatenate(([100.0], close[:-1]))
    bars = pd.DataFrame(
        {
            "ts_close": index + pd.Timedelta(hours=1), "open": opened, "high": np.maximum(opened, close),
            "low": np.minimum(opened, close), "close": close, "volume": 1.0,
        },
        index=index,
    )  # fmt: skip
    held = np.where(np.arange(ROWS) < WARM, NO_STATE, labels).astype(np.int64)
    forecast = np.where(held == NO_STATE, np.nan, 0.001 * (2 * labels - 1))
    return Market(
        instrument="binance:BTC/USDT:USDT", timeframe=Timeframe("1h"), bars=bars,
        probabilities=np.eye(2)[labels], held=held, regime=np.where(held == 1, "Bull", "Bear"),
        direction_significant=np.zeros(ROWS, bool), trend=np.zeros(ROWS, np.int64), forecast=forecast,
        volatility=np.where(held == NO_STATE, np.nan, 0.01), funding_rate=np.full(ROWS, np.nan),
    )  # fmt: skip


def simulate(markets: Mapping[str, Market]) -> Backtest:
    """Long in the one state, short in the other."""
    (one,) = markets.values()
    bars = BarArrays.of(one.bars, funding=Funding.none(), inner=None)
    target = 0.5 * np.sign(np.nan_to_num(one.forecast))
    rules = type(PLAIN)(**{name: getattr(PLAIN, name) for name in PLAIN.__slots__} | {"sizing": Sizing.EQUITY})
    return run_backtest(bars, Orders.of(target), costs=FREE, rules=rules, capital=1e4)


def null_of(one: Market, *, runs: int = 60) -> Permutation:
    markets = {one.instrument: one}
    observed = sharpe_of(simulate(markets))
    return permutation_null(markets, simulate, observed=observed, runs=runs, least_shift=50, seed=0)


def test_labels_that_know_something_are_beyond_chance() -> None:
    found = null_of(market(1, informative=True))
    assert found.p_value < 0.05
    assert found.observed > found.null_95


def test_labels_that_know_nothing_are_found_significant_no_more_often_than_chance() -> None:
    values = [null_of(market(seed, informative=False), runs=39).p_value for seed in range(30)]
    assert np.mean(np.array(values) <= 0.1) <= 0.3
    assert 0.25 < np.mean(values) < 0.75


def test_moving_keeps_every_row_of_the_models_and_leaves_prices() -> None:
    one = market(2, informative=True)
    other = moved(one, 77)
    pd.testing.assert_frame_equal(other.bars, one.bars)
    assert np.array_equal(other.held[:WARM], one.held[:WARM])
    assert np.array_equal(other.held[WARM:], np.roll(one.held[WARM:], 77))
    assert np.array_equal(other.probabilities[WARM:], np.roll(one.probabilities[WARM:], 77, axis=0))
    assert int(other.known.sum()) == int(one.known.sum())
    assert np.array_equal(moved(other, ROWS - WARM - 77).held, one.held)


def test_higher_timeframes_move_along() -> None:
    one, slow = market(3, informative=True), market(4, informative=True)
    joined = type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"higher": {Timeframe("4h"): slow}})
    other = moved(joined, 10).higher[Timeframe("4h")]
    assert np.array_equal(other.held[WARM:], np.roll(slow.held[WARM:], 10))


def test_a_strategy_that_never_traded_has_no_p_value_and_a_short_period_is_refused() -> None:
    one = market(5, informative=False)

    def nothing(markets: Mapping[str, Market]) -> Backtest:
        (held,) = markets.values()
        bars = BarArrays.of(held.bars, funding=Funding.none(), inner=None)
        return run_backtest(bars, Orders.of(np.nan), costs=FREE, rules=PLAIN, capital=1e4)

    markets = {"a": one}
    idle = permutation_null(markets, nothing, observed=sharpe_of(nothing(markets)), runs=5, least_shift=50, seed=0)
    assert np.isnan(idle.p_value)
    assert idle.null_median == 0
    with pytest.raises(NotEnoughHistoryError, match="too few to move"):
        permutation_null(markets, nothing, observed=0.0, runs=5, least_shift=600, seed=0)


def test_there_are_no_more_runs_than_different_shifts() -> None:
    one = market(6, informative=False)
    markets = {"a": one}
    least = (ROWS - WARM) // 2 - 2
    found = permutation_null(markets, simulate, observed=0.0, runs=50, least_shift=least, seed=0)
    assert found.runs == 5
