"""One HTML page on tuning: what tuned lengths gained over the defaults, month by month, and what lengths mattered."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.market_words import market_words
from tradecore_pipeline.serving.svg import FAINT, INK, Chart, round_ticks
from tradecore_pipeline.serving.tuning_months import TuningReport
from tradecore_pipeline.serving.tuning_words import (
    MONTH_COLUMNS,
    OBJECTIVE_COLUMNS,
    explanations,
    month_cells,
    objective_rows,
    total_cells,
    verdicts,
)
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.tuning.objective import UNITS

_TUNED, _FOLDS = "#2b7bba", "#e0701c"
_WIDTH, _HEIGHT = 900, 260
_BAR_WIDTH, _BAR_HEIGHT, _NAME_WIDTH = 320, 20, 170

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 16px 24px;
  color: #1c2430; }}
h1 {{ font-size: 22px; margin: 0; }} h2 {{ font-size: 16px; margin: 24px 0 8px; }}
p {{ margin: 4px 0; color: #4a5565; max-width: 900px; }} .verdict {{ color: #1c2430; font-weight: 700; }}
.simulated {{ background: #fff3cd; border: 1px solid #e0c060; border-radius: 4px; color: #6b5200; font-weight: 700;
  letter-spacing: .08em; margin-left: 12px; padding: 1px 8px; font-size: 14px; vertical-align: 2px; }}
.wide {{ overflow-x: auto; margin-bottom: 8px; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid #e3e7ee; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }} tr.all td {{ border-top: 2px solid #b8c0cc; font-weight: 700; }}
th {{ white-space: normal; vertical-align: bottom; }}
td.words, th.words {{ text-align: left; white-space: normal; min-width: 260px; }} td.words {{ font-size: 13px; }}
.key {{ display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 6px 0 14px; }}
</style></head><body>
<h1>{title}{badge}</h1>
<p>{subtitle}</p>
{verdicts}
<h2>Gain over the defaults: on the folds that the study saw, and in the month that it did not</h2>
{chart}
<p><span class="key" style="background:{folds}"></span>folds
<span class="key" style="background:{tuned}"></span>month ({unit})</p>
<h2>Month by month</h2>
<div class="wide">{months}</div>
<h2>What could be tuned for</h2>
<div class="wide">{objectives}</div>
{explanations}
{notes}
<p>Times are UTC. Research, not investment advice.</p>
</body></html>
"""


def write_tuning_report(report: TuningReport, *, market: str, path: Path) -> Path:
    """Write the page to ``path`` and return it; ``market`` is the home's."""
    page = tuning_page(report, market=market)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def tuning_page(report: TuningReport, *, market: str) -> str:
    """The page as text; it asks nobody for anything."""
    simulated = market != REAL_MARKET
    asked, months = report.asked, report.months
    rows = [_row(month_cells(month), "", cell="td") for month in months] + [_row(total_cells(report), "all", cell="td")]
    return _PAGE.format(
        title=escape(f"{asked.instrument}, {asked.timeframe}: tuned indicators against the defaults"),
        badge='<span class="simulated">SIMULATED</span>' if simulated else "",
        subtitle=escape(
            f"{months[0].month:%Y-%m} to {months[-1].month:%Y-%m}, {sum(month.bars for month in months):,} bars, "
            f"objective {asked.objective}, {market_words(market)}"
        ),
        verdicts=_paragraphs(verdicts(report), "verdict"),
        chart=_gains(report),
        tuned=_TUNED,
        folds=_FOLDS,
        unit=escape(UNITS[asked.objective]),
        months=_table(MONTH_COLUMNS, rows),
        objectives=_table(OBJECTIVE_COLUMNS, [_row(cells, "", cell="td") for cells in objective_rows(report)]),
        explanations=_paragraphs(explanations(), ""),
        notes=_paragraphs(report.skipped, ""),
    )


def importance_picture(shares: Mapping[str, float]) -> str:
    """Bars of each length's share of what set the best trials apart, greatest first, as SVG text."""
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    most = max([share for _, share in ranked], default=0.0) or 1.0
    marks = "".join(
        f'<text x="{_NAME_WIDTH - 8}" y="{place * _BAR_HEIGHT + 14}" text-anchor="end" fill="{INK}">'
        f"{escape(name)}</text>"
        f'<rect x="{_NAME_WIDTH}" y="{place * _BAR_HEIGHT + 3}" width="{_BAR_WIDTH * share / most:.1f}" '
        f'height="{_BAR_HEIGHT - 6}" fill="{_TUNED}"/>'
        f'<text x="{_NAME_WIDTH + _BAR_WIDTH * share / most + 6:.1f}" y="{place * _BAR_HEIGHT + 14}" fill="{FAINT}">'
        f"{share:.0%}</text>"
        for place, (name, share) in enumerate(ranked)
    )
    width, height = _NAME_WIDTH + _BAR_WIDTH + 60, _BAR_HEIGHT * max(1, len(ranked))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="importance of each length">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{marks}</svg>\n'
    )


def _gains(report: TuningReport) -> str:
    """Two dots a month, joined along time: gain on the folds and gain in the month."""
    folds = np.array([month.inner_default - month.inner_tuned for month in report.months])
    tested = np.array([month.gain.mean for month in report.months])
    both = np.concatenate([folds, tested, [0.0]])
    reach = float(both.max() - both.min()) or 1e-6
    low, high = float(both.min()) - 0.1 * reach, float(both.max()) + 0.1 * reach
    x = np.arange(len(report.months), dtype=np.float64)
    chart = Chart(_WIDTH, _HEIGHT, (-0.5, len(report.months) - 0.5), (low, high))
    every = -(-len(report.months) // 12)
    words = [(float(place), f"{month.month:%Y-%m}") for place, month in enumerate(report.months)][::every]
    return chart.drawn(
        chart.y_axis(round_ticks(low, high, count=6), "+.4f"),
        chart.x_axis(words),
        chart.line(np.array([-0.5, len(report.months) - 0.5]), np.zeros(2), INK, width=1.0),
        *(
            mark
            for values, colour in ((folds, _FOLDS), (tested, _TUNED))
            for mark in (chart.line(x, values, colour), chart.dots(x, values, colour))
        ),
        label="gain of tuned lengths over the defaults by month, on the folds and in the month",
    )


def _table(columns: Sequence[str], rows: Sequence[str]) -> str:
    return f"<table>{_row(columns, '', cell='th')}{''.join(rows)}</table>"


def _row(texts: Sequence[str], kind: str, *, cell: str) -> str:
    words = len(MONTH_COLUMNS) - 1
    inside = "".join(
        f"<{cell}{' class=words' if place == words else ''}>{escape(text)}</{cell}>" for place, text in enumerate(texts)
    )
    return f'<tr class="{kind}">{inside}</tr>'


def _paragraphs(texts: Sequence[str], kind: str) -> str:
    return "".join(f'<p class="{kind}">{escape(text)}</p>' for text in texts)
