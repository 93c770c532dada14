"""The interactive chart of published regimes: price by regime, probabilities, volatility against forecast, trend."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.regime_rows import RegimeRows

MOST_CANDLES = 2_000
"""More do not fit on a screen, and a browser draws each as a shape of its own."""

_TITLES = (
    "Price, coloured by volatility regime (hollow: up, filled: down)",
    "Filtered probability",
    "Volatility per bar, %",
    "Trend: sign of the 30-day return (not the model's; the best of three lookbacks, unproven)",
)
_HEIGHTS = (0.47, 0.19, 0.27, 0.07)
_PIXELS = 900
_INK, _PALE = "#1c2430", "#b8c0cc"


def regime_chart(rows: RegimeRows) -> go.Figure:
    """The chart; the trend only where the rows tell it."""
    count = 4 if "trend" in rows.regimes else 3
    figure = make_subplots(
        rows=count, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=_HEIGHTS[:count],
        subplot_titles=_TITLES[:count],
    )  # fmt: skip
    _add_price_and_probabilities(figure, rows)
    _add_volatility(figure, rows)
    if "trend" in rows.regimes:
        figure.add_scatter(
            x=rows.regimes.index, y=rows.regimes["trend"], name="trend", showlegend=False, fill="tozeroy",
            fillcolor=_PALE, line={"width": 1, "color": _INK, "shape": "hv"}, hovertemplate="%{y:+d}", row=4, col=1,
        )  # fmt: skip
        figure.update_yaxes(range=[-1.2, 1.2], tickvals=[-1, 1], ticktext=["down", "up"], row=4, col=1)
    figure.update_layout(
        template="plotly_white", height=_PIXELS + (60 if count > 3 else 0), hovermode="x unified",
        margin={"l": 60, "r": 20, "t": 60, "b": 40}, legend={"orientation": "h", "y": 1.07, "x": 0.3},
        xaxis_rangeslider_visible=False,
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", yshift=6, font={"size": 14})
    figure.update_yaxes(range=[0, 1], row=2, col=1)
    figure.update_yaxes(type="log", tickvals=[0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10], row=3, col=1)
    return figure


def _add_price_and_probabilities(figure: go.Figure, rows: RegimeRows) -> None:
    candles = _candles(rows)
    shown = set(candles["held"])
    for k, name in enumerate(rows.names):
        own = candles[candles["held"] == k]
        colour = REGIME_COLOURS[k]
        figure.add_candlestick(
            x=own.index, open=own["open"], high=own["high"], low=own["low"], close=own["close"],
            name=name, legendgroup=name,
            increasing={"line": {"color": colour, "width": 1}, "fillcolor": "rgba(255,255,255,0)"},
            decreasing={"line": {"color": colour, "width": 1}, "fillcolor": colour},
            row=1, col=1,
        )  # fmt: skip
    for k, name in enumerate(rows.names):
        figure.add_scatter(
            x=rows.regimes.index, y=rows.probabilities[:, k].round(4), name=name, legendgroup=name,
            showlegend=k not in shown,
            stackgroup="probability", line={"width": 0}, fillcolor=REGIME_COLOURS[k], hovertemplate="%{y:.2f}",
            row=2, col=1,
        )  # fmt: skip


def _add_volatility(figure: go.Figure, rows: RegimeRows) -> None:
    forecast = rows.regimes["forecast_volatility"].to_numpy(dtype=np.float64)
    realized = np.sqrt(rows.bars["realized_variance"].to_numpy(dtype=np.float64))
    figure.add_scatter(
        x=rows.bars.index, y=(100 * realized).round(4), name="realized", line={"width": 1, "color": _PALE},
        hovertemplate="%{y:.3f}", row=3, col=1,
    )  # fmt: skip
    following = rows.regimes.index + rows.timeframe.duration
    figure.add_scatter(
        x=following, y=(100 * forecast).round(4), name="forecast made one bar before",
        line={"width": 1.5, "color": _INK}, hovertemplate="%{y:.3f}", row=3, col=1,
    )  # fmt: skip


def _candles(rows: RegimeRows) -> pd.DataFrame:
    """The bars with their label, several to one where there are more than fit: real extremes, most frequent label."""
    joined = rows.bars.join(pd.Series(rows.held, index=rows.regimes.index, name="held"))
    if len(joined) <= MOST_CANDLES:
        return joined
    group = np.arange(len(joined)) // -(-len(joined) // MOST_CANDLES)
    grouped = joined.reset_index().groupby(group)
    merged = grouped.agg({"ts_open": "first", "open": "first", "high": "max", "low": "min", "close": "last"})
    merged["held"] = grouped["held"].agg(lambda values: values.mode().iloc[0])
    return merged.set_index("ts_open")
