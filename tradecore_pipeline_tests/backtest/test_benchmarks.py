"""Buy & hold and its volatility-matched sibling."""

import numpy as np
import pytest

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.backtest.benchmarks import buy_and_hold, past_volatility, volatility_matched
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.metrics import figures
from tradecore_pipeline.backtest.orders import Costs, Orders, Rules, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, PortfolioBacktest
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline_tests.backtest.cases import FREE, HOUR, PLAIN, START, bars_of, random_bars

COSTS = Costs(maker=0.0, taker=0.0005, slippage=0.0002)
LEVERED = Rules(
    sizing=Sizing.EQUITY, distance=PLAIN.distance, stop_first=True, leverage=5.0, maintenance_margin=0.005,
    isolated=True, lot=0.0, minimum_notional=0.0, resize_step=0.1, trail_by_bar=False,
)  # fmt: skip


def holding(seed: int, *, costs: Costs = COSTS, hours: int = 3000) -> Holding:
    times = START + np.arange(0, hours, 8) * HOUR
    funding = Funding.of(times, np.full(len(times), 1e-4), None)
    bars = random_bars(np.random.default_rng(seed), hours, step=HOUR, funding=funding, gaps=0.0)
    return Holding(bars=bars, orders=Orders.of(np.nan), costs=costs, rules=LEVERED)


def test_buy_and_hold_by_hand_pays_fee_and_funding() -> None:
    settled = START + np.array([2, 3]) * HOUR
    rows = [(100.0, 101.0, 99.0, 100.0)] * 4
    bars = bars_of(rows, funding=Funding.of(settled, np.array([0.01, 0.01]), np.array([100.0, 100.0])))
    fee = Costs(maker=0.0, taker=0.001, slippage=0.0)
    run = buy_and_hold({"a": Holding(bars=bars, orders=Orders.of(np.nan), costs=fee, rules=LEVERED)}, capital=1001.0)
    units = 1001.0 / (100 * 1.001)
    assert run.totals.trades == 1
    assert run.totals.fees == pytest.approx(units * 0.1)
    assert run.totals.funding == pytest.approx(units * 2.0)
    assert run.equity[-1] == pytest.approx(1001 - units * 2.1)


def test_a_fall_by_two_thirds_does_not_liquidate_it() -> None:
    rows = [(100.0, 100.0, 100.0, 100.0)] * 2 + [(34.0, 34.0, 30.0, 34.0), (34.0, 100.0, 34.0, 100.0)]
    run = buy_and_hold(
        {"a": Holding(bars=bars_of(rows), orders=Orders.of(np.nan), costs=FREE, rules=LEVERED)}, capital=1000.0
    )
    assert run.totals.liquidations == 0
    assert run.equity[-1] == pytest.approx(1000)


def test_several_instruments_are_held_in_equal_parts() -> None:
    run = buy_and_hold({"a": holding(1, costs=FREE), "b": holding(2, costs=FREE)}, capital=1000.0)
    assert isinstance(run, PortfolioBacktest)
    first = run.fills.groupby("instrument").first()
    assert (first["units"] * first["price"]).tolist() == pytest.approx([500, 500])


def test_the_matched_run_comes_near_the_volatility_it_is_given() -> None:
    one = holding(3)
    known = past_volatility(one.bars.close, half_life_bars=72)
    run = volatility_matched(
        {"a": one}, {"a": known}, capital=1e4, annual_volatility=0.5, most=1.0, band=0.1
    )  # fmt: skip
    found = figures(run)
    assert found.annual_volatility == pytest.approx(0.5, rel=0.15)
    assert found.liquidations == 0
    assert 0.1 < found.mean_leverage < 0.6


def test_its_positions_are_those_of_a_market_that_ended_earlier() -> None:
    one = holding(4)
    known = past_volatility(one.bars.close, half_life_bars=72)
    cut = 2000
    shorter = Holding(
        bars=type(one.bars)(
            ts_open=one.bars.ts_open[:cut], ts_close=one.bars.ts_close[:cut], open=one.bars.open[:cut],
            high=one.bars.high[:cut], low=one.bars.low[:cut], close=one.bars.close[:cut], funding=one.bars.funding,
            inner=None,
        ),
        orders=one.orders, costs=one.costs, rules=one.rules,
    )  # fmt: skip
    choice = {"capital": 1e4, "annual_volatility": 0.5, "most": 1.0, "band": 0.1}
    past = past_volatility(shorter.bars.close, half_life_bars=72)
    assert np.array_equal(past, known[:cut], equal_nan=True)
    whole = volatility_matched({"a": one}, {"a": known}, **choice)
    early = volatility_matched({"a": shorter}, {"a": past}, **choice)
    assert isinstance(whole, Backtest)
    assert isinstance(early, Backtest)
    assert np.array_equal(whole.position[:cut], early.position)


def test_rows_without_a_forecast_order_nothing() -> None:
    one = holding(5, hours=400)
    known = np.full(400, np.nan)
    known[200:] = 0.01
    run = volatility_matched({"a": one}, {"a": known}, capital=1e4, annual_volatility=0.4, most=1.0, band=0.1)
    assert isinstance(run, Backtest)
    assert run.fill_bars[0] == 201


def test_small_changes_of_the_wish_are_not_traded() -> None:
    one = holding(6, hours=400)
    known = 0.01 * (1 + 0.02 * np.sin(np.arange(400)))
    run = volatility_matched({"a": one}, {"a": known}, capital=1e4, annual_volatility=0.4, most=1.0, band=0.1)
    assert len(run.fills) == 1


@pytest.mark.parametrize("level", [0.0, np.nan])
def test_a_strategy_without_volatility_cannot_be_matched(level: float) -> None:
    one = holding(7, hours=50)
    with pytest.raises(UsageError, match="no volatility to match"):
        volatility_matched({"a": one}, {"a": np.full(50, 0.01)}, capital=1e4, annual_volatility=level, most=1, band=0.1)


def test_a_benchmark_ignores_the_orders_of_the_strategy() -> None:
    one = holding(8, hours=200)
    levered = Holding(bars=one.bars, orders=Orders.of(-3.0, stop=0.01), costs=one.costs, rules=one.rules)
    assert np.array_equal(
        buy_and_hold({"a": one}, capital=1e4).equity, buy_and_hold({"a": levered}, capital=1e4).equity
    )
    plain = run_backtest(one.bars, one.orders, costs=COSTS, rules=LEVERED, capital=1e4)
    assert plain.equity.tolist() == [1e4] * 200
