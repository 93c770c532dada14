"""One HTML page of what a home holds: for each instrument and dataset a calendar of years, a colour per day's state."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.offers import offered
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.storage.coverage import DayState, State, day_states, known_days
from tradecore_pipeline.storage.failures import Failures
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger

COLOURS = {
    State.DONE: "#56a0e0",
    State.GAP: "#f08c00",
    State.RESTATED: "#4a2fb0",
    State.INCOMPLETE: "#ffe45c",
    State.DAMAGED: "#882277",
    State.FAILED: "#d11a2a",
    State.MISSING: "#0d1117",
    State.NOT_PUBLISHED: "#9c9fa6",
    State.BEFORE_LISTING: "#e3e7ed",
}
"""In the order of the legend; told apart by colour-blind readers, by lightness where not by hue."""

_MEANINGS = {
    State.DONE: "final, with all its rows",
    State.GAP: "final; the exchange did not publish some rows of it",
    State.RESTATED: "final; its source replaced rows that were final before",
    State.INCOMPLETE: "stored, with more to come",
    State.DAMAGED: "what was noted of it cannot be read: tradecore repair",
    State.FAILED: "the last attempt to fetch it failed",
    State.MISSING: "never stored",
    State.NOT_PUBLISHED: "final; the exchange has no rows of it",
    State.BEFORE_LISTING: "final; the instrument did not exist yet",
}
_PLACES = {state: place for place, state in enumerate(COLOURS)}


@dataclass(frozen=True, slots=True)
class Panel:
    """One dataset of one instrument, its days consecutive; none where nothing was ever stored or tried."""

    instrument: Instrument
    table: Table
    days: Sequence[DayState]


def write_coverage_report(
    layout: Layout, instruments: Sequence[Instrument], *, generated_at: datetime, path: Path | None
) -> Path:
    """Write the page and return where it is (in the home's ``reports`` unless ``path`` says).

    Raises:
        MissingInputError: nothing was ever stored or tried.
    """
    panels = coverage_panels(layout, instruments)
    if not any(panel.days for panel in panels):
        raise MissingInputError("nothing is stored yet: run `tradecore backfill` first")
    page = coverage_page(panels, generated_at=generated_at, market=Ledger(layout).market() or REAL_MARKET)
    target = path or layout.coverage_report()
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def coverage_panels(layout: Layout, instruments: Sequence[Instrument]) -> list[Panel]:
    """Every dataset that ``instruments`` can have; those of one instrument over the same days, known to any of them."""
    ledger, failures = Ledger(layout), Failures(layout)
    panels: list[Panel] = []
    for instrument in instruments:
        extents = {table.name: known_days(ledger, failures, instrument, table) for table in offered(instrument)}
        ends = [day for extent in extents.values() if extent is not None for day in extent]
        for table in offered(instrument):
            known = extents[table.name] is not None
            days = day_states(ledger, failures, instrument, table, min(ends), max(ends)) if known else ()
            panels.append(Panel(instrument, table, days))
    return panels


def coverage_page(panels: Sequence[Panel], *, generated_at: datetime, market: str) -> str:
    """The page as text; plotly.js is inside, so that it opens offline."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 (the page alone needs plotly)

    simulated = market != REAL_MARKET
    empty = [panel for panel in panels if not panel.days]
    panels = [panel for panel in panels if panel.days]
    parts = {
        "badge": '<span class="simulated">SIMULATED</span>' if simulated else "",
        "subtitle": escape(
            (f"A {market} market" if simulated else "Market data of the exchanges")
            + f", as it stood on {generated_at:%Y-%m-%d %H:%M} UTC. Days are UTC."
        ),
        "legend": _legend(panels),
        "totals": _totals(panels),
        "sections": "".join(_section(place, panel, panels) for place, panel in enumerate(panels)),
        "empty": _empty(empty),
        "data": _data(panels),
        "plotly": get_plotlyjs(),
    }
    page = (files("tradecore_pipeline.serving") / "coverage_report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)


def _legend(panels: Sequence[Panel]) -> str:
    count = Counter(day.state for panel in panels for day in panel.days)
    return "".join(
        f'<button type="button" aria-pressed="false" title="{escape(_MEANINGS[state])}"'
        f"{'' if count[state] else ' disabled'}>{_key(state)}{state.value}<b>{count[state]:,}</b></button>"
        for state in COLOURS
    )


def _key(state: State) -> str:
    return f'<span class="key" style="background:{COLOURS[state]}"></span>'


def _totals(panels: Sequence[Panel]) -> str:
    head = ["instrument", "dataset", "rows", "missing rows", *(f"{_key(state)}{state.value}" for state in COLOURS)]
    rows: list[str] = []
    for panel in panels:
        count = Counter(day.state for day in panel.days)
        figures = [sum(day.rows for day in panel.days), sum(day.missing for day in panel.days)]
        figures += [count[state] for state in COLOURS]
        cells = "".join(f"<td>{figure:,}</td>" if figure else '<td class="none">0</td>' for figure in figures)
        rows.append(f"<tr><td>{escape(str(panel.instrument))}</td><td>{escape(panel.table.name)}</td>{cells}</tr>")
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{''.join(rows)}</table>"


def _section(place: int, panel: Panel, panels: Sequence[Panel]) -> str:
    begins = place == 0 or panels[place - 1].instrument != panel.instrument
    title = f"<h2>{escape(str(panel.instrument))}</h2>" if begins else ""
    name = escape(panel.table.name)
    span = f"{panel.days[0].day} to {panel.days[-1].day}"
    return f'{title}<h3>{name}<small>{escape(_meaning(panel.table))}, {span}</small></h3><div id="{_id(place)}"></div>'


def _empty(panels: Sequence[Panel]) -> str:
    """One line that names what could be there and is not."""
    named = ", ".join(f"{panel.table.name} of {panel.instrument}" for panel in panels)
    return f"<p>Nothing stored yet: {escape(named)}.</p>" if named else ""


def _meaning(table: Table) -> str:
    """The first part of a table's meaning: enough for a heading."""
    return table.meaning.partition(";")[0].partition(":")[0].partition(",")[0]


def _id(place: int) -> str:
    return f"panel-{place}"


def _data(panels: Sequence[Panel]) -> str:
    """What the page draws, as JSON that cannot end its script element: days alike in a row are one run."""
    texts: dict[str, int] = {"": 0}
    drawn: list[dict[str, Any]] = [
        {"id": _id(place), "first": panel.days[0].day.isoformat(), "runs": _runs(panel.days, texts)}
        for place, panel in enumerate(panels)
    ]
    states = [{"name": state.value, "colour": colour} for state, colour in COLOURS.items()]
    document = {"states": states, "texts": list(texts), "panels": drawn}
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")


def _runs(days: Sequence[DayState], texts: dict[str, int]) -> list[list[int]]:
    """Runs of days: state, number of days, rows and missing rows of each, and where its reason and source stand."""
    runs: list[list[int]] = []
    for values, alike in groupby(days, key=lambda day: (day.state, day.rows, day.missing, day.reason, day.source)):
        state, rows, missing, reason, source = values
        places = [texts.setdefault(text, len(texts)) for text in (reason, source)]
        runs.append([_PLACES[state], sum(1 for _ in alike), rows, missing, *places])
    return runs
