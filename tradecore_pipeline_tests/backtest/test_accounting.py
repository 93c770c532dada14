from dataclasses import replace

import numpy as np
import pytest

from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline_tests.backtest.cases import random_case

CAPITAL = 10_000.0


@pytest.mark.parametrize("block", range(10))
def test_money_is_neither_made_nor_lost_in_a_hundred_random_cases(block: int) -> None:
    traded = 0
    for seed in range(100 * block, 100 * block + 100):
        bars, orders, costs, rules = random_case(seed + 50_000, 120)
        result = run_backtest(bars, orders, costs=costs, rules=rules, capital=CAPITAL)
        fills, trades = result.fills, result.trades
        traded += len(trades)
        tolerance = 1e-9 * max(CAPITAL, float(np.abs(result.equity).max()))
        spent = (fills["units"] * fills["price"] + fills["fee"]).sum()
        cash = CAPITAL - spent - trades["funding"].sum()
        held = fills["units"].sum()
        assert result.equity[-1] == pytest.approx(cash + held * bars.close[-1], abs=tolerance)
        assert trades["pnl"].sum() == pytest.approx(result.equity[-1] - CAPITAL, abs=tolerance)
        worthless = fills["units"] * (fills["price"] - fills["slippage"] / fills["units"])
        gross = -worthless.sum() + held * bars.close[-1]
        bill = trades["fees"].sum() + trades["slippage"].sum() + trades["funding"].sum()
        assert gross - bill == pytest.approx(result.equity[-1] - CAPITAL, abs=tolerance)
        assert np.allclose(result.cash + result.position * bars.close, result.equity, rtol=0, atol=tolerance)
        assert result.position[-1] == pytest.approx(held, abs=1e-9 * max(1.0, fills["units"].abs().sum()))
        assert (trades["mae"] <= 1e-12).all()
        assert (trades["mfe"] >= -1e-12).all()
    assert traded > 500


def test_prices_in_another_currency_change_no_return() -> None:
    for seed in range(30):
        bars, orders, costs, rules = random_case(seed, 100)
        if rules.distance.value == "price" or rules.sizing.value == "units" or rules.minimum_notional or rules.lot:
            continue
        one = run_backtest(bars, orders, costs=costs, rules=rules, capital=CAPITAL).equity
        scaled = {name: 4.0 * getattr(bars, name) for name in ("open", "high", "low", "close")}
        funding = replace(bars.funding, mark=4.0 * bars.funding.mark)
        inner = None if bars.inner is None else replace(bars.inner, **{n: 4.0 * getattr(bars.inner, n) for n in scaled})
        other = replace(bars, **scaled, funding=funding, inner=inner)
        assert np.array_equal(run_backtest(other, orders, costs=costs, rules=rules, capital=CAPITAL).equity, one)
