"""A month's model card: what the regime model is, what it found and what to distrust, as a static page and as text."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.serving.card_charts import calibration_chart, density_chart, drift_charts, price_chart
from tradecore_pipeline.serving.card_facts import TAIL_SHARE, CardFacts, card_facts
from tradecore_pipeline.serving.palette import REGIME_COLOURS

PAGE = "model_card.html"
TEXT = "card.md"


def model_card_figures(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    instrument: Instrument,
    month: date,
    model: RegimeModel,
    half_model: RegimeModel | None,
    direction: Mapping[str, Any],
    label_threshold: float,
    earlier: Sequence[tuple[date, RegimeModel]],
) -> dict[str, bytes]:
    """The card of a month's regime model as files for MLflow: a page without scripts or requests, and its text.

    What is shown depends on which months were trained before, so none of it may go into the model's config or arrays.

    Args:
        bars: the training window.
        columns: the features that the model uses beside its own, on the same index.
        instrument: whose bars.
        month: the first day of the month that the model is in force.
        model: fitted on ``bars``.
        half_model: the same kind of model fitted on the first half of ``bars``, from which the second half is
            forecast; None leaves the calibration out.
        direction: the evidence on direction, as the model's config holds it.
        label_threshold: the filtered probability that changes the label shown.
        earlier: models of months before, by month; others are left out, as are those with another number of states.
    """
    facts = card_facts(
        bars, columns, instrument=instrument, month=month, model=model, half_model=half_model, direction=direction,
        label_threshold=label_threshold, earlier=earlier,
    )  # fmt: skip
    return {PAGE: _page(facts, label_threshold).encode(), TEXT: card_text(facts).encode()}


def card_text(facts: CardFacts) -> str:
    """The card as Markdown: for a run's description, and for people without a browser."""
    head = "| state | by scale | by mean return | share | mean return, bps [95%] | volatility, % | bars it lasts |"
    rows = [f"| {' | '.join((str(k), *cells))} |" for k, cells in enumerate(_state_rows(facts))]
    alarms = [f"- {alarm}" for alarm in facts.alarms] or ["- none"]
    return "\n".join(
        (f"# {_title(facts)}", "", _summary(facts), "", "## States", "", head, "|---" * 7 + "|", *rows, "",
         _direction(facts), "", "## Alarms", "", *alarms, "", "## Calibration", "", _calibration(facts), "")
    )  # fmt: skip


def _page(facts: CardFacts, label_threshold: float) -> str:
    alarms = "".join(f"<li>{escape(alarm)}</li>" for alarm in facts.alarms)
    parts = {
        "title": escape(_title(facts)),
        "summary": escape(_summary(facts)),
        "alarms": f'<div class="alarms"><b>To look at first</b><ul>{alarms}</ul></div>' if alarms else "",
        "states": _states_table(facts),
        "direction": escape(_direction(facts)),
        "threshold": f"{label_threshold:g}",
        "price": price_chart(facts),
        "transitions": _transitions(facts),
        "densities": _densities(facts),
        "calibration": f"<p>{escape(_calibration(facts))}</p>{calibration_chart(facts)}",
        "drift": _drift(facts),
    }
    page = (files("tradecore_pipeline.serving") / PAGE).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)


def _title(facts: CardFacts) -> str:
    return f"{facts.instrument}, {facts.model.timeframe} regimes of {facts.month:%Y-%m}"


def _summary(facts: CardFacts) -> str:
    first, last = facts.bars.index[0], facts.bars.index[-1]
    order = "mean return, since they are equal in volatility" if facts.model.equal_scales else "scale"
    return (
        f"A hidden Markov model of {facts.model.states} states, in force in {facts.month:%Y-%m}, fitted on "
        f"{len(facts.bars):,} bars from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC; nothing later was read. "
        f"States are in order of {order}. What is published are filtered probabilities: what was known at each bar's "
        f"close. Log likelihood {facts.model.log_likelihood:.4f} nats a bar."
    )


def _state_rows(facts: CardFacts) -> list[tuple[str, ...]]:
    model = facts.model
    note = "" if facts.direction.get("significant") else " (not significant)"
    return [
        (
            scale,
            f"{mean}{note}",
            f"{model.occupancy[k]:.1%}",
            f"{model.mean_returns_bps[k]:+.2f} {interval(*model.mean_return_intervals_bps[k])}",
            f"{model.volatilities_percent[k]:.3f}",
            _bars(model.expected_durations[k]),
        )
        for k, (scale, mean) in enumerate(facts.names)
    ]


def interval(low: float, high: float) -> str:
    """An interval as text; nothing where it is not known."""
    return "" if np.isnan(low) else f"[{low:+.2f}, {high:+.2f}]"


def _states_table(facts: CardFacts) -> str:
    head = ("by scale", "by mean return", "share", "mean return, bps [95%]", "volatility, %", "bars it lasts")
    rows = [
        f"<tr><td>{_key(k)}{escape(cells[0])}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells[1:])}</tr>"
        for k, cells in enumerate(_state_rows(facts))
    ]
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{''.join(rows)}</table>"


def _direction(facts: CardFacts) -> str:
    found = facts.direction
    if found.get("reason"):
        return f"Direction: no evidence either way ({found['reason']}). The names by mean return only order the means."
    figure = f"top less bottom state {found['difference_bps']:+.2f} bps a bar"
    figure += f", 95% {interval(found['low_bps'], found['high_bps'])}"
    if found.get("significant"):
        return f"Direction: the means differed on bars the states were not fitted on ({figure})."
    return (
        f"Direction: not significant on bars the states were not fitted on ({figure}). The names by mean return only "
        "order the means of the window; the names by scale are what the model knows."
    )


def _transitions(facts: CardFacts) -> str:
    names = [scale for scale, _ in facts.names]
    head = "".join(f"<th>to {escape(name)}</th>" for name in names)
    rows: list[str] = []
    for k, name in enumerate(names):
        cells = "".join(
            f'<td style="background:rgba(79,124,255,{0.04 + 0.4 * share:.2f})">{share:.4f}</td>'
            for share in facts.model.transmat[k]
        )
        rows.append(
            f"<tr><th>{_key(k)}{escape(name)}</th>{cells}<td>{_bars(facts.model.expected_durations[k])}</td></tr>"
        )
    return f'<table class="matrix"><tr><th></th>{head}<th>expected bars in a row</th></tr>{"".join(rows)}</table>'


def _densities(facts: CardFacts) -> str:
    if facts.densities is None:
        return "<p>This model looks at features without a return: it has no density of returns.</p>"
    keys = " &nbsp; ".join(f"{_key(k)}{escape(scale)}" for k, (scale, _) in enumerate(facts.names))
    return (
        "<p>Per percent, on a log scale: each state's part, their mixture (dashed) and the window's returns (grey). "
        f"In-sample.</p><p>{keys}</p>{density_chart(facts)}"
    )


def _calibration(facts: CardFacts) -> str:
    if (share := facts.tail_share) is None:
        return "Not known: there is no model of the window's first half that forecasts returns."
    return (
        "Where the returns of the window's second half fell in the forecasts by a model of its first half "
        f"({0 if facts.calibration is None else len(facts.calibration):,} bars). Flat at 1 is right, within the dashed "
        f"lines is chance; {share:.1%} fell outside the central {1 - TAIL_SHARE:.0%}."
    )


def _drift(facts: CardFacts) -> str:
    charts = drift_charts(facts)
    if not charts:
        return "<p>No month before this one had a model of as many states when this one was fitted.</p>"
    return f'<div class="row">{charts}</div>'


def _bars(duration: float) -> str:
    return f"{duration:,.1f}" if np.isfinite(duration) else "for ever"


def _key(state: int) -> str:
    return f'<span class="key" style="background:{REGIME_COLOURS[state]}"></span>'
