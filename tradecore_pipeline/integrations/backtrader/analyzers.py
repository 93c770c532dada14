"""Backtrader's fills as the engine's tables, and the figures of the backtest reports from them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.breakdown import Naming
from tradecore_pipeline.backtest.metrics import performance
from tradecore_pipeline.backtest.plain import plain
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.state import BOOK, Floats
from tradecore_pipeline.integrations.backtrader.broker import Fill, Payment
from tradecore_pipeline.integrations.backtrader.library import bt
from tradecore_pipeline.strategies.market import Market


class PerformanceAnalyzer(bt.Analyzer):
    """The figures of the backtest reports, of what Backtrader did; for runs of ``HMMLSTMStrategy``.

    ``get_analysis`` is a dictionary of JSON values: all of ``metrics.Figures`` (``annual_return`` is the CAGR) and of
    ``trade_figures.TradeFigures``, and under ``regimes`` a list of rows by naming. ``backtest`` is the run as
    ``run_plan`` leaves it. Backtrader's own analyzers count by other conventions (days and a risk-free rate of 1% in
    its Sharpe ratio); they can stand beside this one.
    """

    backtest: Backtest

    def start(self) -> None:
        """Nothing has been seen yet."""
        self._equity: list[float] = []
        self._found: dict[str, Any] = {}

    def next(self) -> None:
        """Equity at the bar's close."""
        self._equity.append(float(self.strategy.broker.getvalue()))

    def stop(self) -> None:
        """Figures of the whole run."""
        strategy, feed = self.strategy, self.data
        self.backtest = Backtest(
            bars=feed.p.bars,
            rules=strategy.rules,
            **_rows(strategy.broker.fills, strategy.broker.paid, feed.p.bars, strategy.broker.startingcash),
            capital=strategy.broker.startingcash,
            equity=np.array(self._equity),
            capped=strategy.capped_orders,
            small=strategy.small_orders,
        )
        names = _regimes(feed.p.market)
        told = performance(self.backtest, regimes=names, benchmarks={}, significance=None)
        regimes = {naming: [asdict(row) for row in rows] for naming, rows in told.regimes.items()}
        self._found = plain({**asdict(told.figures), **asdict(told.trades), "regimes": regimes})

    def get_analysis(self) -> dict[str, Any]:
        """What was found; empty before the end of the run."""
        return self._found


def _regimes(market: Market) -> dict[str, Naming]:
    """The held states' names by bar, by return and by volatility."""
    from tradecore_pipeline.models.direction import volatility_labels  # noqa: PLC0415 (hmmlearn takes a second)

    by_volatility = volatility_labels(market.held, market.equal_states, states=market.probabilities.shape[1])
    return {"regime": [market.regime], "volatility_regime": [by_volatility]}


def _rows(fills: Sequence[Fill], paid: Sequence[Payment], bars: BarArrays, capital: float) -> dict[str, Floats]:
    """The engine's rows: fills, and trades from flat to flat."""
    before = np.array([payment.fills for payment in paid], dtype=np.int64)
    amounts = np.array([payment.amount for payment in paid])
    rows, trades, first, cash = np.zeros((len(fills), BOOK)), [], 0, capital
    for number, fill in enumerate(fills):
        cash -= fill.units * fill.price + fill.fee + float(amounts[before == number].sum())
        rows[number, :10] = (
            fill.bar, fill.bar, fill.at_open, fill.reason, fill.units, fill.price, fill.fee, fill.slippage, fill.held,
            cash,
        )  # fmt: skip
        last = number == len(fills) - 1
        if fill.held and not last:
            continue
        own, worth = fills[first : number + 1], fill.held * float(bars.close[-1])
        funding = float(amounts[(before > first) & (before <= (len(fills) if fill.held else number))].sum())
        trades.append((first, number, *_extremes(own, bars), funding, _flow(own) - funding + worth,
                       0 if fill.held else fill.reason))  # fmt: skip
        first = number + 1
    rows[: len(trades), 10:] = trades or np.empty((0, 8))
    return {"fill_rows": rows, "trade_rows": rows[: len(trades)]}


def _flow(fills: Sequence[Fill]) -> float:
    return -sum(fill.units * fill.price + fill.fee for fill in fills)


def _extremes(fills: Sequence[Fill], bars: BarArrays) -> tuple[float, float, float]:
    """First price, highest and lowest while a trade was held; of the bar that ends it only the fill counts."""
    prices = [fill.price for fill in fills]
    held = slice(fills[0].bar, len(bars) if fills[-1].held else fills[-1].bar)
    return prices[0], max([*prices, *bars.high[held].tolist()]), min([*prices, *bars.low[held].tolist()])
