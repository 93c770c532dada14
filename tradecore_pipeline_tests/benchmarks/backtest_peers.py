"""The same orders in backtrader, vectorbt and backtesting.py: one coin long or short, at the next open, with a fee.

They come with the extra `[bench]`; backtrader is GPLv3, backtesting.py AGPLv3, and vectorbt carries the Commons Clause,
so the package itself never imports them.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.state import Floats

CAPITAL, FEE = 1e7, 0.0005


def frame_of(bars: BarArrays) -> pd.DataFrame:
    columns = {name.capitalize(): getattr(bars, name) for name in ("open", "high", "low", "close")}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(bars.ts_open.astype("datetime64[ns]"))).assign(Volume=1.0)


def with_vectorbt(bars: BarArrays, target: Floats) -> Callable[[], float]:
    """Builds the portfolio and its equity curve."""
    import vectorbt  # noqa: PLC0415 (an extra, and slow to import)

    wanted = pd.Series(target).ffill().fillna(0.0).shift(1, fill_value=0.0)
    size = wanted.diff().fillna(wanted).replace(0.0, np.nan)
    close, opened = pd.Series(bars.close), pd.Series(bars.open)

    def run() -> float:
        portfolio = vectorbt.Portfolio.from_orders(
            close, size=size, price=opened, fees=FEE, init_cash=CAPITAL, size_type="amount"
        )
        return float(portfolio.value().iloc[-1])

    return run


def with_backtesting(bars: BarArrays, target: Floats) -> Callable[[], float]:
    """Runs the strategy; what its statistics cost is part of its ``run``."""
    from backtesting import Backtest, Strategy  # noqa: PLC0415 (an extra)

    class Turn(Strategy):  # type: ignore[misc]  # untyped
        def init(self) -> None:
            """Nothing: the orders are known."""

        def next(self) -> None:
            wanted = target[len(self.data) - 1]
            if not math.isnan(wanted):
                self.position.close()
                (self.buy if wanted > 0 else self.sell)(size=1)

    test = Backtest(frame_of(bars), Turn, cash=CAPITAL, commission=FEE, exclusive_orders=False)

    def run() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # trades that are open at the end
            return float(test.run()["_equity_curve"]["Equity"].iloc[-1])

    return run


def with_backtrader(bars: BarArrays, target: Floats) -> Callable[[], float]:
    """Loads the feed and runs the strategy, as every run of it must."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in its sources
        import backtrader as bt  # noqa: PLC0415 (an extra)

    class Turn(bt.Strategy):  # type: ignore[misc]  # untyped
        def next(self) -> None:
            wanted = target[len(self) - 1]
            if not math.isnan(wanted):
                self.order_target_size(target=wanted)

    frame = frame_of(bars)

    def run() -> float:
        engine: Any = bt.Cerebro(stdstats=False)
        engine.adddata(bt.feeds.PandasData(dataname=frame, openinterest=None))
        engine.addstrategy(Turn)
        engine.broker.setcash(CAPITAL)
        engine.broker.setcommission(commission=FEE)
        engine.run()
        return float(engine.broker.getvalue())

    return run
