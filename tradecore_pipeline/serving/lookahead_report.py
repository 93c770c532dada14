"""One static HTML page of the look-ahead detector: what was tried, where the cuts fell, and what knew its future."""

from collections.abc import Sequence
from datetime import date, datetime
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.svg import INK, Chart
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.validation.lookahead import Finding, StageResult

CAUGHT, CLEAN = "#b3261e", "#2b7bba"
"""Told apart by colour-blind readers, and by a word beside each."""
_ROW_PIXELS = 24
_TICKS = 6

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1240px; padding: 16px 24px;
  color: #1c2430; }}
h1 {{ font-size: 22px; margin: 0; }} h2 {{ font-size: 16px; margin: 24px 0 8px; }}
p {{ margin: 4px 0; color: #4a5565; max-width: 900px; }}
.simulated {{ background: #fff3cd; border: 1px solid #e0c060; border-radius: 4px; color: #6b5200; font-weight: 700;
  letter-spacing: .08em; margin-left: 12px; padding: 1px 8px; font-size: 14px; vertical-align: 2px; }}
.verdict {{ border-left: 5px solid {colour}; padding: 6px 12px; margin: 14px 0; font-weight: 700; color: #1c2430;
  background: #f6f8fa; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }}
th, td {{ padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid #e3e7ee; }}
th.word, td.word {{ text-align: left; }} td.caught {{ color: {caught}; font-weight: 700; }}
svg {{ max-width: 100%; height: auto; }}
</style></head><body>
<h1>{title}{badge}</h1>
<p>{subtitle}</p>
<p class="verdict">{verdict}</p>
{findings}
<h2>Where the future was taken away</h2>
<div class="wide">{chart}</div>
<p>Each tick is a cut: everything known later was removed, then replaced by noise, and every row known before it was
compared with the one computed from all data. Red ticks are cuts at which a row changed; a large one marks the first
bar that did.</p>
<h2>What was examined</h2>
<div class="wide">{stages}</div>
<p>Times are UTC. A bar is named by its opening; what it says is known when it closes. Research, not investment
advice.</p>
</body></html>
"""


def write_lookahead_report(
    results: Sequence[StageResult], bars: pd.Index, subject: str, *, market: str, month: date, path: Path
) -> Path:
    """Write the page to ``path`` and return it; the arguments are those of ``lookahead_page``."""
    page = lookahead_page(results, bars, subject, market=market, month=month)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def lookahead_page(results: Sequence[StageResult], bars: pd.Index, subject: str, *, market: str, month: date) -> str:
    """The page as text; it asks nobody for anything.

    Args:
        results: one per stage.
        bars: when the bars under test open.
        subject: the instrument and timeframe.
        market: the home's, or what it was simulated as.
        month: whose models were examined.
    """
    findings = [finding for result in results for finding in result.findings]
    return _PAGE.format(
        title=escape(f"{subject}: look-ahead"),
        badge="" if market == REAL_MARKET else '<span class="simulated">SIMULATED</span>',
        subtitle=escape(
            f"{len(bars):,} bars from {bars[0]:%Y-%m-%d} to {bars[-1]:%Y-%m-%d}; fits and forecasts are those of the "
            f"models of {month:%Y-%m}."
        ),
        colour=CAUGHT if findings else CLEAN,
        caught=CAUGHT,
        verdict=escape(verdict(results)),
        findings=_findings(findings),
        chart=_chart(results, bars),
        stages=_stages(results),
    )


def verdict(results: Sequence[StageResult]) -> str:
    """The outcome in one sentence."""
    columns = sum(len(result.columns) for result in results)
    cuts = max((len(result.cuts) for result in results), default=0)
    caught = sum(len(result.looked_ahead) for result in results)
    greedy = sum(len(result.findings) for result in results) - caught
    if caught:
        ahead = f"{caught} of {columns} columns {'knows' if caught == 1 else 'know'} the future."
    else:
        ahead = f"Nothing looked ahead: {columns} columns, {cuts} cuts, each with the future removed and scrambled."
    return ahead + (f" {greedy} {'reads' if greedy == 1 else 'read'} more history than declared." if greedy else "")


def outcome(result: StageResult) -> str:
    """What became of a stage, in two words."""
    ahead = len(result.looked_ahead)
    return f"{ahead} looked ahead" if ahead else "warm-up too short" if result.findings else "clean"


def value_words(value: object) -> str:
    """A value as people read it; what is missing or no number is told in a word."""
    if isinstance(value, float):
        return "missing" if np.isnan(value) else "no number" if np.isinf(value) else f"{value:.6g}"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, pd.Timestamp) else str(value)


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    head = ("stage", "column", "first bar that changed", "cut", "experiment", "from", "to", "size", "cuts")
    rows = [
        [
            *(escape(text) for text in (finding.stage, finding.column)),
            *(f"{moment:%Y-%m-%d %H:%M}" for moment in (finding.row, finding.cut)),
            escape(finding.done),
            *(escape(value_words(value)) for value in (finding.before, finding.after, finding.size)),
            str(finding.cuts_caught or ""),
        ]
        for finding in findings
    ]
    return f'<h2>What looked ahead</h2><div class="wide">{_table(head, rows, words=5, caught=1)}</div>'


def _stages(results: Sequence[StageResult]) -> str:
    head = ("stage", "outcome", "columns", "rows", "cuts")
    rows = [
        [
            escape(result.stage),
            outcome(result),
            *(f"{number:,}" for number in (len(result.columns), result.rows, len(result.cuts))),
        ]
        for result in results
    ]
    marked = {place for place, result in enumerate(results) if result.findings}
    return _table(head, rows, words=2, caught=1, only=marked)


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int, caught: int, only: set[int] | None = None
) -> str:
    """A table whose first ``words`` columns are text; column ``caught`` is marked, in all rows or ``only`` some."""

    def cell(text: str, row: int, column: int) -> str:
        marked = column == caught and (only is None or row in only)
        names = " ".join((["word"] if column < words else []) + (["caught"] if marked else []))
        return f'<td class="{names}">{text}</td>'

    top = "".join(
        f'<th class="{"word" if place < words else ""}">{escape(name)}</th>' for place, name in enumerate(head)
    )
    body = "".join(
        f"<tr>{''.join(cell(text, row, column) for column, text in enumerate(cells))}</tr>"
        for row, cells in enumerate(rows)
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _chart(results: Sequence[StageResult], bars: pd.Index) -> str:
    """A line per stage with its cuts as ticks."""
    tried = [result for result in results if result.cuts]
    span = (float(bars[0].timestamp()), float(bars[-1].timestamp()))
    # Names stand inside the plot, above their line: they need no margin.
    chart = Chart(1120, 2 * _ROW_PIXELS * len(tried) + 40, span, (0.0, float(len(tried))))
    marks: list[str] = []
    for place, result in enumerate(reversed(tried)):
        marks += _stage_marks(chart, result, place + 0.3)
    days = pd.date_range(bars[0].ceil("D"), bars[-1], periods=_TICKS + 2)[1:-1]
    axis = chart.x_axis([(moment.timestamp(), f"{moment:%Y-%m-%d}") for moment in days])
    return chart.drawn(axis, *marks, label="cuts over time, by stage")


def _stage_marks(chart: Chart, result: StageResult, height: float) -> list[str]:
    y = float(chart.down(np.array([height]))[0])
    left, right = chart.across(np.array(chart.x))
    clean = _ticks(chart, [cut for cut in result.cuts if cut not in result.caught], y, half=5)
    caught = _ticks(chart, result.caught, y, half=5)
    word = f"{result.stage}: {outcome(result)}"
    first = _ticks(chart, [finding.row for finding in result.findings], y, half=12)
    return [
        f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="#e3e7ee"/>',
        f'<path d="{clean}" stroke="{CLEAN}" stroke-width="1.5"/>',
        f'<path d="{caught}" stroke="{CAUGHT}" stroke-width="1.5"/>' if caught else "",
        f'<path d="{first}" stroke="{CAUGHT}" stroke-width="4"/>' if first else "",
        f'<text x="{left:.1f}" y="{y - 14:.1f}" fill="{CAUGHT if result.findings else INK}">{escape(word)}</text>',
    ]


def _ticks(chart: Chart, moments: Sequence[datetime], y: float, *, half: int) -> str:
    places = chart.across(np.array([moment.timestamp() for moment in moments]))
    return "".join(f"M{x:.1f} {y - half:.1f}v{2 * half}" for x in places)
