from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Orders
from tradecore_pipeline.domain.errors import InvalidDataError, TradecoreError, UsageError
from tradecore_pipeline_tests.backtest.cases import FREE, HOUR, PLAIN, START, bars_of

N = float("nan")
FLAT = (100.0, 100.0, 100.0, 100.0)
BARS = bars_of([FLAT] * 3)
FRAME = pd.DataFrame(
    {"ts_close": pd.date_range("2022-01-01 01:00", periods=3, freq="h", tz="UTC"), "open": 1.0, "high": 1.0, "low": 1.0,
     "close": 1.0}, index=pd.date_range("2022-01-01", periods=3, freq="h", tz="UTC", name="ts_open"),
)  # fmt: skip


def order(*, capital: float = 1_000.0, **columns: object) -> object:
    orders = Orders.of(**({"target": [1.0, N, N]} | columns))  # type: ignore[arg-type]
    return run_backtest(BARS, orders, costs=FREE, rules=PLAIN, capital=capital)


CASES: dict[str, tuple[Callable[[], object], type[TradecoreError], str]] = {
    "a NaN price": (lambda: bars_of([FLAT, (100, N, 100, 100)]), InvalidDataError, "high of 2022-01-01 01:00"),
    "a price of zero": (lambda: bars_of([(0, 1, 0, 1)]), InvalidDataError, "open"),
    "a high below the close": (lambda: bars_of([(100, 100, 99, 101)]), InvalidDataError, "inside its open and close"),
    "unsorted times": (
        lambda: BarArrays.of(FRAME[::-1], funding=Funding.none(), inner=None), InvalidDataError, "order"
    ),
    "a time twice": (
        lambda: BarArrays.of(FRAME.iloc[[0, 1, 1]], funding=Funding.none(), inner=None), InvalidDataError, "twice"
    ),
    "bars that overlap": (lambda: replace(BARS, ts_close=BARS.ts_close + 1), InvalidDataError, "closes"),
    "columns of different length": (lambda: replace(BARS, close=BARS.close[:2]), UsageError, "differ in length"),
    "no bars": (lambda: BarArrays.of(FRAME[:0], funding=Funding.none(), inner=None), UsageError, "not one bar"),
    "a missing column": (
        lambda: BarArrays.of(FRAME.drop(columns="low"), funding=Funding.none(), inner=None), UsageError, "column low"
    ),
    "times without a zone": (
        lambda: BarArrays.of(FRAME.tz_localize(None), funding=Funding.none(), inner=None), UsageError, "time zone"
    ),
    "finer bars outside": (
        lambda: replace(BARS, inner=replace(BARS, ts_open=BARS.ts_open + 1, ts_close=BARS.ts_close + 1)),
        InvalidDataError, "does not lie inside",
    ),
    "a NaN funding rate": (lambda: Funding.of([START], [N], None), InvalidDataError, "NaN"),
    "funding out of order": (lambda: Funding.of([START + HOUR, START], [0, 0], None), InvalidDataError, "order"),
    "negative costs": (lambda: Costs(maker=0.0, taker=-0.1, slippage=0.0), UsageError, "taker is -0.1"),
    "NaN costs": (lambda: Costs(maker=0.0, taker=N, slippage=0.0), UsageError, "taker"),
    "leverage below one": (lambda: replace(PLAIN, leverage=0.5), UsageError, "leverage"),
    "maintenance beyond margin": (
        lambda: replace(PLAIN, leverage=10.0, maintenance_margin=0.1), UsageError, "liquidated"
    ),
    "a negative lot": (lambda: replace(PLAIN, lot=-1.0), UsageError, "lot"),
    "orders of another length": (lambda: order(target=[1.0, N]), UsageError, "2 rows for 3 bars"),
    "an infinite target": (lambda: order(target=[np.inf, 0, 0]), InvalidDataError, "infinite"),
    "a negative stop": (lambda: order(stop=-1.0), InvalidDataError, "stop"),
    "partial exits out of order": (
        lambda: order(partial_distance=[[2.0, 1.0]], partial_fraction=[[0.5, 0.5]]), UsageError, "increase"
    ),
    "partial exits without fractions": (lambda: order(partial_distance=[[2.0]]), UsageError, "as many fractions"),
    "an exit without reason": (lambda: order(exit_long=1), UsageError, "REGIME_CHANGE"),
    "an unknown column": (lambda: Orders.of(1.0, stopp=2.0), UsageError, "stopp"),
    "capital below one lot": (
        lambda: run_backtest(BARS, Orders.of(1.0), costs=FREE, rules=replace(PLAIN, lot=20.0), capital=1_000.0),
        UsageError, "below the least order",
    ),
    "no capital": (lambda: order(capital=0.0), UsageError, "capital is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_clear_line(name: str) -> None:
    run, error, words = CASES[name]
    with pytest.raises(error, match=words) as caught:
        run()
    assert "\n" not in str(caught.value)
