"""Small static charts as SVG text: they open anywhere, ask nobody for anything and are drawn in milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INK = "#1c2430"
FAINT = "#6b7583"
GRID = "#e3e7ee"
_ABOVE, _BELOW, _LEFT, _RIGHT = 10, 24, 52, 10
_STEPS = ((0.8, (1, 1.5, 2, 3, 5, 7)), (2.5, (1, 2, 5)), (np.inf, (1,)))
"""Up to so many decades: what stands in each."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot area of ``width`` by ``height`` pixels over [x_low, x_high] and [y_low, y_high]; marks are SVG text."""

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]
    log_y: bool = False

    def across(self, values: Floats) -> Floats:
        """Pixels from the left."""
        low, high = self.x
        return _LEFT + (values - low) / ((high - low) or 1.0) * (self.width - _LEFT - _RIGHT)

    def down(self, values: Floats) -> Floats:
        """Pixels from the top; what lies outside the range is drawn at its edge."""
        low, high = (np.log(self.y[0]), np.log(self.y[1])) if self.log_y else self.y
        # Zero has no logarithm: it is drawn at the lower edge.
        with np.errstate(divide="ignore"):
            scaled = np.log(values) if self.log_y else values
        share = np.clip((scaled - low) / ((high - low) or 1.0), 0.0, 1.0)
        return self.height - _BELOW - share * (self.height - _ABOVE - _BELOW)

    def line(self, x: Floats, y: Floats, colour: str, *, width: float = 1.5, dash: str = "") -> str:
        """A line through the points; NaN breaks it."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        return (
            f'<path d="{_path(self.across(x), self.down(y))}" fill="none" stroke="{colour}" stroke-width="{width}"'
            f'{dashes} stroke-linejoin="round"/>'
        )

    def dots(self, x: Floats, y: Floats, colour: str) -> str:
        """A dot at each point."""
        places = zip(self.across(x), self.down(y), strict=True)
        return "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in places)

    def bars(self, edges: Floats, heights: Floats, colour: str) -> str:
        """A histogram: one bar between each two edges."""
        sides, tops = self.across(edges), self.down(heights)
        floor = self.height - _BELOW
        return "".join(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.5, 0.3):.1f}" '
            f'height="{max(floor - top, 0.0):.1f}" fill="{colour}"/>'
            for left, right, top in zip(sides[:-1], sides[1:], tops, strict=True)
        )

    def level(self, value: float, colour: str, *, dash: str = "") -> str:
        """A horizontal line."""
        return self.line(np.array(self.x), np.full(2, value), colour, width=1.0, dash=dash)

    def y_axis(self, ticks: Sequence[float], form: str) -> str:
        """Lines and numbers at ``ticks``, written as ``form`` says."""
        places = self.down(np.array(ticks, dtype=np.float64))
        return "".join(
            f'<path d="M{_LEFT} {place:.1f}H{self.width - _RIGHT}" stroke="{GRID}"/>'
            f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{escape(format(tick, form))}</text>'
            for tick, place in zip(ticks, places, strict=True)
        )

    def x_axis(self, ticks: Sequence[tuple[float, str]]) -> str:
        """Words below the plot area."""
        places = self.across(np.array([tick for tick, _ in ticks], dtype=np.float64))
        return "".join(
            f'<text x="{place:.1f}" y="{self.height - 7}" text-anchor="middle">{escape(word)}</text>'
            for (_, word), place in zip(ticks, places, strict=True)
        )

    def drawn(self, *marks: str, label: str) -> str:
        """The picture; ``label`` is what a screen reader says."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{escape(label)}" font-size="11" fill="{FAINT}">{"".join(marks)}</svg>'
        )


def round_ticks(low: float, high: float, *, count: int) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``."""
    span = (high - low) or 1.0
    power = 10.0 ** np.floor(np.log10(span / count))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= count)
    return [float(round(step * k, 12)) for k in range(int(np.ceil(low / step)), int(np.floor(high / step + 1e-9)) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from ``low`` to ``high``, with round numbers between them where there are few."""
    decades = float(np.log10(high / low))
    steps = next(steps for most, steps in _STEPS if decades < most)
    powers = range(int(np.floor(np.log10(low))), int(np.floor(np.log10(high))) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def _path(across: Floats, down: Floats) -> str:
    words: list[str] = []
    pen = "M"
    for x, y in zip(across, down, strict=True):
        if np.isnan(x) or np.isnan(y):
            pen = "M"
            continue
        words.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(words)
