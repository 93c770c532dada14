"""One HTML page of published regimes: price by regime, probabilities, volatility against forecast, statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger

MOST_CANDLES = 2_000
"""More do not fit on a screen, and a browser draws each as a shape of its own."""

COLOURS = ("#2b7bba", "#8a8f98", "#e0701c", "#b3261e", "#6a1b9a")
"""By volatility, calmest first; told apart by colour-blind readers."""
_NO_FIGURE = "-"
_HEIGHTS = [0.5, 0.2, 0.3]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 16px 24px;
  color: #1c2430; }}
h1 {{ font-size: 22px; margin: 0; }}
h2 {{ font-size: 16px; margin: 24px 0 8px; }} p {{ margin: 4px 0; color: #4a5565; }}
.simulated {{ background: #fff3cd; border: 1px solid #e0c060; border-radius: 4px; color: #6b5200; font-weight: 700;
  letter-spacing: .08em; margin-left: 12px; padding: 1px 8px; font-size: 14px; vertical-align: 2px; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid #e3e7ee; }}
th:first-child, td:first-child {{ text-align: left; }} .key {{ display: inline-block; width: 11px; height: 11px;
  border-radius: 2px; margin-right: 6px; }}
</style></head><body>
<h1>{title}{badge}</h1>
<p>{subtitle}</p>
{chart}
<h2>What each regime was like</h2>
{statistics}
<p>{direction}</p>
<h2>Scores, out-of-sample</h2>
{scores}
<p>Every row was computed from data up to its own close, by models trained only on data that ended before its month.
Times are UTC. Research, not investment advice.</p>
</body></html>
"""


@dataclass(frozen=True)
class _Content:
    bars: pd.DataFrame
    regimes: pd.DataFrame
    names: tuple[str, ...]
    """Volatility regimes by index, calmest first; also those that were never the most probable one."""


def write_report(
    layout: Layout, instrument: Instrument, timeframe: Timeframe, *, start: datetime, end: datetime, path: Path | None
) -> Path:
    """Write the page for [start, end) and return where it is (in the home's ``reports`` unless ``path`` says).

    Raises:
        MissingInputError: no regimes are published for that time.
        UsageError: the number of regimes changes within it.
    """
    lake = Lake(layout)
    regimes = lake.read(REGIMES, instrument, start, end, timeframe=timeframe)
    if regimes.empty:
        raise MissingInputError(
            f"{instrument} has no {timeframe} regimes from {start:%Y-%m-%d} to {end:%Y-%m-%d}: "
            "run `tradecore predict` first"
        )
    bars = lake.read(BARS, instrument, start, end, timeframe=timeframe)
    market = Ledger(layout).market() or REAL_MARKET
    page = report_page(bars, regimes, instrument, timeframe, market=market)
    target = path or layout.report(instrument, timeframe, start.date())
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def report_page(
    bars: pd.DataFrame, regimes: pd.DataFrame, instrument: Instrument, timeframe: Timeframe, *, market: str
) -> str:
    """The page as text; plotly.js is inside, so that it opens offline.

    Raises:
        UsageError: the number of regimes changes within ``regimes``.
    """
    content = _Content(bars.loc[bars.index.isin(regimes.index)], regimes, _names(regimes))
    kind = "perpetual" if instrument.is_perpetual else "spot"
    simulated = market != REAL_MARKET
    return _PAGE.format(
        title=escape(f"{instrument} {kind}, {timeframe} regimes"),
        badge='<span class="simulated">SIMULATED</span>' if simulated else "",
        subtitle=escape(
            f"{regimes.index[0]:%Y-%m-%d} to {regimes.index[-1]:%Y-%m-%d}, {len(regimes)} bars, "
            + (f"a {market} market" if simulated else "market data of the exchange")
        ),
        chart=_chart(content, timeframe).to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}),
        statistics=_statistics(content),
        direction=escape(_direction(regimes)),
        scores=_scores(regimes),
    )


def _names(regimes: pd.DataFrame) -> tuple[str, ...]:
    from tradecore_pipeline.models.direction import volatility_regime_names  # noqa: PLC0415 (hmmlearn takes a second)

    states = [len(probabilities) for probabilities in regimes["filtered_probability"]]
    for moment, count in zip(regimes.index, states, strict=True):
        if count != states[0]:
            raise UsageError(
                f"there are {states[0]} regimes before {moment:%Y-%m-%d} and {count} from then on (hmm_states was "
                "changed): report the time before and after apart"
            )
    return volatility_regime_names(states[0])


def _chart(content: _Content, timeframe: Timeframe) -> go.Figure:
    titles = (
        "Price, coloured by volatility regime (hollow: up, filled: down)",
        "Filtered probability",
        "Volatility per bar, %",
    )
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=_HEIGHTS, subplot_titles=titles
    )
    candles = _candles(content)
    shown = set(candles["regime_index"])
    for k, name in enumerate(content.names):
        own = candles[candles["regime_index"] == k]
        colour = COLOURS[k]
        figure.add_candlestick(
            x=own.index, open=own["open"], high=own["high"], low=own["low"], close=own["close"],
            name=name, legendgroup=name,
            increasing={"line": {"color": colour, "width": 1}, "fillcolor": "rgba(255,255,255,0)"},
            decreasing={"line": {"color": colour, "width": 1}, "fillcolor": colour},
            row=1, col=1,
        )  # fmt: skip
    probabilities = np.vstack(content.regimes["filtered_probability"].to_list())
    for k, name in enumerate(content.names):
        figure.add_scatter(
            x=content.regimes.index, y=probabilities[:, k].round(4), name=name, legendgroup=name,
            showlegend=k not in shown,
            stackgroup="probability", line={"width": 0}, fillcolor=COLOURS[k], hovertemplate="%{y:.2f}",
            row=2, col=1,
        )  # fmt: skip
    forecast = content.regimes["forecast_volatility"].to_numpy(dtype=np.float64)
    realized = np.sqrt(content.bars["realized_variance"].to_numpy(dtype=np.float64))
    figure.add_scatter(
        x=content.bars.index, y=(100 * realized).round(4), name="realized", line={"width": 1, "color": "#b8c0cc"},
        hovertemplate="%{y:.3f}", row=3, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=content.regimes.index + timeframe.duration, y=(100 * forecast).round(4), name="forecast made one bar before",
        line={"width": 1.5, "color": "#1c2430"}, hovertemplate="%{y:.3f}", row=3, col=1,
    )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=900, margin={"l": 60, "r": 20, "t": 60, "b": 40}, hovermode="x unified",
        legend={"orientation": "h", "y": 1.07, "x": 0.4}, xaxis_rangeslider_visible=False,
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", yshift=6, font={"size": 14})
    figure.update_yaxes(range=[0, 1], row=2, col=1)
    figure.update_yaxes(type="log", tickvals=[0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10], row=3, col=1)
    return figure


def _candles(content: _Content) -> pd.DataFrame:
    """The bars with their regime, several to one where there are more than fit: real extremes, most frequent regime."""
    joined = content.bars.join(content.regimes["regime_index"])
    if len(joined) <= MOST_CANDLES:
        return joined
    group = np.arange(len(joined)) // -(-len(joined) // MOST_CANDLES)
    grouped = joined.reset_index().groupby(group)
    merged = grouped.agg({"ts_open": "first", "open": "first", "high": "max", "low": "min", "close": "last"})
    merged["regime_index"] = grouped["regime_index"].agg(lambda values: values.mode().iloc[0])
    return merged.set_index("ts_open")


def _statistics(content: _Content) -> str:
    close = np.log(content.bars["close"].to_numpy(dtype=np.float64))
    returns = pd.Series(np.diff(close, prepend=np.nan), index=content.bars.index)
    own_returns = returns.reindex(content.regimes.index).to_numpy(dtype=np.float64)
    index = content.regimes["regime_index"].to_numpy()
    directions = content.regimes["regime"].to_numpy(dtype=str)
    rows: list[str] = []
    for k, name in enumerate(content.names):
        own = index == k
        known = own_returns[own & ~np.isnan(own_returns)]
        stretches = int((own & ~np.concatenate(([False], own[:-1]))).sum())
        cells = (
            f'<span class="key" style="background:{COLOURS[k]}"></span>{escape(name)}',
            escape(", ".join(sorted(set(directions[own])))),
            f"{own.sum()}",
            f"{own.mean():.1%}",
            f"{10_000 * known.mean():+.2f}" if len(known) else _NO_FIGURE,
            f"{100 * known.std():.3f}" if len(known) else _NO_FIGURE,
            f"{own.sum() / stretches:.1f}" if stretches else _NO_FIGURE,
        )
        rows.append(_row(cells))
    head = ("regime", "by mean return", "bars", "share", "mean return, bps", "volatility, %", "bars in a row")
    return _table(head, rows)


def _direction(regimes: pd.DataFrame) -> str:
    share = float(regimes["direction_significant"].to_numpy(dtype=np.float64).mean())
    if share == 0:
        return (
            "The names by mean return (Bear, Chop, Bull) only order the training means: before none of these months "
            "did the states' mean returns differ significantly out-of-sample."
        )
    return (
        f"Before the months of {share:.0%} of the bars the states' mean returns had differed out-of-sample (HAC t > 2)."
    )


def _scores(regimes: pd.DataFrame) -> str:
    scores = regimes[["log_score", "har_log_score"]].to_numpy(dtype=np.float64)
    months = np.array([f"{moment:%Y-%m}" for moment in regimes.index])
    known = ~np.isnan(scores).any(axis=1)
    rows: list[str] = []
    for month in [*sorted(set(months)), "all"]:
        chosen = known & ((months == month) | (month == "all"))
        figures = [_NO_FIGURE] * 3
        if chosen.any():
            own, har = scores[chosen].mean(axis=0)
            figures = [f"{own:.4f}", f"{har:.4f}", f"{own - har:+.4f}"]
        rows.append(_row((escape(month), *figures)))
    return _table(("month", "published forecast", "t-HAR alone", "difference (nats a bar)"), rows)


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{''.join(rows)}</table>"
