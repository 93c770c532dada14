"""The interactive pictures of a backtest: account over regimes, trades on price, results, costs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.state import Floats, Integers
from tradecore_pipeline.serving.backtest_earnings import Earnings
from tradecore_pipeline.serving.backtest_marks import add_trades
from tradecore_pipeline.serving.backtest_run import BENCHMARK_NAMES, Reported, labels_by_volatility, state_names
from tradecore_pipeline.serving.backtest_series import (
    MOST_POINTS,
    Bands,
    bands,
    candles,
    clock,
    column,
    extreme_of,
    groups,
    histogram,
    last_of,
    lasts,
)
from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.svg import INK

BENCHMARK_COLOURS = ("#8a8f98", "#00897b", "#c2a300")
"""In the order of the benchmarks."""
MOST_CANDLES = 2_000
"""Of all instruments together: a browser draws each as a shape of its own."""
MOST_PANELS = 6
"""Instruments whose price is drawn; the others' trades are in every figure, but not in that picture."""
WON, LOST = "#2e7d4f", "#c62828"
_COST_COLOURS = {"fees": "#2b7bba", "slippage": "#e0701c", "funding": "#6a1b9a"}
_BAND, _PALE_BAND = 0.22, 0.14
_SMALL = 400
"""Pixels of height up to which a chart has its legend above it, and no title in it."""
_ABOVE, _BELOW = {"yanchor": "bottom", "y": 1.0}, {"yanchor": "top", "y": -0.07}


def account_chart(told: Reported) -> go.Figure:
    """Equity beside its benchmarks, drawdown and position; one instrument's volatility regimes lie behind them."""
    titles = (f"Equity, {told.quote}", "Under the highest so far", "Position, multiples of equity")
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.52, 0.28, 0.2], subplot_titles=titles
    )
    begins = groups(len(told.account), MOST_POINTS)
    x = clock(told.ts_open[lasts(begins, len(told.account))])
    runs = {BENCHMARK_NAMES.get(name, name): Account.of(run) for name, run in told.benchmarks.items()}
    lines = {told.config.name: told.account, **runs}
    looks = [{"color": INK, "width": 2}, *({"color": colour, "width": 1.3} for colour in BENCHMARK_COLOURS)]
    spans: list[Floats] = [np.empty(0), np.empty(0)]
    for (name, account), line in zip(lines.items(), looks, strict=False):
        shown = [last_of(account.value, begins), np.minimum.reduceat(under_water(account), begins)]
        spans = [np.append(before, values) for before, values in zip(spans, shown, strict=True)]
        for row, (values, form) in enumerate(zip(shown, ("%{y:,.0f}", "%{y:.1%}"), strict=True), start=1):
            figure.add_scatter(
                x=x, y=np.round(values, 2 if row == 1 else 5), name=name, legendgroup=name, line=line, mode="lines",
                hovertemplate=form, showlegend=row == 1, row=row, col=1,
            )  # fmt: skip
    held = extreme_of(_position(told), begins).round(4)
    figure.add_scatter(
        x=x, y=held, name="position", showlegend=False, line={"color": INK, "width": 1, "shape": "hv"}, fill="tozeroy",
        fillcolor="rgba(138,143,152,.35)", mode="lines", hovertemplate="%{y:.2f}", row=3, col=1,
    )  # fmt: skip
    _regimes_behind(figure, told, spans, begins, x)
    figure.update_xaxes(range=_ends(told))
    return laid_out(figure, height=760)


def trades_chart(told: Reported) -> go.Figure:
    """Candles of each instrument with where trades were opened and closed, and why."""
    shown = list(told.parts)[:MOST_PANELS]
    figure = make_subplots(
        rows=len(shown), cols=1, shared_xaxes=True, vertical_spacing=0.06,
        subplot_titles=[name for name, _, _ in shown],
    )  # fmt: skip
    for row, (_, market, ledger) in enumerate(shown, start=1):
        price = candles(ledger.bars, MOST_CANDLES // len(shown))
        low, high = _room(price[["low", "high"]].to_numpy(dtype=np.float64))
        _add_bands(figure, bands(market, ledger.bars), market.probabilities.shape[1], (low, high), _PALE_BAND, row)
        figure.add_candlestick(
            x=clock(pd.DatetimeIndex(price.index)), **{name: price[name].round(8) for name in price}, name="price",
            showlegend=False, hoverinfo="x+y",
            increasing={"line": {"color": "#8a8f98", "width": 1}, "fillcolor": "rgba(138,143,152,0)"},
            decreasing={"line": {"color": "#8a8f98", "width": 1}, "fillcolor": "#8a8f98"}, row=row, col=1,
        )  # fmt: skip
        add_trades(figure, ledger, row=row, quote=told.quote)
        figure.update_yaxes(range=[low, high], row=row, col=1)
    figure.update_xaxes(rangeslider_visible=False, range=_ends(told))
    return laid_out(figure, height=150 + 430 * len(shown) // (1 if len(shown) == 1 else 2), closest=True)


def result_chart(told: Reported) -> go.Figure:
    """How the results of closed trades are spread."""
    results = told.results
    figure = go.Figure()
    if len(results):
        edges, counts = histogram(results)
        middles = (edges[:-1] + edges[1:]) / 2
        spans = np.column_stack((edges[:-1], edges[1:]))
        figure.add_bar(
            x=middles, y=counts, width=np.diff(edges) * 0.96, customdata=spans, showlegend=False,
            marker={"color": np.where(middles > 0, WON, LOST)},
            hovertemplate="%{customdata[0]:.2%} to %{customdata[1]:.2%}: %{y} trades<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="result of the value entered, net of costs", tickformat=".1%")
    figure.update_yaxes(title="trades")
    return laid_out(figure, height=300, closest=True)


def excursion_chart(told: Reported, kind: str, title: str) -> go.Figure:
    """Each closed trade's result against how far it went wrong (``mae``) or right (``mfe``) in between."""
    results, reached = told.results, column(told.closed, kind)
    shown = np.sort(np.argsort(-np.abs(results), kind="stable")[:MOST_POINTS])
    figure = go.Figure()
    for name, colour, symbol, own in (
        ("won", WON, "circle", results > 0), ("lost or even", LOST, "x-thin-open", results <= 0),
    ):  # fmt: skip
        at = shown[own[shown]]
        figure.add_scatter(
            x=reached[at].round(5), y=results[at].round(5), name=name, mode="markers",
            marker={"color": colour, "size": 5, "symbol": symbol, "opacity": 0.7},
            text=[why(reason) for reason in told.closed["reason"].iloc[at]],
            hovertemplate="%{x:.2%} in between, %{y:.2%} in the end: %{text}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=title, tickformat=".1%")
    figure.update_yaxes(title="result", tickformat=".1%")
    return laid_out(figure, height=300, closest=True)


def cost_chart(told: Reported, found: Earnings) -> go.Figure:
    """Fees, slippage and funding so far."""
    begins = groups(len(told.account), MOST_POINTS)
    x = clock(told.ts_open[lasts(begins, len(told.account))])
    figure = go.Figure()
    for name, paid in found.cumulated_costs.items():
        line = {"width": 2, "color": _COST_COLOURS[name]}
        figure.add_scatter(
            x=x, y=last_of(paid, begins).round(2), name=name, mode="lines", line=line, hovertemplate="%{y:,.0f}"
        )
    figure.update_yaxes(title=f"paid so far, {told.quote}", tickformat="~s")
    return laid_out(figure, height=300)


def under_water(account: Account) -> Floats:
    """Fraction under the highest equity so far, at each close."""
    return account.value / np.maximum.accumulate(np.maximum(account.value, account.capital)) - 1


def why(reason: str) -> str:
    """The reason of a fill in words."""
    return reason.replace("_", " ")


def laid_out(figure: go.Figure, *, height: int, closest: bool = False) -> go.Figure:
    """The figure with margins, hover and legend as on all of these pages, pixels."""
    figure.update_layout(
        height=height, hovermode="closest" if closest else "x unified", bargap=0,
        margin={"l": 62, "r": 12, "t": 34, "b": 40},
        legend={"orientation": "h", "x": 0, "itemsizing": "constant", **(_BELOW if height > _SMALL else _ABOVE)},
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", yshift=4, font={"size": 14})
    return figure


def _position(told: Reported) -> Floats:
    """Value held at each close over equity, short below zero; 0 where there is no equity."""
    value, held = told.account.value, np.zeros(len(told.account))
    for _, _, ledger in told.parts:
        at = np.searchsorted(ledger.bars.ts_open, told.account.ts_open, side="right")
        held += np.concatenate(([0.0], ledger.position * ledger.bars.close))[at]
    return np.divide(held, value, out=np.zeros(len(held)), where=value > 0)


def _regimes_behind(
    figure: go.Figure, told: Reported, spans: Sequence[Floats], begins: Integers, x: "Sequence[str]"
) -> None:
    """Ranges of the axes and, for one instrument, the bands, with the state's name where the mouse is."""
    limits = [_room(spans[0]), _room(np.append(spans[1], 0.0))]
    for row, (low, high) in enumerate(limits, start=1):
        figure.update_yaxes(range=[low, high], tickformat="~s" if row == 1 else ".0%", row=row, col=1)
    if len(told.markets) != 1:
        return
    _, market, ledger = next(told.parts)
    names, found = state_names(market), bands(market, ledger.bars)
    for row, limit in enumerate(limits, start=1):
        _add_bands(figure, found, len(names), limit, _BAND, row)
    for k, name in enumerate(names):
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=name, hoverinfo="skip",
            marker={"symbol": "square", "size": 11, "color": REGIME_COLOURS[k % len(REGIME_COLOURS)], "opacity": 0.5},
            row=1, col=1,
        )  # fmt: skip
    known = last_of(np.concatenate(([""], labels_by_volatility(market)[:-1])), begins)
    figure.add_scatter(
        x=x, y=np.full(len(begins), limits[0][0]), mode="markers", marker={"opacity": 0, "size": 1}, name="regime",
        showlegend=False, text=np.where(known == "", "none", known), hovertemplate="%{text}", row=1, col=1,
    )  # fmt: skip


def _add_bands(
    figure: go.Figure, found: Bands, states: int, limits: tuple[float, float], opacity: float, row: int
) -> None:
    if np.isnan(found.states).all():
        return
    colours = [REGIME_COLOURS[k % len(REGIME_COLOURS)] for k in range(states)]
    scale = [[place / states, colour] for k, colour in enumerate(colours) for place in (k, k + 1)]
    figure.add_heatmap(
        x=clock(found.edges), y=list(limits), z=[found.states], zmin=-0.5, zmax=states - 0.5, colorscale=scale,
        showscale=False, opacity=opacity, hoverinfo="skip", row=row, col=1,
    )  # fmt: skip


def _ends(told: Reported) -> list[str]:
    """The first open and the last close, as the range of an axis."""
    closed = pd.DatetimeIndex([told.ts_open[0], pd.Timestamp(int(told.account.ts_close[-1]), tz="UTC")])
    return clock(closed).tolist()


def _room(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.04 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room
