"""One HTML page of a review of numbers of states: what each is worth held out, and how well it holds together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.serving.market_words import market_words
from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.review_charts import (
    Limits,
    Rows,
    duration_chart,
    gain_chart,
    occupancy_chart,
    relabelled_chart,
    score_chart,
)
from tradecore_pipeline.storage.atomic import replacing

NO_FIGURE = "-"
HEAD: Mapping[str, tuple[str, str]] = {
    "states": ("states", "d"),
    "log_likelihood_per_bar": ("held-out log likelihood", ".4f"),
    "next_bar_log_score": ("next-bar score", ".4f"),
    "gain_over_fewer": ("gain over fewer", "+.4f"),
    "two_standard_errors": ("2 s.e.", ".4f"),
    "least_occupancy": ("rarest", ".1%"),
    "relabelled_share": ("relabelled", ".1%"),
    "expected_bars": ("expected bars", ",.0f"),
    "switches_per_1000_bars": ("switches/1000", ".0f"),
    "shown_switches_per_1000_bars": ("shown/1000", ".0f"),
    "objection": ("objection", ""),
}
"""The table of a review: its columns, how each is called and written."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1160px; padding: 16px 24px; color: #1c2430; }}
h1 {{ font-size: 22px; margin: 0; }} p {{ margin: 4px 0 12px; color: #4a5565; max-width: 900px; }}
.simulated {{ background: #fff3cd; border: 1px solid #e0c060; border-radius: 4px; color: #6b5200; font-weight: 700;
  letter-spacing: .08em; margin-left: 12px; padding: 1px 8px; font-size: 14px; vertical-align: 2px; }}
.told {{ color: #1c2430; font-size: 17px; font-weight: 600; }}
.charts {{ display: grid; gap: 8px 40px; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); }}
figure {{ margin: 8px 0; }} figcaption {{ font-weight: 600; }} figcaption span {{ color: #6b7583; font-weight: 400; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid #e3e7ee; padding: 4px 14px 4px 0; text-align: right; vertical-align: top; }}
th:last-child, td:last-child {{ min-width: 240px; text-align: left; }}
tr.taken td {{ background: #eef6ee; font-weight: 600; }}
.key {{ display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 4px 0 12px; }}
</style></head><body>
<h1>{title}{badge}</h1>
<p>{subtitle}</p>
<p class="told">{told}</p>
<p>{setting}</p>
<p>States by volatility, calmest first:{key}</p>
<div class="charts">{charts}</div>
<div class="table">{table}</div>
<p>{explained}</p>
<p>Research, not investment advice. Times are UTC.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review as it is told: which window, the rows by number of states, and what follows from them."""

    instrument: Instrument
    timeframe: Timeframe
    month: date
    rows: Rows
    recommended: int | None
    reason: str
    hmm_states: int
    """What the settings ask for; a review changes nothing."""
    limits: Limits


def write_review_report(reviewed: Reviewed, *, market: str, path: Path) -> Path:
    """Write the page to ``path`` and return it; ``market`` is the home's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.absolute()) as temporary:
        temporary.write_text(review_page(reviewed, market=market), encoding="utf-8")
    return path


def review_page(reviewed: Reviewed, *, market: str) -> str:
    """The page as text, without scripts or requests."""
    simulated = market != REAL_MARKET
    return _PAGE.format(
        title=escape(f"{reviewed.instrument}, {reviewed.timeframe}: how many regimes?"),
        badge='<span class="simulated">SIMULATED</span>' if simulated else "",
        subtitle=escape(
            f"The training window of {reviewed.month:%Y-%m}, {market_words(market)}. Its second half is held out in "
            "blocks; each is scored by models of the half window before it."
        ),
        told=escape(told(reviewed)),
        setting=escape(
            f"{_why(reviewed.reason)}. Nothing was changed: hmm_states is {reviewed.hmm_states}; TRADECORE_HMM_STATES "
            "sets it for the months trained from then on."
        ),
        charts=_charts(reviewed),
        key=_key(reviewed.rows),
        table=_table(reviewed),
        explained=escape(_explained(reviewed.limits)),
    )


def told(reviewed: Reviewed) -> str:
    """The recommendation in one sentence."""
    if reviewed.recommended is None:
        return "No number of states that was reviewed is acceptable in this window."
    if reviewed.recommended == reviewed.hmm_states:
        return f"{reviewed.recommended} states, which is what the settings ask for."
    return f"{reviewed.recommended} states; the settings ask for {reviewed.hmm_states}."


def _why(reason: str) -> str:
    """The reason without the number that it begins with, which the line above has said."""
    why = reason.partition(": ")[2] or reason
    return why[:1].upper() + why[1:]


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the review as text, in the order of ``HEAD``."""
    return [_cell(row[name], form) for name, (_, form) in HEAD.items()]


def _cell(value: Any, form: str) -> str:
    if isinstance(value, list):
        return ", ".join(format(part, form) for part in value) or NO_FIGURE
    return NO_FIGURE if isinstance(value, float) and np.isnan(value) else format(value, form)


def _charts(reviewed: Reviewed) -> str:
    rows, limits = reviewed.rows, reviewed.limits
    parts: Sequence[tuple[str, str, str]] = [
        ("Held-out score, nats a bar", "two standard errors of each mean", score_chart(rows)),
        (
            "Gain over fewer states, nats a bar",
            f"two standard errors; dashed: {limits.least_gain_nats:g}",
            gain_chart(rows, limits),
        ),
        (
            "Share of the window by state",
            f"the rarest must hold {limits.least_occupancy:.0%}",
            occupancy_chart(rows),
        ),
        (
            "Expected bars in a row, by state",
            f"log scale; dashed: {limits.least_duration_bars:g} bars",
            duration_chart(rows, limits),
        ),
        (
            "Bars that overlapping windows label differently",
            f"dashed: {limits.most_relabelled:.0%}",
            relabelled_chart(rows, limits),
        ),
    ]
    return "".join(
        f"<figure><figcaption>{escape(title)} <span>{escape(more)}</span></figcaption>{chart}</figure>"
        for title, more, chart in parts
        if chart
    )


def _key(rows: Rows) -> str:
    most = max(row["states"] for row in rows)
    return "".join(
        f'<span class="key" style="background:{colour}"></span>{k}' for k, colour in enumerate(REGIME_COLOURS[:most])
    )


def _table(reviewed: Reviewed) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in HEAD.values())
    rows = "".join(
        f"<tr{_mark(row, reviewed)}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells(row))}</tr>"
        for row in reviewed.rows
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _mark(row: Mapping[str, Any], reviewed: Reviewed) -> str:
    return ' class="taken"' if row["states"] == reviewed.recommended else ""


def _explained(limits: Limits) -> str:
    return (
        "Score: mean log density that the forecast gave to the next bar's return (the log likelihood of each bar given "
        "those before it where a model has no such forecast). Scores alone favour too many states, so a further one "
        f"has to gain two standard errors and {limits.least_gain_nats:g} nats a bar (errors are robust to "
        "autocorrelation over two days), and overlapping windows have to agree on its labels. Shown: switches of the "
        "label that charts and strategies use, which changes only when another state is clearly more probable."
    )
