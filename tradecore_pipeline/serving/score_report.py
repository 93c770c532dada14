"""One HTML page of scores: what each forecast gained on the baseline over time, by era, and how well calibrated."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.model_scores import BASELINE, PUBLISHED, ModelScores, Wanted
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.validation.scoreboard import ALL, DETECTABLE_ERRORS, Standing, cumulative_gains, pit_shares

COLOURS = ("#b3261e", "#2b7bba", "#e0701c", "#8a8f98", "#2e7d4f", "#c2a300", "#6a1b9a", "#4a5565")
"""In the order of the models, the published forecast first; told apart by colour-blind readers."""
PIT_BINS = 20
MOST_POINTS = 2_000
"""More in a line do not show on a screen."""
_NO_FIGURE = "-"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 16px 24px;
  color: #1c2430; }}
h1 {{ font-size: 22px; margin: 0; }}
h2 {{ font-size: 16px; margin: 24px 0 8px; }} p {{ margin: 4px 0; color: #4a5565; max-width: 900px; }}
.simulated {{ background: #fff3cd; border: 1px solid #e0c060; border-radius: 4px; color: #6b5200; font-weight: 700;
  letter-spacing: .08em; margin-left: 12px; padding: 1px 8px; font-size: 14px; vertical-align: 2px; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 4px 18px 4px 0; text-align: right; border-bottom: 1px solid #e3e7ee; }}
th:nth-child(-n+2), td:nth-child(-n+2) {{ text-align: left; }} tr.first td {{ border-top: 2px solid #b8c0cc; }}
.told {{ font-weight: 700; }} .key {{ display: inline-block; width: 11px; height: 11px; border-radius: 2px;
  margin-right: 6px; }}
</style></head><body>
<h1>{title}{badge}</h1>
<p>{subtitle}</p>
<p><b>{verdict}</b></p>
{gains}
<h2>Scores by era</h2>
{table}
<p>{explained}</p>
{notes}
<h2>Calibration of the published forecast</h2>
{calibration}
<p>Every forecast was made by models trained only on data that ended before the month of the bar. Times are UTC.
Research, not investment advice.</p>
</body></html>
"""


def write_score_report(
    found: ModelScores, table: Sequence[Standing], wanted: Wanted, *, market: str, path: Path
) -> Path:
    """Write the page to ``path`` and return it; ``market`` is the home's."""
    page = score_page(found, table, wanted, market=market)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def score_page(found: ModelScores, table: Sequence[Standing], wanted: Wanted, *, market: str) -> str:
    """The page as text; plotly.js is inside, so that it opens offline."""
    simulated = market != REAL_MARKET
    index = found.scores.index
    models = [str(name) for name in found.scores.columns]
    return _PAGE.format(
        title=escape(f"{wanted.instrument}, {wanted.timeframe}: scores of the forecasts"),
        badge='<span class="simulated">SIMULATED</span>' if simulated else "",
        subtitle=escape(
            f"{index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}, {_overall(table, PUBLISHED).bars} bars that every model "
            "scored, " + (f"a {market} market" if simulated else "market data of the exchange")
        ),
        verdict=escape(verdict(_overall(table, PUBLISHED))),
        gains=_html(_gains(cumulative_gains(found.scores, baseline=BASELINE), models), library=True),
        table=_table(table, models),
        explained=escape(
            f"Mean log density in nats that each forecast gave to the next bar (returns in percent), less {BASELINE}'s "
            f"on the same bars. HAC t: robust to autocorrelation over two days. Smallest detectable: "
            f"{DETECTABLE_ERRORS:.0f} HAC standard errors, below which this sample cannot tell a difference from none. "
            "Bold: told apart."
        ),
        notes="".join(f"<p>{escape(text)}</p>" for text in found.notes),
        calibration=_calibration(found),
    )


def verdict(published: Standing) -> str:
    """One sentence on whether the published forecast beat the baseline."""
    gain = f"{published.difference:+.4f} nats a bar against {BASELINE}"
    if np.isnan(published.t_statistic):
        return f"The published forecast: {gain}; too few bars, or no difference, for an error of that."
    least = f"{published.smallest_detectable:.4f}"
    if abs(published.difference) < published.smallest_detectable:
        return f"The published forecast: {gain}, which cannot be told from none here (that takes {least})."
    word = "better" if published.difference > 0 else "worse"
    return f"The published forecast was {word}: {gain} (HAC t {published.t_statistic:.1f}; detectable from {least})."


def _overall(table: Sequence[Standing], model: str) -> Standing:
    return next(standing for standing in table if standing.model == model and standing.era == ALL)


def _gains(gains: pd.DataFrame, models: Sequence[str]) -> go.Figure:
    """Cumulative gains: all models above, the published forecast on a scale of its own below."""
    titles = (f"Cumulative gain over {BASELINE}, nats", f"The published forecast alone, over {BASELINE}, nats")
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1, row_heights=[0.6, 0.4], subplot_titles=titles
    )
    thinned = gains.iloc[:: -(-len(gains) // MOST_POINTS)]
    for name in [model for model in models if model != BASELINE]:
        line = {"width": 2.5 if name == PUBLISHED else 1.5, "color": _colour(models, name)}
        values = thinned[name].round(3)
        figure.add_scatter(x=thinned.index, y=values, name=name, line=line, legendgroup=name, row=1, col=1)
        if name == PUBLISHED:
            figure.add_scatter(
                x=thinned.index, y=values, name=name, line=line, legendgroup=name, showlegend=False, row=2, col=1
            )
    even = {"width": 1.5, "color": _colour(models, BASELINE), "dash": "dash"}
    for row in (1, 2):
        figure.add_scatter(
            x=gains.index[[0, -1]], y=[0.0, 0.0], name=BASELINE, line=even, mode="lines", legendgroup=BASELINE,
            showlegend=row == 1, hoverinfo="skip", row=row, col=1,
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=680, margin={"l": 60, "r": 20, "t": 70, "b": 40}, hovermode="x unified",
        legend={"orientation": "h", "y": 1.12, "x": 0.3},
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", yshift=6, font={"size": 14})
    return figure


def _calibration(found: ModelScores) -> str:
    known = int((~np.isnan(found.pit)).sum())
    if not known:
        return "<p>The models that published these rows are not at hand, so that there is no histogram.</p>"
    return _html(_pit(found, known), library=False) + (
        "<p>Where in its forecast each return fell (0: below all that was thought possible, 1: above). Flat is right; "
        "heaped ends mean forecasts too narrow, a heap in the middle too wide. Of a right forecast's columns 95% "
        "end inside the band.</p>"
    )


def _pit(found: ModelScores, known: int) -> go.Figure:
    shares = pit_shares(found.pit, bins=PIT_BINS)
    centres = (np.arange(PIT_BINS) + 0.5) / PIT_BINS
    even = 1 / PIT_BINS
    spread = 1.96 * float(np.sqrt(even * (1 - even) / known))
    figure = go.Figure(
        go.Bar(x=centres, y=shares.round(5), width=0.94 * even, marker={"color": "#2b7bba"}, hovertemplate="%{y:.2%}")
    )
    figure.add_hrect(y0=even - spread, y1=even + spread, fillcolor="#1c2430", opacity=0.15, line_width=0)
    figure.add_hline(y=even, line={"width": 1, "color": "#1c2430"})
    figure.update_layout(
        template="plotly_white", height=300, margin={"l": 60, "r": 20, "t": 20, "b": 50}, showlegend=False,
        xaxis={"title": f"probability integral transform, {known} bars", "range": [0, 1]},
        yaxis={"title": "share of bars", "tickformat": ".0%", "rangemode": "tozero"},
    )  # fmt: skip
    return figure


def _table(table: Sequence[Standing], models: Sequence[str]) -> str:
    rows: list[str] = []
    for _, group in groupby(table, key=lambda standing: standing.era):
        for place, standing in enumerate(group):
            rows.append(_row(standing, models, first=place == 0))
    head = ("era", "model", "bars", "nats a bar", f"less {BASELINE}", "HAC t", "smallest detectable")
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{''.join(rows)}</table>"


def _row(standing: Standing, models: Sequence[str], *, first: bool) -> str:
    told = abs(standing.difference) >= standing.smallest_detectable
    cells = (
        escape(standing.era) if first else "",
        f'<span class="key" style="background:{_colour(models, standing.model)}"></span>{escape(standing.model)}',
        f"{standing.bars:,}",
        f"{standing.log_score:.4f}",
        _NO_FIGURE if standing.model == BASELINE else f"{standing.difference:+.4f}",
        _figure(standing.t_statistic, "+.1f"),
        _figure(standing.smallest_detectable, ".4f"),
    )
    marks = [f' class="{"first" if first else ""}"', ' class="told"' if told else ""]
    inside = "".join(f"<td{marks[1] if place == 4 else ''}>{cell}</td>" for place, cell in enumerate(cells))
    return f"<tr{marks[0]}>{inside}</tr>"


def _figure(value: float, form: str) -> str:
    return _NO_FIGURE if np.isnan(value) else format(value, form)


def _colour(models: Sequence[str], name: str) -> str:
    return COLOURS[list(models).index(name) % len(COLOURS)]


def _html(figure: go.Figure, *, library: bool) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=library, config={"displaylogo": False}))
