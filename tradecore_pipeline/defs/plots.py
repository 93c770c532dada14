"""Small pictures for a partition's page in the UI: a few hundred bytes of SVG, inline."""

import base64
from collections.abc import Sequence

import dagster as dg

_WIDTH = 360
_HEIGHT = 60
_POINTS = 96
_MARGIN = 70


def sparkline(values: Sequence[float], label: str) -> dg.MarkdownMetadataValue:
    """A line through ``values`` (thinned to 96 points); ``label`` is what a screen reader says."""
    step = max(1, len(values) // _POINTS)
    thin = list(values[::step])
    low, high = min(thin), max(thin)
    height = (high - low) or 1.0
    across = _WIDTH / max(1, len(thin) - 1)
    points = " ".join(
        f"{i * across:.0f},{_HEIGHT - 4 - (v - low) / height * (_HEIGHT - 8):.1f}" for i, v in enumerate(thin)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + _MARGIN}" height="{_HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#4f7cff" stroke-width="1.5"/>'
        f'<g font-family="sans-serif" font-size="10" fill="#6b7280"><text x="{_WIDTH + 6}" y="12">{high:.6g}</text>'
        f'<text x="{_WIDTH + 6}" y="{_HEIGHT - 2}">{low:.6g}</text></g></svg>'
    )
    return dg.MetadataValue.md(f"![{label}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")
