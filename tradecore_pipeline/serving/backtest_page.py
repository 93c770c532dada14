"""The frame of a backtest's pages: one file with plotly.js inside, light or dark as the reader's system is."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from tradecore_pipeline.storage.atomic import replacing

BADGE = '<span class="simulated">SIMULATED</span>'


class Pictures:
    """The charts of one page, drawn one after the other once it is open."""

    def __init__(self) -> None:
        self._drawn: dict[str, dict[str, Any]] = {}

    def place(self, name: str, figure: go.Figure) -> str:
        """Keeps ``figure`` and returns the element it will be drawn in."""
        plain: dict[str, Any] = figure.to_dict()
        # Colours of text, lines and grids are the page's.
        plain["layout"].pop("template", None)
        self._drawn[name] = plain
        return f'<div class="chart" id="{name}" style="height:{figure.layout.height:.0f}px"></div>'

    def as_json(self) -> str:
        """All of them; no text in it can end the script that holds it."""
        return str(to_json_plotly(self._drawn)).replace("<", "\\u003c")


def page(parts: Mapping[str, str], pictures: Pictures) -> str:
    """The whole page; ``parts`` (HTML) are ``title``, ``badge``, ``subtitle`` and ``body``."""
    shell = (files("tradecore_pipeline.serving") / "backtest_report.html").read_text(encoding="utf-8")
    filled = {**parts, "library": get_plotlyjs(), "figures": pictures.as_json()}
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], shell)


def write_page(text: str, path: Path) -> Path:
    """Writes a page to ``path`` at once and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.absolute()) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
