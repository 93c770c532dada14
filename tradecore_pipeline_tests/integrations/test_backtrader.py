import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.metrics import performance
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline_tests.backtest.cases import HOUR, START, bars_of, grouped
from tradecore_pipeline_tests.integrations.backtrader_cases import (
    by_engine,
    complete,
    drawn_bars,
    drawn_case,
    gap,
    market_on,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("backtrader") is None, reason="backtrader is not installed: pip install -e '.[backtrader]'"
)
Run = Callable[[Market, BarArrays, Strategy], Any]

EXITS = (
    ("HMMLSTMExitMixin", {}),
    ("TrailingStopExitMixin", {"trail_pct": 0.03, "activation_pct": 0.01}),
    ("FixedRatioExitMixin", {}),
    ("MultiLevelATRExitMixin", {}),
    ("AdvancedATRExitMixin", {}),
)


@pytest.fixture(scope="module")
def adapter() -> ModuleType:
    return importlib.import_module("tradecore_pipeline.integrations.backtrader.run")


@pytest.fixture(scope="module")
def ran(adapter: ModuleType) -> Run:
    """The strategy after a whole run."""
    return lambda market, bars, strategy: adapter.cerebro_of(market, bars, strategy).run()[0]


def of(strategy: Any) -> Backtest:
    return strategy.analyzers.performance.backtest


def completed(seed: int) -> tuple[Market, BarArrays, Strategy]:
    """The complete strategy's entry with one of the exits, on a drawn market."""
    name, params = EXITS[seed % len(EXITS)]
    bars = drawn_bars(np.random.default_rng(seed), 160)
    return market_on(bars, seed), bars, Strategy.of(complete(name, params, stop_first=seed % 4 != 3), Registry())


@pytest.mark.parametrize("seed", range(20))
def test_the_complete_strategy_has_the_engines_trades_and_equity(ran: Run, seed: int) -> None:
    market, bars, strategy = completed(seed)
    expected = by_engine(market, bars, strategy)
    found = of(ran(market, bars, strategy))
    assert len(expected.trades) >= 3
    assert gap(expected, found) == ""
    assert found.totals.final_equity == pytest.approx(expected.totals.final_equity, rel=1e-9)


def test_those_twenty_runs_reach_stops_targets_and_trailing_stops() -> None:
    reasons = {reason for seed in range(20) for reason in by_engine(*completed(seed)).fills["reason"]}
    assert {"stop", "profit_target", "trailing_stop", "breakeven_stop", "partial_exit", "regime_change"} <= reasons


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_plan_has_the_engines_fills_and_equity(ran: Run, seed: int) -> None:
    market, bars, strategy = drawn_case(seed, 80)
    assert gap(by_engine(market, bars, strategy), of(ran(market, bars, strategy))) == ""


def test_the_lines_hold_what_was_known_at_each_close(adapter: ModuleType) -> None:
    market, bars, strategy = completed(0)
    seen: list[dict[str, float]] = []
    names = ("close", "regime", "direction", "trend", "probability_2", "forecast", "volatility", "funding_rate")

    class Watching(adapter.HMMLSTMStrategy):
        def next(self) -> None:
            moment = self.data.num2date(self.data.datetime[0]).timestamp()
            seen.append({"moment": moment, **{name: getattr(self.data, name)[0] for name in names}})
            super().next()

    cerebro = adapter.cerebro_of(market, bars, strategy)
    cerebro.strats.clear()
    cerebro.addstrategy(Watching, logic=strategy)
    cerebro.run()
    expected = {
        "close": bars.close, "regime": market.held, "direction": market.direction, "trend": market.trend,
        "probability_2": market.probabilities[:, 2], "forecast": market.forecast, "volatility": market.volatility,
        "funding_rate": market.funding_rate, "moment": bars.ts_close / 1e9,
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose([row[name] for row in seen], values, rtol=0, atol=1e-4 if name == "moment" else 0)


def test_funding_is_paid_at_its_settlements_and_by_no_one_who_came_later(ran: Run) -> None:
    rows = [(100.0, 100.0, 100.0, 100.0)] * 4
    funding = Funding.of(START + HOUR * np.array([1, 2]), np.array([0.5, 0.01]), None)
    bars = bars_of(rows, funding=funding)
    market = replace(market_on(bars, 1), forecast=np.full(4, 0.1), held=np.zeros(4, np.int64),
                     regime=np.full(4, "Bull"), probabilities=np.tile([1.0, 0, 0], (4, 1)))  # fmt: skip
    config = complete("NoExitMixin", {}, stop_first=True)
    free = config.backtesting_parameters.model_copy(update={"commission": 0.0, "slippage": 0.0, "warmup": 0})
    strategy = Strategy.of(config.model_copy(update={"backtesting_parameters": free}), Registry())
    found = of(ran(market, bars, strategy))
    units = found.fills["units"].iloc[0]
    assert found.fills["bar"].tolist() == [1]
    assert found.equity.tolist() == pytest.approx([1e5, 1e5, *[1e5 - units * 100 * 0.01] * 2])


def test_the_analyzer_gives_the_figures_of_the_backtest_reports(ran: Run) -> None:
    market, bars, strategy = completed(0)
    found = ran(market, bars, strategy).analyzers.performance.get_analysis()
    told = performance(
        by_engine(market, bars, strategy), regimes={"regime": [market.regime]}, benchmarks={}, significance=None
    ).to_json()
    expected = {**told["figures"], **told["trades"]}
    names = (
        "sharpe", "sortino", "calmar", "annual_return", "max_drawdown", "profit_factor", "win_rate", "expectancy",
        "consecutive_wins", "consecutive_losses", "funding", "fees", "slippage", "exposure", "turnover",
    )  # fmt: skip
    assert {name: found[name] for name in names} == pytest.approx({name: expected[name] for name in names})
    assert [row["regime"] for row in found["regimes"]["regime"]] == [r["regime"] for r in told["regimes"]["regime"]]
    assert sum(row["bars"] for row in found["regimes"]["volatility_regime"]) == len(bars)


def test_backtraders_own_analyzers_see_the_same_account(adapter: ModuleType) -> None:
    bt = importlib.import_module("backtrader")
    market, bars, strategy = completed(0)
    cerebro = adapter.cerebro_of(market, bars, strategy)
    cerebro.addanalyzer(bt.analyzers.DrawDown, _name="fall")
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    after = cerebro.run()[0].analyzers
    ours, theirs = after.performance.get_analysis(), after.trades.get_analysis()
    assert after.fall.get_analysis().max.drawdown == pytest.approx(-100 * ours["max_drawdown"])
    assert theirs.total.closed == ours["closed"]
    assert theirs.pnl.net.total == pytest.approx(
        after.performance.backtest.trades.query("not open")[["pnl", "funding"]].to_numpy().sum()
    )


def test_bars_that_are_not_the_markets_or_have_finer_ones_are_refused(adapter: ModuleType) -> None:
    market, bars, strategy = completed(0)
    with pytest.raises(UsageError, match="differ in their rows"):
        adapter.cerebro_of(market.rows(1, len(market)), bars, strategy)
    coarse = grouped(bars, step=4 * HOUR, funding=Funding.none())
    with pytest.raises(UsageError, match="intrabar"):
        adapter.cerebro_of(market_on(coarse, 1), coarse, strategy)


def test_the_strategy_asks_for_its_own_broker(adapter: ModuleType) -> None:
    bt = importlib.import_module("backtrader")
    cerebro = bt.Cerebro(cheat_on_open=True)
    market, bars, strategy = completed(0)
    cerebro.adddata(adapter.feed_of(market, bars))
    cerebro.addstrategy(adapter.HMMLSTMStrategy, logic=strategy)
    with pytest.raises(UsageError, match="PerpetualBroker"):
        cerebro.run()


def test_without_backtrader_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import tradecore_pipeline.integrations.backtrader.library as door  # noqa: PLC0415 (needs the extra)

    def absent(name: str) -> ModuleType:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(door.importlib, "import_module", absent)
    with pytest.raises(UsageError, match=r"\[backtrader\]"):
        door._imported()


def test_neither_the_command_nor_the_definitions_import_it() -> None:
    code = "import sys, tradecore_pipeline.definitions, tradecore_pipeline.cli.app; print('backtrader' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


def test_one_module_alone_imports_it() -> None:
    package = Path(__file__).parents[2] / "tradecore_pipeline"
    named = re.compile(r"^\s*(import|from) backtrader\b|import_module\(.backtrader", re.MULTILINE)
    found = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if named.search(path.read_text())]
    assert found == ["integrations/backtrader/library.py"]
