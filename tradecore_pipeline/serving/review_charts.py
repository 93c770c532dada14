"""The pictures of a review of numbers of states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.svg import INK, Chart, Floats, log_ticks, round_ticks

_WIDTH, _HEIGHT = 520, 250
_CAP = 0.06
"""Half the width of an error bar's ends, in states."""
_BAR = 0.28
_LIMIT = "#b3261e"
_NEUTRAL = "#8a8f98"
_WHITE = 'text-anchor="middle" fill="#fff"'
_LEAST_LABELLED = 14
"""Pixels that a part of a column must be high to have its share written on it."""
_LONGEST_BARS = 1e5
"""A state expected to last longer is drawn here: it was hardly ever left."""

Rows = Sequence[dict[str, Any]]
"""What `tradecore review-states` tells of each number of states, in their order."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a review asks of a number of states; the charts draw a dashed line at each."""

    least_occupancy: float
    least_duration_bars: float
    most_relabelled: float
    least_gain_nats: float


def score_chart(rows: Rows) -> str:
    """The held-out evidence by number of states, with two standard errors of each mean."""
    return _means(
        rows, _column(rows, "score"), _column(rows, "score_two_standard_errors"), [], label="Held-out score by states"
    )


def gain_chart(rows: Rows, limits: Limits) -> str:
    """What each number gained over the next fewer one, bar by bar, with two standard errors."""
    gains, errors = _column(rows, "gain_over_fewer"), _column(rows, "two_standard_errors")
    levels = [0.0, limits.least_gain_nats]
    return _means(rows, gains, errors, levels, label="Gain over fewer states")


def occupancy_chart(rows: Rows) -> str:
    """How the window's bars are shared among the states: one column per number, the calmest below."""
    chart = _by_states(rows, 0.0, 1.0)
    marks: list[str] = []
    for place, row in enumerate(rows):
        tops = np.cumsum([0.0, *row["occupancy"]])
        left, middle, right = chart.across(np.array([place - _BAR, place, place + _BAR]))
        for k, (low, high) in enumerate(zip(chart.down(tops[:-1]), chart.down(tops[1:]), strict=True)):
            marks.append(
                f'<rect x="{left:.1f}" y="{high:.1f}" width="{right - left:.1f}" height="{max(low - high, 0.0):.1f}" '
                f'fill="{REGIME_COLOURS[k]}" stroke="#fff" stroke-width="1"/>'
            )
            if low - high > _LEAST_LABELLED:
                share = f"{row['occupancy'][k]:.0%}"
                marks.append(f'<text x="{middle:.1f}" y="{(low + high) / 2 + 4:.1f}" {_WHITE}>{share}</text>')
    return _drawn(chart, rows, [0.0, 0.25, 0.5, 0.75, 1.0], ".0%", marks, label="Share of the window by state")


def duration_chart(rows: Rows, limits: Limits) -> str:
    """How many bars in a row each state is expected to last, on a log scale."""
    lasting = [np.minimum(np.array(row["expected_bars"], dtype=np.float64), _LONGEST_BARS) for row in rows]
    every = np.concatenate([*lasting, [limits.least_duration_bars]])
    low, high = float(every.min()) / 1.6, float(every.max()) * 1.6
    chart = _by_states(rows, low, high, log_y=True)
    dots = [
        chart.dots(np.array([float(place)]), bars[k : k + 1], REGIME_COLOURS[k])
        for place, bars in enumerate(lasting)
        for k in range(len(bars))
    ]
    limit = chart.level(limits.least_duration_bars, _LIMIT, dash="5 4")
    return _drawn(chart, rows, log_ticks(low, high), ",g", [limit, *dots], label="Expected bars in a row by state")


def relabelled_chart(rows: Rows, limits: Limits) -> str:
    """The share of bars that overlapping windows label differently."""
    shares = _column(rows, "relabelled_share")
    known = shares[~np.isnan(shares)]
    top = 1.15 * max([limits.most_relabelled, *known.tolist()])
    chart = _by_states(rows, 0.0, top)
    columns = [
        chart.bars(np.array([place - _BAR, place + _BAR]), np.array([share]), _NEUTRAL)
        for place, share in enumerate(shares.tolist())
        if not np.isnan(share)
    ]
    limit = chart.level(limits.most_relabelled, _LIMIT, dash="5 4")
    return _drawn(chart, rows, round_ticks(0.0, top, count=5), ".0%", [*columns, limit], label="Relabelled share")


def _means(rows: Rows, means: Floats, errors: Floats, levels: list[float], *, label: str) -> str:
    """Dots with error bars; empty where there is no figure."""
    errors = np.nan_to_num(errors)
    known = ~np.isnan(means)
    if not known.any():
        return ""
    low = min([float((means - errors)[known].min()), *levels])
    high = max([float((means + errors)[known].max()), *levels])
    room = 0.1 * ((high - low) or 0.01)
    chart = _by_states(rows, low - room, high + room)
    marks = [chart.level(level, _LIMIT if level else INK, dash="5 4" if level else "") for level in levels]
    for place in np.flatnonzero(known).tolist():
        mean, error, x = float(means[place]), float(errors[place]), float(place)
        ends = [mean - error, mean + error]
        marks.append(chart.line(np.array([x, x]), np.array(ends), INK))
        marks += [chart.line(np.array([x - _CAP, x + _CAP]), np.full(2, end), INK) for end in ends]
        marks.append(chart.dots(np.array([x]), np.array([mean]), INK))
    return _drawn(chart, rows, round_ticks(low - room, high + room, count=5), ".3f", marks, label=label)


def _by_states(rows: Rows, low: float, high: float, *, log_y: bool = False) -> Chart:
    return Chart(_WIDTH, _HEIGHT, (-0.5, len(rows) - 0.5), (low, high), log_y=log_y)


def _drawn(chart: Chart, rows: Rows, ticks: Sequence[float], form: str, marks: Sequence[str], *, label: str) -> str:
    words = [(float(place), f"{row['states']} states") for place, row in enumerate(rows)]
    return chart.drawn(chart.y_axis(ticks, form), chart.x_axis(words), *marks, label=label)


def _column(rows: Rows, name: str) -> Floats:
    return np.array([row[name] for row in rows], dtype=np.float64)
