"""The pictures of a model card."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from tradecore_pipeline.serving.card_facts import CardFacts, Floats, MonthParameters
from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.svg import FAINT, INK, Chart, log_ticks, round_ticks
from tradecore_pipeline.validation.scoreboard import pit_shares

_WIDE, _HALF, _THIRD = 1060, 520, 330
_POINTS = 1000
_PIT_BINS = 20
_HISTOGRAM = "#cfd6e0"
_AXIS_MONTHS = 14


def price_chart(facts: CardFacts) -> str:
    """The window's closes over bands in the colour of the label shown."""
    close = facts.bars["close"].to_numpy(dtype=np.float64)
    step = max(1, len(close) // _POINTS)
    places = np.arange(len(close), dtype=np.float64)
    low, high = float(close.min()), float(close.max())
    chart = Chart(_WIDE, 250, (0.0, len(close) - 1.0), (low - 0.03 * (high - low), high + 0.03 * (high - low)))
    index = pd.DatetimeIndex(facts.bars.index)
    firsts = np.flatnonzero(np.diff(index.month)) + 1
    every = -(-len(firsts) // _AXIS_MONTHS) or 1
    return chart.drawn(
        _bands(chart, facts),
        chart.y_axis(round_ticks(low, high, count=5), ",.6g"),
        chart.x_axis([(float(k), f"{index[k]:%b %Y}") for k in firsts[::every].tolist()]),
        chart.line(places[::step], close[::step], INK, width=1.1),
        label="Closing prices over the regimes shown",
    )


def _bands(chart: Chart, facts: CardFacts) -> str:
    changes = np.flatnonzero(np.diff(facts.held)) + 1
    starts = np.concatenate(([0], changes))
    edges = chart.across(np.append(starts, len(facts.held) - 1).astype(np.float64))
    return "".join(
        f'<rect x="{left:.1f}" y="10" width="{max(right - left, 0.4):.1f}" height="{chart.height - 34}" '
        f'fill="{REGIME_COLOURS[facts.held[start]]}" opacity=".38"/>'
        for start, left, right in zip(starts, edges[:-1], edges[1:], strict=True)
    )


def density_chart(facts: CardFacts) -> str:
    """Each state's density of the next return and their mixture over the window's histogram; empty without them."""
    found = facts.densities
    if found is None:
        return ""
    mixture = found.states.sum(axis=1)
    seen = found.histogram[found.histogram > 0]
    low, high = 0.5 * min(float(seen.min()), float(mixture.min())), 1.6 * float(max(seen.max(), mixture.max()))
    chart = Chart(_HALF, 280, (float(found.grid[0]), float(found.grid[-1])), (low, high), log_y=True)
    ticks = round_ticks(float(found.grid[0]), float(found.grid[-1]), count=8)
    states = [
        chart.line(found.grid, np.where(own >= low, own, np.nan), REGIME_COLOURS[k], width=2)
        for k, own in enumerate(found.states.T)
    ]
    return chart.drawn(
        chart.bars(found.edges, found.histogram, _HISTOGRAM),
        chart.y_axis(log_ticks(low, high), "g"),
        chart.x_axis([(tick, f"{tick:g}%") for tick in ticks]),
        *states,
        chart.line(found.grid, mixture, INK, width=1.5, dash="5 3"),
        label="Densities of the next return by state, on a log scale",
    )


def calibration_chart(facts: CardFacts) -> str:
    """The histogram of probability integrals with the band that right forecasts stay in; empty without them."""
    values = facts.calibration
    if values is None or len(values) == 0:
        return ""
    shares = _PIT_BINS * pit_shares(values, bins=_PIT_BINS)
    reach = 1.96 * float(np.sqrt((_PIT_BINS - 1) / len(values)))
    top = max(1.6, 1.1 * float(shares.max()))
    chart = Chart(_HALF, 280, (0.0, 1.0), (0.0, top))
    return chart.drawn(
        chart.bars(np.linspace(0, 1, _PIT_BINS + 1), shares, _HISTOGRAM),
        chart.y_axis(round_ticks(0.0, top, count=5), "g"),
        chart.x_axis([(tick / 4, f"{tick / 4:g}") for tick in range(5)]),
        chart.level(1.0, INK),
        *(chart.level(1 + side * reach, FAINT, dash="4 3") for side in (-1, 1)),
        label="Histogram of probability integrals",
    )


def drift_charts(facts: CardFacts) -> str:
    """Volatility, expected duration and mean return by state, month by month; empty where this is the only month."""
    if len(facts.drift) < 2:
        return ""
    parts: list[tuple[str, Callable[[MonthParameters], Floats], bool]] = [
        ("Volatility, % a bar (on this window's bars)", lambda month: month.volatilities, True),
        ("Expected bars in a row", lambda month: month.durations, True),
        ("Mean return, bps a bar (each in its own window)", lambda month: month.mean_returns_bps, False),
    ]
    return "".join(
        f"<figure><figcaption>{title}</figcaption>{_drift_chart(facts, value, log_y=log_y, label=title)}</figure>"
        for title, value, log_y in parts
    )


def _drift_chart(facts: CardFacts, value: Callable[[MonthParameters], Floats], *, log_y: bool, label: str) -> str:
    values = np.array([value(month) for month in facts.drift])
    values = np.where(np.isinf(values), np.nan, values)  # a state that is never left
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if log_y:
        low, high = low / 1.3, high * 1.3
        ticks = log_ticks(low, high)
    else:
        low, high = low - 0.1 * (high - low) - 0.1, high + 0.1 * (high - low) + 0.1
        ticks = round_ticks(low, high, count=5)
    chart = Chart(_THIRD, 190, (-0.4, len(values) - 0.6), (low, high), log_y=log_y)
    places = np.arange(len(values), dtype=np.float64)
    every = -(-len(values) // 6)
    words = [(float(k), f"{month.month:%y-%m}") for k, month in enumerate(facts.drift)]
    marks = [
        chart.line(places, own, REGIME_COLOURS[k]) + chart.dots(places, own, REGIME_COLOURS[k])
        for k, own in enumerate(values.T)
    ]
    return chart.drawn(chart.y_axis(ticks, "g"), chart.x_axis(words[::-1][::every]), *marks, label=label)
