"""One HTML page of a comparison: tables, cumulative gains, months, and what can be concluded."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from plotly.subplots import make_subplots

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.compare import Evaluated
from tradecore_pipeline.serving.compare_folds import Asked
from tradecore_pipeline.serving.compare_words import SURE, Measure, caveats, conclusions, p_text
from tradecore_pipeline.serving.market_words import market_words
from tradecore_pipeline.serving.score_report import COLOURS, MOST_POINTS
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.validation.comparison import Verdict
from tradecore_pipeline.validation.scoreboard import DETECTABLE_ERRORS, cumulative_gains

MORE_COLOURS = (*COLOURS, "#00897b", "#d81b60", "#795548", "#0d0f12")
"""One for each of as many variants as can be compared; the baseline has the first."""
_NO_FIGURE = "-"
_WORTH_A_SCALE = 0.5
"""Gains that reach less far than this share of all are drawn once more, where they can be told apart."""
_STRONGEST = 0.55
"""Opacity of the darkest cell of the months' table."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 16px 24px;
  color: #1c2430; }}
h1 {{ font-size: 22px; margin: 0; }} h2 {{ font-size: 16px; margin: 28px 0 8px; }}
p {{ margin: 4px 0; color: #4a5565; max-width: 900px; }} ul {{ margin: 4px 0; padding-left: 20px; max-width: 900px; }}
.simulated {{ background: #fff3cd; border: 1px solid #e0c060; border-radius: 4px; color: #6b5200; font-weight: 700;
  letter-spacing: .08em; margin-left: 12px; padding: 1px 8px; font-size: 14px; vertical-align: 2px; }}
.wide {{ overflow-x: auto; margin-bottom: 8px; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 4px 14px; text-align: right; border-bottom: 1px solid #e3e7ee; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; white-space: normal; max-width: 360px;
  overflow-wrap: anywhere; }} li {{ overflow-wrap: anywhere; }} tr.baseline td {{ background: #f4f6f9; }}
.told {{ font-weight: 700; }} .key {{ display: inline-block; width: 11px; height: 11px; border-radius: 2px;
  margin-right: 6px; }}
</style></head><body>
<h1>{title}{badge}</h1>
<p>{subtitle}</p>
<h2>What this shows</h2>
<ul>{conclusions}</ul>
<h2>What it cannot show</h2>
<ul>{caveats}</ul>
<h2>{first_title}</h2>
{first_table}
<p>{explained}</p>
{gains}
<h2>Month by month</h2>
{months}
<p>{months_explained}</p>
{others}
{notes}
<p>Every forecast was made by models trained only on data that ended before the month of the bar. Times are UTC.
Research, not investment advice.</p>
</body></html>
"""


def write_compare_report(found: Evaluated, told: Sequence[Measure], asked: Asked, *, market: str, path: Path) -> Path:
    """Write the page to ``path`` and return it; ``market`` is the home's."""
    page = compare_page(found, told, asked, market=market)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def compare_page(found: Evaluated, told: Sequence[Measure], asked: Asked, *, market: str) -> str:
    """The page as text; plotly.js is inside, so that it opens offline."""
    simulated = market != REAL_MARKET
    first = told[0]
    index, compared = first.scores.index, first.comparison
    names = [str(name) for name in first.scores.columns]
    return _PAGE.format(
        title=escape(f"{asked.instrument}, {asked.timeframe}: forecasts compared"),
        badge='<span class="simulated">SIMULATED</span>' if simulated else "",
        subtitle=escape(
            f"{index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}, {compared.bars:,} bars that every variant scored, refitted "
            f"monthly on the {asked.window_bars:,} bars before; baseline {compared.baseline}; " + market_words(market)
        ),
        conclusions=_items(conclusions(compared)),
        caveats=_items(caveats(compared, len(asked.months))),
        first_title=escape(f"{first.title}: {first.unit}"),
        first_table=_table(first, names),
        explained=escape(_explained(first)),
        gains=_gains(first, names),
        months=_months(first, names),
        months_explained=escape(
            f"Mean {first.unit} of {compared.baseline}, and what each other variant gained on it; in brackets, the "
            "months with a gain. The darker, the larger (green gains, red losses)."
        ),
        others="".join(_other(measure, names) for measure in told[1:]),
        notes="".join(f"<p>{escape(text)}.</p>" for text in found.notes),
    )


def _items(texts: Sequence[str]) -> str:
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def _explained(measure: Measure) -> str:
    compared = measure.comparison
    others = len(compared.verdicts) - 1
    return (
        f"Less {compared.baseline}: on the same bars; bold where it exceeds {DETECTABLE_ERRORS:.0f} HAC standard "
        "errors (detectable), which one difference alone would need to be told from none. Set p: at which level the "
        f"model confidence set leaves a variant out; those above {compared.level:.0%} may be the best. Superior "
        f"predictive ability: p {p_text(compared.best_p_value)} that chance alone makes the best of {others} look this "
        f"much better than {compared.baseline} (below {SURE:.0%}: more than chance). Both tests resample the same bars "
        f"for all variants, in blocks of {compared.block_bars} bars on average."
    )


def _table(measure: Measure, names: Sequence[str]) -> str:
    baseline = measure.comparison.baseline
    head = ("variant", measure.unit, f"less {baseline}", "HAC t", "detectable", "set p", "may be the best")
    body = "".join(_row(verdict, baseline, names) for verdict in measure.comparison.verdicts)
    return (
        f'<div class="wide"><table><tr>{"".join(f"<th>{escape(name)}</th>" for name in head)}</tr>{body}</table></div>'
    )


def _row(verdict: Verdict, baseline: str, names: Sequence[str]) -> str:
    own = verdict.standing
    is_baseline = own.model == baseline
    told = abs(own.difference) >= own.smallest_detectable
    cells = (
        _named(names, own.model),
        f"{own.log_score:.4f}",
        _NO_FIGURE if is_baseline else f"{own.difference:+.4f}",
        _figure(own.t_statistic, "+.1f"),
        _figure(own.smallest_detectable, ".4f"),
        f"{verdict.set_p_value:.3f}",
        "yes" if verdict.in_set else "no",
    )
    marks = ["", "", ' class="told"' if told else "", "", "", "", ""]
    inside = "".join(f"<td{mark}>{cell}</td>" for mark, cell in zip(marks, cells, strict=True))
    first = ' class="baseline"' if is_baseline else ""
    return f"<tr{first}>{inside}</tr>"


def _months(measure: Measure, names: Sequence[str]) -> str:
    """Months across, variants down: the baseline's mean, and gains on it with a shade by size."""
    baseline = measure.comparison.baseline
    months = np.asarray(pd.DatetimeIndex(measure.scores.index).strftime("%Y-%m"))
    named = sorted(set(months.tolist()))
    values = {name: measure.scores[name].to_numpy(dtype=np.float64) for name in names if name in measure.scores}
    means = {name: np.array([own[months == month].mean() for month in named]) for name, own in values.items()}
    gains = {name: own - means[baseline] for name, own in means.items()}
    largest = max(float(np.abs(own).max()) for own in gains.values()) or 1.0
    rows = [f"<tr><th></th>{''.join(f'<th>{month}</th>' for month in named)}</tr>"]
    for name in (verdict.standing.model for verdict in measure.comparison.verdicts):
        if name == baseline:
            cells = "".join(f"<td>{value:.4f}</td>" for value in means[name])
            rows.append(f'<tr class="baseline"><td>{_named(names, name)}</td>{cells}</tr>')
            continue
        shaded = [f'<td style="background:{_shade(value / largest)}">{value:+.4f}</td>' for value in gains[name]]
        won = f" ({int((gains[name] > 0).sum())} of {len(named)})"
        rows.append(f"<tr><td>{_named(names, name)}{won}</td>{''.join(shaded)}</tr>")
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _shade(share: float) -> str:
    """Green for gains, red for losses; the root keeps small ones visible beside a large one."""
    colour = "46,125,79" if share > 0 else "179,38,30"
    return f"rgba({colour},{_STRONGEST * np.sqrt(abs(share)):.3f})"


def _other(measure: Measure, names: Sequence[str]) -> str:
    without = f" Without a forecast of it: {', '.join(measure.without)}." if measure.without else ""
    meaning = (
        "QLIKE of a forecast variance against the realized one, x - log x - 1 with x = realized / forecast, its sign "
        "turned so that more is better and 0 is exact."
    )
    if measure.key == "day_qlike":
        meaning += (
            " What a density of one bar says about 24 hours: its variance freed of the season, drawn towards the "
            "window's level as far as the window's own outcomes tell, times the coming seasons."
        )
    else:
        meaning += " The variance is that of the density as it stands."
    p_value = f" Superior predictive ability: p {p_text(measure.comparison.best_p_value)}."
    return (
        f"<h2>{escape(measure.title)}: {escape(measure.unit)}</h2><ul>{_items(conclusions(measure.comparison))}</ul>"
        f"{_table(measure, names)}<p>{escape(meaning + p_value + without)}</p>"
    )


def _gains(measure: Measure, names: Sequence[str]) -> str:
    """Running sums of the gains: of all, and on a scale of their own those that may be the best."""
    baseline, remain = measure.comparison.baseline, measure.comparison.in_set
    gains = cumulative_gains(measure.scores, baseline=baseline)
    others = [str(name) for name in gains.columns]
    near = [name for name in others if name in remain]
    panels = [others, near] if near and _reach(gains.loc[:, near]) < _WORTH_A_SCALE * _reach(gains) else [others]
    titles = (f"Cumulative gain on {baseline}, nats", "The same of those that may be the best")
    figure = make_subplots(
        rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.12, subplot_titles=titles[: len(panels)]
    )
    thinned = gains.iloc[:: -(-len(gains) // MOST_POINTS)]
    even = {"width": 1.5, "color": _colour(names, baseline), "dash": "dash"}
    for row, shown in enumerate(panels, start=1):
        for name in shown:
            line = {"width": 2, "color": _colour(names, name)}
            figure.add_scatter(
                x=thinned.index, y=thinned[name].round(3), name=name, line=line, legendgroup=name, showlegend=row == 1,
                row=row, col=1,
            )  # fmt: skip
        figure.add_scatter(
            x=gains.index[[0, -1]], y=[0.0, 0.0], name=baseline, line=even, mode="lines", legendgroup=baseline,
            showlegend=row == 1, hoverinfo="skip", row=row, col=1,
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=120 + 300 * len(panels), margin={"l": 60, "r": 20, "t": 90, "b": 40},
        hovermode="x unified",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.04 + 0.04 / len(panels), "x": 0},
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", yshift=6, font={"size": 14})
    return str(figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}))


def _reach(gains: pd.DataFrame) -> float:
    """How far apart the largest and the smallest of ``gains`` and zero are."""
    values = np.append(gains.to_numpy(dtype=np.float64), 0.0)
    return float(values.max() - values.min())


def _named(names: Sequence[str], name: str) -> str:
    return f'<span class="key" style="background:{_colour(names, name)}"></span>{escape(name)}'


def _figure(value: float, form: str) -> str:
    return _NO_FIGURE if np.isnan(value) else format(value, form)


def _colour(names: Sequence[str], name: str) -> str:
    return MORE_COLOURS[list(names).index(name) % len(MORE_COLOURS)]
