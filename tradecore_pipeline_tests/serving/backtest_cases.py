"""Small reported backtests on a made-up market, for the tests of the report."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD, buy_and_hold
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.metrics import performance
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, run_portfolio
from tradecore_pipeline.backtest.significance import Deflated, Intervals, Permutation, Significance
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.serving.backtest_run import Reported, labels_by_volatility
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline.strategies.schema import StrategyConfig

PERPETUAL, SPOT = "binance:BTC/USDT:USDT", "binance:BTC/USDT"
BARS = 24 * 60
CAPITAL = 10_000.0
RULES = Rules(
    sizing=Sizing.EQUITY, distance=Distance.FRACTION, stop_first=True, leverage=3.0, maintenance_margin=0.005,
    isolated=True, lot=0.0, minimum_notional=0.0, resize_step=np.inf, trail_by_bar=False,
)  # fmt: skip
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0002)


def market(name: str = PERPETUAL, *, seed: int = 0, names: Mapping[int, tuple[str, str, str]] | None = None) -> Market:
    """Three regimes that last some days; ``names`` are those of direction by month, one set unless given."""
    random = np.random.default_rng(seed)
    held = np.repeat(random.integers(0, 3, BARS // 24), 24)
    volatility = np.array([0.003, 0.006, 0.012])[held]
    moves = random.normal(0, volatility)
    moves[0] = 0.0  # nothing can be held in the first bar
    close = 30_000 * np.exp(np.cumsum(moves))
    opened = np.concatenate(([30_000.0], close[:-1]))
    index = pd.date_range("2024-01-01", periods=BARS, freq="h", tz="UTC", name="ts_open")
    bars = pd.DataFrame(
        {
            "ts_close": index + pd.Timedelta(hours=1), "open": opened, "high": np.maximum(opened, close) * 1.002,
            "low": np.minimum(opened, close) * 0.998, "close": close, "volume": 1.0,
        }, index=index,
    )  # fmt: skip
    months = names or {1: ("Bull", "Chop", "Bear"), 2: ("Bull", "Chop", "Bear")}
    regime = np.array([months[month][state] for month, state in zip(index.month, held, strict=True)])
    held[:100], regime[:100] = NO_STATE, ""
    return Market(
        name, Timeframe.parse("1h"), bars, np.full((BARS, 3), 1 / 3), held, regime, np.zeros(BARS, dtype=np.bool_),
        np.zeros(BARS, dtype=np.int64), np.zeros(BARS), volatility, np.full(BARS, 1e-4),
    )  # fmt: skip


def bars_of(one: Market) -> BarArrays:
    """The market's bars, a perpetual's with funding every eight hours."""
    times = pd.DatetimeIndex(one.bars.index)
    settled = times[times.hour % 8 == 0]
    count = len(settled)
    funding = Funding.of(settled, np.full(count, 1e-4), np.full(count, np.nan))
    return BarArrays.of(one.bars, funding=funding if one.instrument == PERPETUAL else Funding.none(), inner=None)


def flipping(every: int = 12, size: float = 0.5) -> Orders:
    """In and out, long and short in turn, with a stop."""
    phase = (np.arange(BARS) // every) % 4
    target = np.array([size, 0.0, -size, 0.0])[phase]
    return Orders.of(np.where(np.arange(BARS) < 100, np.nan, target), stop=0.02, profit=0.03)


def held_at(target: "np.ndarray[Any, Any]") -> Orders:
    """A position brought back to ``target`` at each open, with rules that resize on any change."""
    return Orders.of(target * (1 + 1e-7 * (np.arange(BARS) % 2)))


def reported(
    orders: Orders, *, one: Market | None = None, sure: Significance | None = None, rules: Rules = RULES, **config: Any
) -> Reported:
    """One instrument's run with all that belongs to it."""
    traded = one or market()
    bars = bars_of(traded)
    run = run_backtest(bars, orders, costs=COSTS, rules=rules, capital=CAPITAL)
    benchmarks = {
        BUY_AND_HOLD: buy_and_hold({"": Holding(bars=bars, orders=orders, costs=COSTS, rules=rules)}, capital=CAPITAL)
    }
    told = performance(
        run, regimes={"volatility_regime": [labels_by_volatility(traded)], "regime": [traded.regime]},
        benchmarks=benchmarks, significance=sure,
    )  # fmt: skip
    return Reported(
        config=StrategyConfig.model_validate({"name": "made-up", "description": "A made-up one.", **config}),
        markets={traded.instrument: traded}, run=run, performance=told, benchmarks=benchmarks,
        facts={"MLflow run": "3f2a9c11"}, notes=[],
    )  # fmt: skip


def reported_portfolio(count: int) -> Reported:
    """As many instruments on one account."""
    markets = {
        name: market(name, seed=k) for k, name in enumerate([PERPETUAL, *(f"okx:C{k}/USDT" for k in range(count - 1))])
    }
    holdings = {
        name: Holding(bars=bars_of(one), orders=flipping(12 + k, 0.2), costs=COSTS, rules=RULES)
        for k, (name, one) in enumerate(markets.items())
    }
    run = run_portfolio(holdings, capital=CAPITAL, maximum_positions=count)
    told = performance(run, regimes={}, benchmarks={}, significance=None)
    return Reported(
        config=StrategyConfig(name="several"), markets=markets, run=run, performance=told, benchmarks={}, facts={},
        notes=[],
    )  # fmt: skip


def significance(*, p_value: float, probability: float, sharpe_low: float) -> Significance:
    """All three tests with these results."""
    return Significance(
        days=60,
        probabilistic_sharpe=0.9,
        deflated=Deflated(probability=probability, configurations=40, effective=12.5, expected_best=1.9),
        intervals=Intervals(
            sharpe=(sharpe_low, 4.0),
            annual_return=(-0.2, 0.8),
            max_drawdown=(-0.5, -0.1),
            block_days=5,
            repetitions=100,
        ),
        permutation=Permutation(observed=1.2, p_value=p_value, runs=200, null_median=-0.4, null_95=1.1),
    )


def earning(told: Reported) -> Reported:
    """The same with a gain, for words that depend on one."""
    figures = replace(told.performance.figures, total_return=0.3, bankrupt=False)
    return replace(told, performance=replace(told.performance, figures=figures))
