"""A month's forecast card: who takes part in the pool, and what held-out bars say, as a static page and as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tradecore_pipeline.models.evidence import PIT_BINS, POOL, Evidence, HeldOutReport
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart
from tradecore_pipeline.models.pool_members import SWITCHING
from tradecore_pipeline.serving.svg import FAINT, INK, Chart, round_ticks

PAGE = "evidence.html"
TEXT = "evidence.md"

_HISTOGRAM = "#9db4d6"
_HEAD = ("forecast", "nats a bar", "less t-HAR", "HAC t", "direction right [95%]", "rank correlation [95%]", "R2")
_NAMES = {BASELINE: "t-HAR", SWITCHING: "switching HAR", NETWORK: "t-HAR corrected by the LSTM", POOL: "pool of these"}
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:980px;padding:16px 24px;color:#1c2430;
background:#fff}h1{font-size:22px;margin:0}h2{font-size:16px;margin:24px 0 6px}p{color:#4a5565;margin:4px 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:4px 0 4px 18px;text-align:right;
border-bottom:1px solid #e3e7ee;white-space:nowrap}th:first-child,td:first-child{text-align:left;padding-left:0}
th{font-weight:600}svg{font-family:system-ui,sans-serif;max-width:100%;height:auto}"""


@dataclass(frozen=True, slots=True)
class ForecastCard:
    """The card of a month's forecast."""

    text: str
    """As Markdown."""
    figures: Mapping[str, bytes]
    """As files for MLflow: a page without scripts or requests, and the text."""
    metrics: Mapping[str, float]
    """Its main numbers."""


def forecast_card(
    title: str,
    start: PoolStart,
    report: Mapping[str, float],
    found: HeldOutReport | None,
    *,
    published: str,
) -> ForecastCard:
    """The card of the forecast called ``title``.

    Args:
        title: instrument, timeframe and month.
        start: how its pool begins.
        report: of the LSTM's fit.
        found: what held-out bars say; None where there are too few.
        published: what the months before say.
    """
    members = _members(start)
    basis = _basis(found)
    rows = [] if found is None else [_cells(row) for row in found.table]
    text = "\n".join(
        (published, "", f"# Forecast of {title}", "", members, "", "## On held-out bars", "", basis, "")
        + (() if found is None else (f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"))
        + tuple(f"| {' | '.join(row)} |" for row in rows)
    )  # fmt: skip
    return ForecastCard(
        text,
        {PAGE: _page(f"Forecast of {title}", (published, members), basis, rows, found).encode(), TEXT: text.encode()},
        _metrics(start, report, found),
    )


def _metrics(start: PoolStart, report: Mapping[str, float], found: HeldOutReport | None) -> dict[str, float]:
    metrics = dict(report)
    metrics |= {f"start_weight_{name}": weight for name, weight in start.weights.items()}
    metrics |= {f"held_out_pool_gain_t_{name}": t for name, t in start.evidence.items() if np.isfinite(t)}
    for row in () if found is None else found.table:
        if row.name == POOL:
            metrics |= {"held_out_pool_log_score": row.log_score, "held_out_pool_gain": row.gain}
    return metrics


def _members(start: PoolStart) -> str:
    weights = ", ".join(f"{_NAMES[name]} {weight:.0%}" for name, weight in start.weights.items())
    out = [f"{_NAMES[name]} (t {t:.1f})" for name, t in start.evidence.items() if name not in start.log_weights]
    left = f" Left out, since held-out bars did not show that they add: {', '.join(out)}." if out else ""
    return f"The pool begins the month with {weights}; each bar's score then moves the weights.{left}"


def _basis(found: HeldOutReport | None) -> str:
    if found is None:
        return "The window is too short to hold bars out: nothing is known of any member but t-HAR."
    count = found.table[0].bars
    return (
        f"{count:,} bars from {found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC, forecast by fits on the "
        "part of the window before them; the pool from equal weights. The LSTM's inputs (regimes, tuned indicators) "
        "were fitted on the whole window, which favours it. Zero, persistence, momentum and ridge forecast the mean, "
        "with t-HAR's spread. Direction: share of bars whose return has the sign of the mean. R2: against zero."
    )


def _cells(row: Evidence) -> tuple[str, ...]:
    return (
        _NAMES.get(row.name, row.name),
        f"{row.log_score:.4f}",
        _number(row.gain, "+.4f"),
        _number(row.gain_t, "+.1f"),
        _with_interval(row.direction, row.direction_interval, ".1%"),
        _with_interval(row.rank_ic, row.rank_ic_interval, "+.3f"),
        _number(row.r2, "+.2%"),
    )


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else ""


def _with_interval(value: float, bounds: tuple[float, float], form: str) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:{form}} [{bounds[0]:{form}}, {bounds[1]:{form}}]"


def _page(
    title: str, notes: Sequence[str], basis: str, rows: Sequence[Sequence[str]], found: HeldOutReport | None
) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEAD)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><tr>{head}</tr>{body}</table>" if rows else ""
    calibration = "" if found is None else f"<h2>Calibration of the pool on held-out bars</h2>{_calibration(found)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{''.join(f'<p>{escape(note)}</p>' for note in notes)}<h2>On held-out bars</h2><p>{escape(basis)}</p>{table}"
        f"{calibration}<p>Times are UTC. Research, not investment advice.</p></body></html>"
    )


def _calibration(found: HeldOutReport) -> str:
    """The histogram of probability integrals with the band that right forecasts stay in."""
    shares = PIT_BINS * found.pit_shares
    reach = 1.96 * float(np.sqrt((PIT_BINS - 1) / found.table[0].bars))
    top = max(1.6, 1.1 * float(shares.max()))
    chart = Chart(520, 260, (0.0, 1.0), (0.0, top))
    return chart.drawn(
        chart.bars(np.linspace(0, 1, PIT_BINS + 1), shares, _HISTOGRAM),
        chart.y_axis(round_ticks(0.0, top, count=5), "g"),
        chart.x_axis([(tick / 4, f"{tick / 4:g}") for tick in range(5)]),
        chart.level(1.0, INK),
        *(chart.level(1 + side * reach, FAINT, dash="4 3") for side in (-1, 1)),
        label="Histogram of probability integrals",
    )
