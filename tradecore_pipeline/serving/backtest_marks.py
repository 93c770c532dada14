"""Where trades were opened and closed, as marks on a chart of prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tradecore_pipeline.backtest.results import Ledger
from tradecore_pipeline.backtest.state import F_REASON, Floats
from tradecore_pipeline.serving.backtest_series import chosen, clock, column
from tradecore_pipeline.strategies.reasons import Reason

MOST_TRADES = 1_000
"""Of an instrument; those with the largest results are drawn."""
_WON, _LOST = "#2e7d4f", "#c62828"
_FEW = 150
"""Marks of a kind up to which they are drawn large."""
_PARTS = (Reason.RESIZE, Reason.PARTIAL_EXIT)


@dataclass(frozen=True, slots=True)
class _Look:
    """A kind of mark."""

    name: str
    colour: str
    symbol: str


@dataclass(frozen=True, slots=True)
class _Marks:
    """Where they are, and what each says under the mouse."""

    times: pd.DatetimeIndex
    prices: Floats
    words: list[str]


_ENTRIES = {1: _Look("long entry", "#1e88e5", "triangle-up"), -1: _Look("short entry", "#ef6c00", "triangle-down")}
_EXIT_WON, _EXIT_LOST = _Look("exit, won", _WON, "circle"), _Look("exit, lost", _LOST, "x")
_RESIZED = _Look("resized", "#ab47bc", "diamond-open")


def add_trades(figure: go.Figure, ledger: Ledger, *, row: int, quote: str) -> None:
    """Entries by side, exits by result, a line from one to the other, and changes of size in between."""
    trades = ledger.trades
    if len(trades) > MOST_TRADES:
        largest = np.argsort(-np.abs(column(trades, "pnl")), kind="stable")[:MOST_TRADES]
        trades = trades.iloc[np.sort(largest)]
    closed = chosen(trades, ~trades["open"])
    won, lost = chosen(closed, closed["pnl"] > 0), chosen(closed, closed["pnl"] <= 0)
    _add_lines(figure, won, _WON, row)
    _add_lines(figure, lost, _LOST, row)
    for side, look in _ENTRIES.items():
        own = chosen(trades, trades["side"] == side)
        words = [_entry(trade, quote) for trade in own.to_dict("records")]
        _add_marks(figure, _Marks(_times(own, "entry_time"), column(own, "entry_price"), words), look, row)
    for own, look in ((won, _EXIT_WON), (lost, _EXIT_LOST)):
        words = [_exit(trade, quote) for trade in own.to_dict("records")]
        _add_marks(figure, _Marks(_times(own, "exit_time"), column(own, "exit_price"), words), look, row)
    _add_resizes(figure, ledger, row)


def _add_lines(figure: go.Figure, trades: pd.DataFrame, colour: str, row: int) -> None:
    times = np.column_stack((
        clock(_times(trades, "entry_time")), clock(_times(trades, "exit_time")), np.full(len(trades), None)
    ))  # fmt: skip
    nowhere = np.full(len(trades), np.nan)
    prices = np.column_stack((column(trades, "entry_price"), column(trades, "exit_price"), nowhere))
    figure.add_scatter(
        x=times.ravel(), y=prices.ravel(), mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": colour, "width": 1.5, "dash": "dot"}, row=row, col=1,
    )  # fmt: skip


def _add_marks(figure: go.Figure, marks: _Marks, look: _Look, row: int) -> None:
    if not len(marks.times):
        return
    size = 8 if len(marks.times) <= _FEW else 5
    figure.add_scatter(
        x=clock(marks.times), y=marks.prices.round(8), mode="markers", name=look.name, legendgroup=look.name,
        showlegend=row == 1, text=marks.words, hovertemplate="%{text}<extra></extra>",
        marker={"color": look.colour, "size": size, "symbol": look.symbol, "opacity": 0.85}, row=row, col=1,
    )  # fmt: skip


def _add_resizes(figure: go.Figure, ledger: Ledger, row: int) -> None:
    fills = chosen(ledger.fills, np.isin(ledger.fill_rows[:, F_REASON], _PARTS))
    fills = fills.iloc[:: -(-len(fills) // MOST_TRADES) or 1]
    words = [
        f"{fill['reason'].replace('_', ' ')} {fill['units']:+.6g} at {fill['price']:,.6g}"
        for fill in fills.to_dict("records")
    ]
    _add_marks(figure, _Marks(_times(fills, "time"), column(fills, "price"), words), _RESIZED, row)


def _entry(trade: Mapping[Any, Any], quote: str) -> str:
    still = "<br>still open at the end" if trade["open"] else ""
    when = f"{trade['entry_time']:%Y-%m-%d %H:%M}"
    return f"{_side(trade)} {trade['units']:.6g} at {trade['entry_price']:,.6g} {quote}<br>{when}{still}"


def _exit(trade: Mapping[Any, Any], quote: str) -> str:
    costs = trade["fees"] + trade["slippage"] + trade["funding"]
    return (
        f"{_side(trade)} closed: <b>{trade['reason'].replace('_', ' ')}</b> at {trade['exit_price']:,.6g}<br>"
        f"{trade['pnl']:+,.2f} {quote} after {costs:,.2f} costs<br>"
        f"{trade['entry_time']:%Y-%m-%d %H:%M} to {trade['exit_time']:%Y-%m-%d %H:%M}"
    )


def _side(trade: Mapping[Any, Any]) -> str:
    return "long" if trade["side"] == 1 else "short"


def _times(frame: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame[name])
