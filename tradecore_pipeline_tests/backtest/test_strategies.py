"""Plans carried out by the engine: the order of exits, the stop of drawdown, rebalancing and costs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.strategies import Lots, drawdown_row, lots_of, orders_of, run_plan
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.contracts import Exits, Plan
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.exits.hmm_lstm import HMMLSTMExitMixin
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.backtest.cases import HOUR, START, bars_of
from tradecore_pipeline_tests.strategies.mixin_cases import closes
from tradecore_pipeline_tests.strategies.worlds import changed, seen, shipped, world

ANY_SIZE = Lots(0.0, 0.0)
CONFIG = changed(
    StrategyConfig(name="tested"),
    backtesting_parameters={"warmup": 0, "commission": 0.0, "slippage": 0.0, "initial_capital": 1000.0},
    risk_management={"profit_target": 0.1, "stop_loss": 0.1},
    entry_criteria={"prediction_threshold": 0.0, "regime_confidence_threshold": 0.5},
    position_sizing={"use_confidence": False, "base_position_size": 1.0},
)
FLAT = (100.0, 100.0, 100.0, 100.0)


def run(rows: list[tuple[float, float, float, float]], config: StrategyConfig = CONFIG, **columns: Any) -> Backtest:
    """The complete strategy on these bars: it goes long at the first close, and later rows forecast nothing."""
    forecast = np.zeros(len(rows))
    forecast[0] = 1e-4
    market = replace(closes([100.0] * len(rows)), **({"forecast": forecast} | columns))
    plan = Strategy.of(config, Registry()).plan(market)
    return run_plan(bars_of(rows), plan, config, lots=ANY_SIZE)


def reasons(result: Backtest) -> list[str]:
    return result.trades["reason"].tolist()


def risk(**values: Any) -> StrategyConfig:
    return changed(CONFIG, risk_management=values)


def test_target_and_stop_are_met_inside_the_bar_before_a_change_of_regime_at_its_close() -> None:
    held, sure = np.array([0, 0, 1, 1]), np.tile([0.9, 0.05, 0.05], (4, 1))
    sure[2:] = [0.05, 0.9, 0.05]
    changing = {"held": held, "probabilities": sure}
    up, down = (100.0, 111.0, 100.0, 100.0), (100.0, 100.0, 89.0, 100.0)
    assert reasons(run([FLAT, FLAT, up, FLAT], **changing)) == ["profit_target"]
    assert reasons(run([FLAT, FLAT, down, FLAT], **changing)) == ["stop"]
    assert reasons(run([FLAT, FLAT, FLAT, FLAT], **changing)) == ["regime_change"]


def test_of_stop_and_target_in_one_bar_the_stop_comes_first_unless_switched() -> None:
    both = [FLAT, FLAT, (100.0, 111.0, 89.0, 100.0), FLAT]
    assert reasons(run(both)) == ["stop"]
    assert reasons(run(both, changed(CONFIG, backtesting_parameters={"stop_first": False}))) == ["profit_target"]


def test_a_trailing_stop_comes_after_the_stop_and_before_rules_at_the_close() -> None:
    config = risk(trailing_stop=0.02, trailing_activation=0.03)
    rise, fall = (100.0, 105.0, 100.0, 105.0), (105.0, 105.0, 102.0, 102.0)
    result = run([FLAT, FLAT, rise, fall, FLAT], config, held=np.array([0, 0, 0, 1, 1]))
    assert reasons(result) == ["trailing_stop"]
    assert result.trades["exit_price"].iloc[0] == pytest.approx(105 * 0.98)


def test_a_reversed_forecast_and_low_confidence_come_before_the_longest_holding() -> None:
    config = changed(
        risk(max_holding_periods={"regime_0": 2}),
        exit_criteria={"exit_on_low_confidence": True},
    )
    flat = [FLAT] * 5
    assert reasons(run(flat, config)) == ["max_holding"]
    against = np.array([1e-4, 0.0, -1e-4, 0.0, 0.0])
    short_too = changed(config, entry_criteria={"prediction_threshold": 1.0})
    plan_side = np.array([1, 0, 0, 0, 0], dtype=np.int8)
    market = replace(closes([100.0] * 5), forecast=against)
    exits = HMMLSTMExitMixin().exits(market, short_too, plan_side)
    result = run_plan(bars_of(flat), Plan(plan_side, plan_side * 1.0, False, exits), short_too, lots=ANY_SIZE)
    assert reasons(result) == ["prediction_reversal"]
    doubtful = np.tile([1.0, 0.0, 0.0], (5, 1))
    doubtful[2] = [0.3, 0.3, 0.4]
    assert reasons(run(flat, config, probabilities=doubtful)) == ["low_confidence"]


def test_what_models_no_longer_cover_is_closed() -> None:
    forecast = np.array([1e-4, 0.0, np.nan, np.nan])
    result = run([FLAT] * 4, forecast=forecast)
    assert reasons(result) == ["other_rule"]
    assert result.trades["exit_bar"].tolist() == [3]


def test_a_signal_of_the_other_side_turns_the_position() -> None:
    config = changed(CONFIG, exit_criteria={"exit_on_prediction_reversal": False})
    result = run([FLAT] * 4, config, forecast=np.array([1e-4, -1e-4, 0.0, 0.0]))
    assert result.trades["side"].tolist() == [1, -1]
    assert reasons(result)[0] == "target_position"


def always_long(count: int) -> Plan:
    """A position of all equity, opened again whenever there is none."""
    side = np.ones(count, dtype=np.int8)
    return Plan(side, np.ones(count), False, Exits.none(count))


def falling(closes_: list[float]) -> BarArrays:
    opens = [closes_[0], *closes_[:-1]]
    return bars_of([(o, max(o, c), min(o, c), c) for o, c in zip(opens, closes_, strict=True)])


def test_the_limit_of_drawdown_closes_everything_at_the_next_open_and_for_good() -> None:
    bars = falling([100, 100, 110, 95, 87, 80, 120, 200])  # 87 is 20.9% under 110
    config = risk(portfolio_max_drawdown=0.2)
    result = run_plan(bars, always_long(8), config, lots=ANY_SIZE)
    free = run_plan(bars, always_long(8), CONFIG, lots=ANY_SIZE)
    assert drawdown_row(free.equity, config) == 4
    assert result.trades["exit_bar"].tolist() == [5]
    assert reasons(result) == ["risk_limit"]
    np.testing.assert_array_equal(result.equity[:5], free.equity[:5])
    assert (result.equity[5:] == result.equity[5]).all()
    assert drawdown_row(free.equity, risk(portfolio_max_drawdown=0.3)) is None


def test_the_limit_of_drawdown_counts_from_the_first_capital() -> None:
    assert drawdown_row(np.array([1000.0, 890.0]), risk(portfolio_max_drawdown=0.1)) == 1
    assert drawdown_row(np.array([1000.0, 900.0]), risk(portfolio_max_drawdown=0.1)) is None


def test_a_rebalancing_plan_orders_at_its_turns_and_where_its_side_changes() -> None:
    size = np.linspace(0.5, 0.9, 12)
    side = np.array([0, 0, 1, 1, 1, 1, 1, 1, -1, -1, 0, 0], dtype=np.int8)
    plan = Plan(side, np.where(side == 0, 0.0, size), True, Exits.none(12))
    config = changed(CONFIG, portfolio_management={"rebalance_frequency": 4})
    target = orders_of(plan, config, bars_of([FLAT] * 12)).target
    turns = (START // HOUR + 1 + np.arange(12)) % 4 == 0
    ordered = np.isfinite(target)
    np.testing.assert_array_equal(ordered, turns | np.isin(np.arange(12), (0, 2, 8, 10)))
    np.testing.assert_array_equal(target[ordered], (side * plan.size)[ordered])


def test_a_position_is_left_alone_inside_the_band() -> None:
    size = np.array([0.5, 0.53, 0.57, 0.57])
    plan = Plan(np.ones(4, dtype=np.int8), size, True, Exits.none(4))
    config = changed(CONFIG, portfolio_management={"rebalance_frequency": 1})
    result = run_plan(bars_of([FLAT] * 4), plan, config, lots=ANY_SIZE)
    assert result.position.tolist() == pytest.approx([0, 5.0, 5.0, 5.7])


def test_costs_leverage_and_lots_are_the_configurations() -> None:
    config = changed(
        CONFIG,
        backtesting_parameters={
            "commission": 0.001,
            "maker_commission": 0.0,
            "slippage": 0.01,
            "lot_size": 0.5,
            "minimum_notional": 0.0,
            "leverage": 3.0,
        },
        risk_management={"profit_target": 0.05},
    )
    result = run_plan(
        bars_of([FLAT, FLAT, (100.0, 110.0, 100.0, 110.0)]), run_once(config), config, lots=lots_of(config)
    )
    (trade,) = result.trades.to_dict("records")
    assert trade["entry_price"] == pytest.approx(101.0)
    assert trade["exit_price"] == pytest.approx(101.0 * 1.05)
    assert trade["units"] == 10.0
    assert trade["fees"] == pytest.approx(0.001 * 1010)


def run_once(config: StrategyConfig) -> Plan:
    side = np.array([1, 0, 0], dtype=np.int8)
    return Plan(side, side * 1.0, False, HMMLSTMExitMixin().exits(closes([100.0] * 3), config, side))


def test_a_plan_for_other_bars_is_refused() -> None:
    with pytest.raises(UsageError, match="8 rows for 3 bars"):
        run_plan(bars_of([FLAT] * 3), always_long(8), CONFIG, lots=ANY_SIZE)


def test_equity_is_the_capital_and_what_trades_earned() -> None:
    market = seen(world(5, 600))
    bars = BarArrays.of(market.bars, funding=Funding.none(), inner=None)
    for name in ("simple", "pipeline", "aggressive", "vol_target"):
        strategy = shipped(name, warmup=0)
        result = run_plan(bars, strategy.plan(market), strategy.config, lots=lots_of(strategy.config))
        assert result.equity[-1] == pytest.approx(100_000 + result.trades["pnl"].sum(), rel=1e-9)
        assert len(result.trades)
