"""What rows of market data must satisfy before they are stored, and the same as lists of problems for display."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

PRICES = ("open", "high", "low", "close")
MAX_FUNDING_RATE = 0.1
"""Exchanges cap a settlement at a few percent; ten percent can only be a wrong unit or a broken file."""

Problem = tuple[Any, str]
"""A boolean mask over the rows (true where wrong) and what is wrong there."""


def validate_rows(table: Table, rows: pa.Table, *, start: datetime, end: datetime) -> None:
    """Check that ``rows`` may be stored as ``table`` for the window [start, end).

    Schema and types, no nulls where none may be, keys strictly ascending, inside the window and on the table's grid,
    finite numbers, possible prices, amounts and funding rates.

    Raises:
        InvalidDataError: one line: the table, the first offending row's key, and what is wrong with it.
    """
    for problem in schema_problems(table, rows):
        raise InvalidDataError(f"{table.name}: {problem}")
    # In this order, one at a time: what follows relies on what was checked before.
    for mask, problem in chain(
        _null_problems(table, rows),
        _key_problems(table, rows, start=start, end=end),
        _value_problems(table, rows),
    ):
        for line in _first_line(table, rows, mask, problem):
            raise InvalidDataError(f"{table.name}: {line}")


def schema_problems(table: Table, rows: pa.Table) -> list[str]:
    """How the columns of ``rows`` differ from the table's schema (names, order, types); empty if they do not."""
    if rows.column_names != table.schema.names:
        return [f"columns are {', '.join(rows.column_names)} instead of {', '.join(table.schema.names)}"]
    return [
        f"column {field.name} is {rows.schema.field(field.name).type} instead of {field.type}"
        for field in table.schema
        if rows.schema.field(field.name).type != field.type
    ]


def ohlc_problems(table: Table, rows: pa.Table) -> list[str]:
    """One line per rule about values that some row breaks, with the first such row and how many there are."""
    problems = _value_problems(table, rows)
    return [line for mask, problem in problems for line in _first_line(table, rows, mask, problem)]


def _first_line(table: Table, rows: pa.Table, mask: Any, problem: str) -> Iterator[str]:
    """Yields nothing where no row is wrong; a null (an unknown comparison) counts as right."""
    if not pc.any(mask).as_py():
        return
    wrong = np.flatnonzero(pc.fill_null(mask, fill_value=False).to_numpy(zero_copy_only=False))
    key = rows.column(table.key)[int(wrong[0])].as_py()
    others = f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""
    stamp = "without key" if key is None else key.isoformat().replace("+00:00", "Z")
    yield f"row {stamp}: {problem}{others}"


def _null_problems(table: Table, rows: pa.Table) -> Iterator[Problem]:
    for column in table.columns:
        if not column.nullable and rows.column(column.name).null_count:
            yield pc.is_null(rows.column(column.name)), f"{column.name} is empty"


def _key_problems(table: Table, rows: pa.Table, *, start: datetime, end: datetime) -> Iterator[Problem]:
    keys = epoch_ms(rows.column(table.key))
    start_ms, end_ms = round(start.timestamp() * 1000), round(end.timestamp() * 1000)
    yield pa.array((keys < start_ms) | (keys >= end_ms)), f"lies outside [{start.isoformat()}, {end.isoformat()})"
    steps = np.diff(keys, prepend=keys[:1] - 1)
    yield pa.array(steps < 0), "comes after a later row"
    if table.unique_key:
        yield pa.array(steps == 0), "has the same key as the row before"
    if table.step is not None:
        step_ms = round(table.step.total_seconds() * 1000)
        yield pa.array(keys % step_ms != 0), f"is not on the grid of {step_ms // 60_000} min"


def _value_problems(table: Table, rows: pa.Table) -> Iterator[Problem]:
    for column in table.columns:
        values = rows.column(column.name)
        if pa.types.is_floating(column.type):
            yield pc.invert(pc.is_finite(values)), f"{column.name} is not a finite number"
        if column.name == "funding_rate":
            yield pc.greater(pc.abs(values), MAX_FUNDING_RATE), f"funding_rate is beyond +-{MAX_FUNDING_RATE}"
        elif column.name == "funding_interval_minutes":
            yield pc.less_equal(values, 0), "funding_interval_minutes is not positive"
        elif not column.signed and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            yield pc.less(values, 0), f"{column.name} is negative"
    if "open" in rows.column_names:
        yield from _price_problems(table, rows)


def _price_problems(table: Table, rows: pa.Table) -> Iterator[Problem]:
    """Decimals are compared as decimals: a tick of 1e-8 counts."""
    first, high, low, last = (rows.column(name) for name in PRICES)
    for column in table.columns:
        if pa.types.is_decimal(column.type):
            prices = rows.column(column.name)
            yield pc.less_equal(prices, pa.scalar(Decimal(0), type=prices.type)), f"{column.name} is not above zero"
    yield pc.greater(low, high), "low is above high"
    yield pc.or_kleene(pc.less(high, first), pc.less(high, last)), "high is below open or close"
    yield pc.or_kleene(pc.greater(low, first), pc.greater(low, last)), "low is above open or close"
