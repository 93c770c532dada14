"""A month's forecast card: who takes part in the pool, and what held-out bars say, as a static page and as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from tradecore_pipeline.models.evidence import PIT_BINS, POOL, Ablation, Evidence, HeldOutReport
from tradecore_pipeline.models.inputs import NONE, ONE_HOT, PER_REGIME, PROBABILITIES, WITHOUT_REGIMES, WITHOUT_TUNED
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart
from tradecore_pipeline.models.pool_members import SWITCHING
from tradecore_pipeline.serving.card_page import card_page
from tradecore_pipeline.serving.svg import FAINT, INK, Chart, round_ticks

if TYPE_CHECKING:
    from tradecore_pipeline.models.lstm import LstmForecaster

PAGE = "evidence.html"
TEXT = "evidence.md"

_ENOUGH_OF_A_WINDOW = 0.1
"""A window may lack so much of another one's bars (gaps, the first day) before the page says so."""
_HISTOGRAM = "#9db4d6"
_HEAD = ("forecast", "nats a bar", "less t-HAR", "HAC t", "direction right [95%]", "rank correlation [95%]", "R2")
_ABLATION_HEAD = ("the LSTM's inputs", "less t-HAR, nats a bar", "HAC t", "what is left out adds", "HAC t")
_ABLATIONS = {NETWORK: "all", WITHOUT_REGIMES: "without regimes", WITHOUT_TUNED: "without indicators"}
_REGIMES = {
    PROBABILITIES: "filtered probabilities are read as they are",
    ONE_HOT: "of regimes only the most probable is read",
    NONE: "no regimes are read",
    PER_REGIME: "one correction per regime, averaged by filtered probabilities",
}
_ABLATION_BASIS = (
    "The same bars, by ensembles of fewer networks than the published one has (alike in all rows), trained on the part "
    "before. Where t is between -2 and 2, what is left out cannot be told from nothing."
)
_NAMES = {BASELINE: "t-HAR", SWITCHING: "switching HAR", NETWORK: "t-HAR corrected by the LSTM", POOL: "pool of these"}


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
    model: "LstmForecaster",
    found: HeldOutReport | None,
    ablations: Sequence[Ablation],
    *,
    published: str,
    shape_source: str,
) -> ForecastCard:
    """The card of the forecast called ``title``.

    Args:
        title: instrument, timeframe and month.
        model: how its pool begins, and the report of its fit.
        found: what held-out bars say; None where there are too few.
        ablations: what they say of the LSTM's inputs; empty where that was not asked.
        published: what the months before say.
        shape_source: where the networks' shape is from.
    """
    notes = (published, _members(model.start), _training(model, shape_source))
    sections = [
        _Section("On held-out bars", _basis(found), _HEAD, [] if found is None else list(map(_cells, found.table)))
    ]
    if ablations:
        sections.append(
            _Section("What its inputs add", _ABLATION_BASIS, _ABLATION_HEAD, list(map(_without, ablations)))
        )
    heading = f"Forecast of {title}"
    text = "\n".join((notes[0], "", f"# {heading}", "", notes[1], "", notes[2], *(one.text for one in sections)))
    page = _page(heading, notes, sections, found)
    metrics = _metrics(model, found) | _ablation_metrics(ablations)
    return ForecastCard(text, {PAGE: page.encode(), TEXT: text.encode()}, metrics)


@dataclass(frozen=True, slots=True)
class _Section:
    """A table with its heading and what it rests on."""

    title: str
    basis: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def text(self) -> str:
        lines = [f"| {' | '.join(row)} |" for row in (self.head, *self.rows)]
        table = "\n".join((lines[0], "|---" * len(self.head) + "|", *lines[1:]))
        return f"\n## {self.title}\n\n{self.basis}\n" + (f"\n{table}" if self.rows else "")

    @property
    def html(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.head)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        table = f"<table><tr>{head}</tr>{body}</table>" if self.rows else ""
        return f"<h2>{escape(self.title)}</h2><p>{escape(self.basis)}</p>{table}"


def _metrics(model: "LstmForecaster", found: HeldOutReport | None) -> dict[str, float]:
    start, metrics = model.start, dict(model.report)
    metrics |= {f"start_weight_{name}": weight for name, weight in start.weights.items()}
    metrics |= {f"held_out_pool_gain_t_{name}": t for name, t in start.evidence.items() if np.isfinite(t)}
    for row in () if found is None else found.table:
        if row.name == POOL:
            metrics |= {"held_out_pool_log_score": row.log_score, "held_out_pool_gain": row.gain}
    return metrics


def _ablation_metrics(ablations: Sequence[Ablation]) -> dict[str, float]:
    told = {
        f"lstm_{row.name}_{name}": value
        for row in ablations
        for name, value in (("gain", row.gain), ("gain_t", row.gain_t), ("worth", row.worth), ("worth_t", row.worth_t))
        if row.name != NETWORK
    }
    return {name: value for name, value in told.items() if np.isfinite(value)}


def _training(model: "LstmForecaster", source: str) -> str:
    """What the networks are and how far back they learned."""
    shape, report = model.corrector.shape, model.report
    bars, windows = report.get("lstm_bars"), report.get("lstm_windows", 1.0)
    short = (
        "" if windows > shape.windows - _ENOUGH_OF_A_WINDOW else f", of {shape.windows} asked for: no more is stored"
    )
    return (
        f"The LSTM: {model.corrector.members} networks of {shape.layers} x {shape.hidden}, chunks of "
        f"{shape.chunk_bars} bars, dropout {shape.dropout:g}, learning rate {shape.learning_rate:g} ({source}); "
        f"{_REGIMES[model.corrector.reading.regimes]}; trained on "
        + (f"{bars:,.0f} bars ({windows:.1f} of the month's windows{short})." if bars else "the window.")
    )


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


def _without(row: Ablation) -> tuple[str, ...]:
    return (
        _ABLATIONS.get(row.name, row.name),
        _number(row.gain, "+.4f"),
        _number(row.gain_t, "+.1f"),
        _number(row.worth, "+.4f"),
        _number(row.worth_t, "+.1f"),
    )


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else ""


def _with_interval(value: float, bounds: tuple[float, float], form: str) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:{form}} [{bounds[0]:{form}}, {bounds[1]:{form}}]"


def _page(title: str, notes: Sequence[str], sections: Sequence[_Section], found: HeldOutReport | None) -> str:
    calibration = "" if found is None else f"<h2>Calibration of the pool on held-out bars</h2>{_calibration(found)}"
    return card_page(title, *(f"<p>{escape(note)}</p>" for note in notes), *(one.html for one in sections), calibration)


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
