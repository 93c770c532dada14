"""A user's own features in the lake: the shape of their table, and the document that says whose columns it has."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import Column, Table, features_table
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.storage.atomic import write_bytes
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout

OWN_FEATURES = "own_features"
DEFINITION = "definition"


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """What a column of the table is, in its author's words."""

    name: str
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class OwnDefinition:
    """Which version of which files the table's columns come from."""

    definition: str
    """Digest of the files and of what they declare: each row bears that of the version that computed it."""
    files: tuple[str, ...]
    columns: tuple[OwnColumn, ...]


def own_features_table(columns: Sequence[OwnColumn]) -> Table:
    """The table of a user's own features; NaN is stored as null."""
    ours = features_table([column.name for column in columns])
    told = {column.name: column for column in columns}
    shown = [
        replace(own, unit=told[own.name].unit, meaning=told[own.name].meaning) if own.name in told else own
        for own in ours.columns
    ]
    version = Column(DEFINITION, pa.string(), "digest", "of the version of the user's files that computed the row")
    return replace(
        ours,
        name=OWN_FEATURES,
        meaning="a user's own features (`feature_files`), known at ts_close; the view shows the rows of one version, "
        "the last that was computed",
        columns=(*shown[:2], version, *shown[2:]),
    )


def put_own_definition(layout: Layout, definition: OwnDefinition) -> None:
    """Say whose columns the views are to show from now on."""
    text = json.dumps(asdict(definition), sort_keys=True, separators=(",", ":"))
    write_bytes(layout.own_definition, f"{text}\n".encode())


def get_own_definition(layout: Layout) -> OwnDefinition | None:
    """Whose columns the views show; None where none were computed, or the document is damaged (a run mends it)."""
    try:
        kept: Any = json.loads(layout.own_definition.read_bytes())
        columns = tuple(OwnColumn(**column) for column in kept["columns"])
        return OwnDefinition(str(kept["definition"]), tuple(map(str, kept["files"])), columns)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def stored_definitions(
    lake: Lake, instrument: Instrument, days: Sequence[date], *, timeframe: Timeframe
) -> dict[date, str]:
    """Which version computed each of ``days`` (sorted) that is stored; empty for a day without rows.

    Raises:
        InvalidDataError: a file cannot be read.
    """
    table = own_features_table(())
    held = set(lake.days(table, instrument, timeframe=timeframe)).intersection(days)
    if not held:
        return {}
    rows = lake.read(
        table,
        instrument,
        day_start(min(held)),
        day_start(max(held)).replace(hour=23, minute=59),
        timeframe=timeframe,
        columns=[DEFINITION],
    )
    found = dict(zip((moment.date() for moment in rows.index), rows[DEFINITION], strict=True))
    return {day: str(found.get(day, "")) for day in days if day in held}
