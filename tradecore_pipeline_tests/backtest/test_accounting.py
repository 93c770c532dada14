from dataclasses import replace

import numpy as np
import pytest

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.state import F_CASH, F_HELD, F_OPEN, F_SUB, Floats
from tradecore_pipeline_tests.backtest.cases import random_case

CAPITAL = 10_000.0


def settlements(bars: BarArrays) -> list[tuple[int, int, float]]:
    """Path bar, 0 at its open or 1 inside it, and what a coin pays; those after the last bar are left out."""
    path, found = bars.path, list[tuple[int, int, float]]()
    for when, rate, mark in zip(bars.funding.ts_settle, bars.funding.rate, bars.funding.mark, strict=True):
        at = int(np.searchsorted(path.ts_close, when, side="right"))
        if at < len(path):
            price = path.open[at] if np.isnan(mark) else mark
            found.append((at, int(when > path.ts_open[at]), float(rate * price)))
    return found


def rebuilt_cash(result: Backtest) -> Floats:
    """(bars,) what the fills' own cash column says, less what was paid as funding since the last of them."""
    bars = result.bars
    # At the same moment the settlement comes before the fill: who holds, pays.
    events = [(at, inside, 0, paid) for at, inside, paid in settlements(bars)]
    events += [(int(row[F_SUB]), int(row[F_OPEN] == 0), 1 + n, 0.0) for n, row in enumerate(result.fill_rows)]
    cash, held, by_bar = CAPITAL, 0.0, np.full(len(bars), np.nan)
    ends = np.searchsorted(bars.path.ts_open, bars.ts_close)
    waiting = sorted(events)
    for bar, end in enumerate(ends):
        while waiting and waiting[0][0] < end:
            _, _, fill, paid = waiting.pop(0)
            if fill:
                cash, held = float(result.fill_rows[fill - 1, F_CASH]), float(result.fill_rows[fill - 1, F_HELD])
            else:
                cash -= held * paid
        by_bar[bar] = cash
    return by_bar


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
        assert np.allclose(rebuilt_cash(result) + result.position * bars.close, result.equity, rtol=0, atol=tolerance)
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
