"""Figures of runs by hand, and of runs that have little to tell."""

import json
import math

import numpy as np
import pytest

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD, buy_and_hold
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.metrics import Performance, figures, performance
from tradecore_pipeline.backtest.orders import Costs, Orders, Rules, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, run_portfolio
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.significance import Permutation, significance
from tradecore_pipeline.backtest.trade_figures import longest_run
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline_tests.backtest.cases import FREE, HOUR, PLAIN, START, bars_of, random_bars, random_case

EQUITY = Rules(
    sizing=Sizing.EQUITY, distance=PLAIN.distance, stop_first=True, leverage=10.0, maintenance_margin=0.0,
    isolated=False, lot=0.0, minimum_notional=0.0, resize_step=np.inf, trail_by_bar=False,
)  # fmt: skip


def flat(prices: list[float]) -> list[tuple[float, float, float, float]]:
    """Bars that open at the close before."""
    opens = [prices[0], *prices[:-1]]
    return [(o, max(o, c), min(o, c), c) for o, c in zip(opens, prices, strict=True)]


def run(prices: list[float], target: list[float], *, rules: Rules = PLAIN, capital: float = 1000.0) -> Backtest:
    return run_backtest(bars_of(flat(prices)), Orders.of(target), costs=FREE, rules=rules, capital=capital)


def told(result: Backtest) -> Performance:
    return performance(result, regimes={}, benchmarks={}, significance=None)


def test_two_trades_by_hand() -> None:
    nan = math.nan
    result = run([100, 100, 110, 110, 110, 105, 105], [1, nan, 0, -1, 0, nan, nan])
    # Bought at 100 and sold at 110; sold short at 110 and bought back there: nothing won, nothing lost.
    found = told(result)
    assert found.trades.closed == 2
    assert found.trades.win_rate == 0.5
    assert found.trades.expectancy == pytest.approx(5.0)
    assert (found.trades.consecutive_wins, found.trades.consecutive_losses) == (1, 0)
    assert found.trades.profit_factor == math.inf
    assert found.trades.mean_holding_bars == pytest.approx(1.5)
    assert found.trades.reasons == {"target_position": 2}
    assert found.figures.total_return == pytest.approx(0.01)
    assert found.figures.exposure == pytest.approx(3 / 7)
    assert found.figures.bars == 7
    assert found.figures.years == pytest.approx(7 / 8760)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["trades"]["profit_factor"] is None


def test_costs_add_up_to_what_the_totals_say_and_the_result() -> None:
    bars, orders, _, rules = random_case(3, 400)
    costs = Costs(maker=0.0002, taker=0.0006, slippage=0.001)
    result = run_backtest(bars, orders, costs=costs, rules=rules, capital=1e5)
    found = told(result)
    bill = found.figures.fees + found.figures.slippage + found.figures.funding
    assert found.figures.costs_of_capital == pytest.approx(bill / 1e5)
    assert found.trades.closed + found.trades.still_open == result.totals.trades


@pytest.mark.parametrize("seed", range(12))
def test_months_and_days_compound_to_the_whole_and_regimes_add_up_to_it(seed: int) -> None:
    bars = random_bars(np.random.default_rng(seed), 2000, step=HOUR, funding=_funding(2000), gaps=0.03)
    random = np.random.default_rng(seed)
    target = np.where(random.random(len(bars)) < 0.1, random.choice([-0.5, 0, 0.5], len(bars)), np.nan)
    result = run_backtest(
        bars, Orders.of(target), costs=Costs(maker=0, taker=0.0005, slippage=0), rules=EQUITY, capital=1e4
    )
    labels = np.repeat(["Calm", "", "Turbulent"], len(bars))[random.integers(0, 3 * len(bars), len(bars))]
    found = performance(result, regimes={"volatility_regime": [labels]}, benchmarks={}, significance=None)
    whole = 1 + found.figures.total_return
    assert math.prod(1 + month.total_return for month in found.months) == pytest.approx(whole)
    assert float(np.prod(1 + Account.of(result).daily)) == pytest.approx(whole)
    rows = found.regimes["volatility_regime"]
    assert sum(row.log_return for row in rows) == pytest.approx(math.log(whole))
    assert sum(row.bars for row in rows) == len(bars) == sum(month.bars for month in found.months)
    assert sum(row.trades for row in rows) == found.trades.closed
    assert sum(row.pnl for row in rows) == pytest.approx(float(result.trades["pnl"][~result.trades["open"]].sum()))
    assert {row.regime for row in rows} == {"Calm", "Turbulent", "none"}
    assert sum(month.trades for month in found.months) == len(result.trades)


def test_a_bar_belongs_to_the_regime_that_was_known_at_its_open() -> None:
    result = run([100, 100, 150, 150], [1, math.nan, 0, math.nan])
    labels = np.array(["Calm", "Turbulent", "Calm", "Calm"])
    rows = performance(result, regimes={"r": [labels]}, benchmarks={}, significance=None).regimes["r"]
    by_name = {row.regime: row for row in rows}
    # The rise is bar 2's, at whose open bar 1's label was the newest; the trade was opened on bar 0's.
    assert by_name["Turbulent"].log_return == pytest.approx(math.log(1.05))
    assert by_name["Calm"].pnl == pytest.approx(50)
    assert by_name["none"].bars == 1


def test_everything_together_is_one_json_document() -> None:
    bars = random_bars(np.random.default_rng(1), 1000, step=HOUR, funding=_funding(1000), gaps=0.0)
    orders = Orders.of(np.where(np.arange(1000) % 50 == 0, 0.5, np.where(np.arange(1000) % 50 == 25, 0.0, np.nan)))
    costs = Costs(maker=0, taker=0.0005, slippage=0.0002)
    result = run_backtest(bars, orders, costs=costs, rules=EQUITY, capital=1e4)
    daily = Account.of(result).daily
    tested = significance(
        daily,
        daily.to_frame(),
        permutation=Permutation(observed=1.0, p_value=math.nan, runs=0, null_median=0.0, null_95=-math.inf),
        repetitions=50,
        seed=0,
    )
    held = {"a": Holding(bars=bars, orders=orders, costs=costs, rules=EQUITY)}
    found = performance(
        result,
        regimes={"regime": [np.repeat("Bull", 1000)], "volatility_regime": [np.repeat("Calm", 1000)]},
        benchmarks={BUY_AND_HOLD: buy_and_hold(held, capital=1e4)},
        significance=tested,
    )
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["significance"]["permutation"] == {
        "observed": 1.0, "p_value": None, "runs": 0, "null_median": 0.0, "null_95": None,
    }  # fmt: skip
    assert document["benchmarks"]["buy_and_hold"]["exposure"] == pytest.approx(0.999)
    assert document["figures"]["first"] == "2022-01-01T00:00:00+00:00"
    assert [month["month"] for month in document["months"]] == ["2022-01", "2022-02"]
    assert {row["regime"] for row in document["regimes"]["volatility_regime"]} == {"Calm", "none"}
    assert document["significance"]["deflated"]["configurations"] == 1


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match="one name per bar"):
        performance(run([100, 100], [0, 0]), regimes={"r": [np.array(["a"])]}, benchmarks={}, significance=None)


def test_no_trade_at_all_has_a_return_of_zero_and_no_ratios() -> None:
    found = told(run([100.0, 120, 90], [math.nan] * 3))
    assert found.figures.total_return == found.figures.annual_return == found.figures.max_drawdown == 0
    assert found.figures.annual_volatility == found.figures.turnover == found.figures.exposure == 0
    assert all(math.isnan(x) for x in (found.figures.sharpe, found.figures.sortino, found.figures.calmar))
    assert found.trades.closed == found.trades.consecutive_wins == 0
    assert all(math.isnan(x) for x in (found.trades.win_rate, found.trades.profit_factor, found.trades.expectancy))
    document = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(document)["figures"]["sharpe"] is None


def test_one_bar_is_enough_for_a_document() -> None:
    found = told(run([100.0], [1.0]))
    assert found.figures.bars == 1
    assert math.isnan(found.figures.annual_volatility)
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.filterwarnings("error")
def test_ruin_is_called_bankrupt_and_has_no_ratios() -> None:
    result = run([100, 100, 110, 60, 60, 60], [9, math.nan, math.nan, math.nan, 1, 1], rules=EQUITY)
    found = told(result)
    assert result.equity[-1] <= 0 + 1e-6
    assert found.figures.bankrupt
    assert found.figures.bankrupt_at == result.by_bar["ts_close"].iloc[3].to_pydatetime()
    assert found.figures.total_return == found.figures.annual_return == found.figures.max_drawdown == -1
    assert math.isnan(found.figures.sharpe)
    assert math.isnan(found.figures.annual_volatility)
    assert np.isfinite(Account.of(result).returns).all()
    json.dumps(found.to_json(), allow_nan=False)


def test_an_equity_below_zero_takes_no_logarithm() -> None:
    result = run([100.0, 100, 50, 50], [1, 1, 1, 1])
    broke = Backtest(
        bars=result.bars, rules=result.rules, fill_rows=result.fill_rows, trade_rows=result.trade_rows, capital=1000.0,
        equity=np.array([1000.0, 500, -20, 700]), capped=0, small=0,
    )  # fmt: skip
    labels = np.array(["a", "a", "b", "b"])
    found = performance(broke, regimes={"r": [labels]}, benchmarks={}, significance=None)
    assert found.figures.bankrupt
    assert found.figures.final_equity == 700
    assert found.months[0].total_return == -1
    assert all(math.isnan(row.log_return) for row in found.regimes["r"])
    assert Account.of(broke).daily.tolist() == [-1.0]


def test_a_portfolio_of_one_has_the_figures_of_its_instrument() -> None:
    random = np.random.default_rng(5)
    bars = random_bars(random, 500, step=HOUR, funding=_funding(500), gaps=0.02)
    target = np.where(random.random(len(bars)) < 0.1, random.choice([-1, 0, 1], len(bars)), np.nan)
    rules = Rules(
        sizing=Sizing.EQUITY, distance=PLAIN.distance, stop_first=True, leverage=3.0, maintenance_margin=0.0,
        isolated=True, lot=0.0, minimum_notional=0.0, resize_step=np.inf, trail_by_bar=False,
    )  # fmt: skip
    costs = Costs(maker=0, taker=0.0005, slippage=0)
    alone = run_backtest(bars, Orders.of(target), costs=costs, rules=rules, capital=1e4)
    together = run_portfolio(
        {"a": Holding(bars=bars, orders=Orders.of(target), costs=costs, rules=rules)}, capital=1e4, maximum_positions=1
    )
    one, other = figures(alone), figures(together)
    for name in ("sharpe", "sortino", "max_drawdown", "exposure", "mean_leverage", "turnover", "funding", "years"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9), name


def test_a_run_counts_neighbours_only() -> None:
    assert longest_run(np.array([True, True, False, True, True, True, False])) == 3
    assert longest_run(np.array([], dtype=bool)) == 0


def _funding(hours: int) -> Funding:
    times = START + np.arange(0, hours, 8) * HOUR
    return Funding.of(times, np.random.default_rng(0).normal(0, 1e-4, len(times)), None)
