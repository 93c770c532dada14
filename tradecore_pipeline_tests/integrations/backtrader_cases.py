"""Random plans as mixins, and runs of them in Backtrader and the engine, for the tests of the adapter."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.strategies import lots_of, run_plan
from tradecore_pipeline.strategies.contracts import Exits, Sides, Signals
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.backtest.cases import HOUR, random_bars, random_funding, random_orders
from tradecore_pipeline_tests.strategies.mixin_cases import random_market


@dataclass(frozen=True)
class Drawn:
    """An entry and an exit at once that say of each bar what was drawn for it."""

    ts_open: pd.DatetimeIndex
    target: np.ndarray
    rebalance: bool
    drawn: Exits
    warm_up_bars: int = 0

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        del config
        rows = self.ts_open.get_indexer(market.bars.index)
        target = self.target[rows]
        return Signals(np.sign(target).astype(np.int8), np.abs(target), np.abs(target), self.rebalance)

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        del config, side
        rows = self.ts_open.get_indexer(market.bars.index)
        return Exits(**{field.name: getattr(self.drawn, field.name)[rows] for field in fields(Exits)})


def market_on(bars: BarArrays, seed: int) -> Market:
    """A drawn market's states and forecasts on other prices."""
    market = random_market(seed, len(bars))
    index = pd.DatetimeIndex(bars.ts_open.astype("datetime64[ns]"), tz="UTC", name="ts_open")
    prices = {name: getattr(bars, name) for name in ("open", "high", "low", "close")}
    closes = pd.DatetimeIndex(bars.ts_close.astype("datetime64[ns]"), tz="UTC")
    frame = pd.DataFrame({"ts_close": closes, **prices, "volume": 10.0}, index=index)
    return replace(market, bars=frame, forecast=market.forecast * 20)


def drawn_bars(random: np.random.Generator, count: int) -> BarArrays:
    """A walk with jumps between bars, missing bars and settlements on some grid."""
    return random_bars(random, count, step=HOUR, funding=random_funding(random, count), gaps=0.05)


def drawn_case(seed: int, count: int) -> tuple[Market, BarArrays, Strategy]:
    """Decisions, limits, costs and rules of every kind, all from ``seed``."""
    random = np.random.default_rng(seed)
    bars = drawn_bars(random, count)
    market = market_on(bars, seed)
    orders = random_orders(random, len(bars), fractions=True, units=False)
    size = len(bars)
    columns: dict[str, Any] = {}
    for field in fields(Exits):
        column = getattr(orders, field.name)
        columns[field.name] = np.broadcast_to(column, (size, *column.shape[1:])).copy()
    target = np.nan_to_num(np.broadcast_to(orders.target, size))
    entry = Drawn(pd.DatetimeIndex(market.bars.index), target, bool(random.random() < 0.4), Exits(**columns))
    return market, bars, Strategy(drawn_config(random), entry, entry)


def complete(exit_name: str, params: Mapping[str, Any], *, stop_first: bool) -> StrategyConfig:
    """The complete strategy's entry with an exit, limits near enough to be reached where it reads them."""
    limits = {
        "risk_management": {
            "profit_target": 0.03, "stop_loss": 0.025, "trailing_stop": 0.02, "trailing_activation": 0.01
        },
        "exit_criteria": {"prediction_reversal_threshold": 3.0, "regime_change_confidence": 0.7},
    }  # fmt: skip
    return StrategyConfig.model_validate({
        "name": "complete",
        "exit_logic": {"name": exit_name, "params": dict(params)},
        "entry_criteria": {"prediction_threshold": 0.2, "regime_confidence_threshold": 0.3},
        **(limits if exit_name == "HMMLSTMExitMixin" else {}),
        "backtesting_parameters": {"warmup": 10, "maker_commission": 0.0002, "stop_first": stop_first},
    })  # fmt: skip


def drawn_config(random: np.random.Generator) -> StrategyConfig:
    """Costs and rules of every kind."""
    leverage = float(random.choice([1.0, 3.0, 10.0]))
    return StrategyConfig.model_validate(
        {
            "name": "drawn",
            "position_sizing": {"min_position_size": 0.0, "max_position_size": leverage},
            "portfolio_management": {"rebalance_frequency": int(random.integers(1, 6))},
            "risk_management": {"portfolio_max_drawdown": float(random.choice([0.2, 0.6, 1.0]))},
            "backtesting_parameters": {
                "warmup": int(random.integers(0, 8)),
                # Never 0: an order of exactly all equity would be capped, or not, by the last digit.
                "commission": float(random.choice([0.0001, 0.0006])),
                "maker_commission": float(random.choice([0.0, 0.0002])),
                "slippage": float(random.choice([0.0, 0.001, 0.01])),
                "leverage": leverage,
                "maintenance_margin": float(random.choice([0.0, 0.005, 0.05])),
                "lot_size": float(random.choice([0.0, 0.01, 50.0])),
                "minimum_notional": float(random.choice([5.0, 20_000.0])),
                "stop_first": bool(random.random() < 0.6),
                "rebalance_band": float(random.choice([0.0, 0.1])),
            },
        }
    )


def by_engine(market: Market, bars: BarArrays, strategy: Strategy) -> Backtest:
    """The run that Backtrader's is held to, of the plan that is made at once."""
    return run_plan(bars, strategy.plan(market), strategy.config, lots=lots_of(strategy.config))


def gap(one: Backtest, other: Backtest) -> str:
    """What differs between two runs beyond 1e-9 relative, or nothing."""
    scale = float(np.abs(one.equity).max())
    pairs = {
        "fills": (one.fill_rows[:, :10], other.fill_rows[:, :10]),
        "trades": (one.trade_rows[:, 10:], other.trade_rows[:, 10:]),
        "equity": (one.equity, other.equity),
    }
    for name, (first, second) in pairs.items():
        if first.shape != second.shape:
            return f"{name}: {first.shape} and {second.shape}"
        if not np.allclose(first, second, rtol=1e-9, atol=1e-9 * scale):
            return f"{name}: {np.abs(first - second).max()}"
    return ""
