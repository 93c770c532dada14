from dataclasses import replace

import numpy as np
import pytest

from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Orders, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, run_portfolio
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline_tests.backtest.cases import FREE, HOUR, PLAIN, bars_of, random_case

N = float("nan")
FLAT = (100.0, 100.0, 100.0, 100.0)
CAPITAL = 10_000.0
EQUITY = replace(PLAIN, sizing=Sizing.EQUITY)


def holding(target: list[float], rows: list[tuple[float, float, float, float]] | None = None) -> Holding:
    bars = bars_of(rows or [FLAT] * len(target))
    return Holding(bars=bars, orders=Orders.of(target), costs=FREE, rules=EQUITY)


@pytest.mark.parametrize("seed", range(60))
def test_a_portfolio_of_one_is_the_single_backtest(seed: int) -> None:
    bars, orders, costs, rules = random_case(seed, 150)
    rules = replace(rules, isolated=True)
    one = Holding(bars=bars, orders=orders, costs=costs, rules=rules)
    several = run_portfolio({"a": one}, capital=CAPITAL, maximum_positions=1)
    single = run_backtest(bars, orders, costs=costs, rules=rules, capital=CAPITAL)
    assert np.array_equal(several.equity, single.equity)
    assert several.ledgers["a"].trades.equals(single.trades)
    assert several.ledgers["a"].fills.equals(single.fills)
    assert (several.capped, several.small) == (single.capped, single.small)


@pytest.mark.parametrize("seed", range(40))
def test_shared_cash_adds_up_over_instruments_with_different_bars(seed: int) -> None:
    holdings = {}
    for number in range(3):
        bars, orders, costs, rules = random_case(1_000 * number + seed, 100 + 20 * number)
        holdings[f"i{number}"] = Holding(bars=bars, orders=orders, costs=costs, rules=replace(rules, isolated=True))
    result = run_portfolio(holdings, capital=CAPITAL, maximum_positions=2)
    pnl = result.trades["pnl"].sum()
    assert result.equity[-1] - CAPITAL == pytest.approx(pnl, abs=1e-9 * max(CAPITAL, np.abs(result.equity).max()))
    times, held = result.ts_open, 0
    for ledger in result.ledgers.values():
        at = np.searchsorted(ledger.bars.ts_open, times, side="right") - 1
        held = held + np.where(at >= 0, ledger.position[at] != 0, False).astype(int)
    assert held.max() <= 2


def test_all_instruments_are_sized_on_the_same_equity_at_the_same_open() -> None:
    result = run_portfolio({"a": holding([0.5, N]), "b": holding([0.5, N])}, capital=CAPITAL, maximum_positions=2)
    assert result.fills["units"].tolist() == [50, 50]


def test_short_equity_cuts_all_increases_alike_and_what_is_sold_at_the_same_open_helps() -> None:
    both = run_portfolio({"a": holding([1, N]), "b": holding([1, N])}, capital=CAPITAL, maximum_positions=2)
    assert both.fills["units"].tolist() == pytest.approx([50, 50])
    assert both.totals.capped_orders == 2
    swap = run_portfolio({"a": holding([1, 0, N]), "b": holding([N, 1, N])}, capital=CAPITAL, maximum_positions=2)
    assert swap.fills["units"].tolist() == [100, -100, 100]


def test_the_larger_target_takes_the_last_place_and_then_the_earlier_instrument() -> None:
    holdings = {"a": holding([0.2, N]), "b": holding([-0.3, N]), "c": holding([0.3, N])}
    result = run_portfolio(holdings, capital=CAPITAL, maximum_positions=1)
    assert result.fills["instrument"].tolist() == ["b"]


def test_a_decision_waits_for_the_instruments_own_next_bar() -> None:
    late = bars_of([FLAT] * 3)
    moved = late.ts_open + np.array([0, 2 * HOUR, 2 * HOUR])
    bars = replace(late, ts_open=moved, ts_close=moved + HOUR)
    one = Holding(bars=bars, orders=Orders.of([0.5, N, N]), costs=FREE, rules=EQUITY)
    result = run_portfolio({"a": one, "b": holding([N] * 5)}, capital=CAPITAL, maximum_positions=2)
    assert len(result.equity) == 5
    assert result.fills["time"].astype("int64").tolist() == [moved[1]]


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(UsageError, match="no instrument"):
        run_portfolio({}, capital=CAPITAL, maximum_positions=1)
    with pytest.raises(UsageError, match="maximum_positions"):
        run_portfolio({"a": holding([1, N])}, capital=CAPITAL, maximum_positions=0)
    cross = replace(holding([1, N]), rules=replace(EQUITY, isolated=False), costs=Costs(maker=0, taker=0, slippage=0))
    with pytest.raises(UsageError, match="cross margin"):
        run_portfolio({"a": cross}, capital=CAPITAL, maximum_positions=1)
