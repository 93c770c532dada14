"""From decoded JSON to rows of a domain table, trusting nothing. Pure; shared by the parsers of all exchanges.

Rows come out sorted by unique keys: a row that appears twice is taken once, two different ones under a key are
refused.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import FUNDING_RATES, TIMESTAMP, Table
from tradecore_pipeline.quality.gaps import epoch_ms

MINUTE_MS = 60_000
_LATEST_MS = 10_000_000_000_000
"""The year 2286: a stamp beyond it is in another unit."""


def listed(payload: Any, *, name: str) -> list[Any]:
    """Strictly a list: a web page or a cut body reaches here as text.

    Raises:
        InvalidDataError: it is none.
    """
    if type(payload) is not list:
        raise InvalidDataError(f"{name} did not answer with a list: {str(payload)[:120]!r}")
    return payload


def fields(rows: Sequence[Any], kinds: dict[str, type], *, name: str) -> list[list[Any]]:
    """The named fields of JSON objects, one list per field.

    Raises:
        InvalidDataError: a row is no object, or lacks a field of that type.
    """
    for number, row in enumerate(rows):
        if type(row) is not dict or any(type(row.get(field)) is not kind for field, kind in kinds.items()):
            raise InvalidDataError(f"{name}: row {number} lacks {', '.join(kinds)}: {str(row)[:120]}")
    return [[row[field] for row in rows] for field in kinds]


def numbers(texts: Sequence[str | None], kind: pa.DataType, *, name: str) -> pa.Array:
    """Numbers written as text: exact decimals or the nearest float; None stays null.

    Raises:
        InvalidDataError: one is no number, or does not fit.
    """
    try:
        return pa.array(texts, type=pa.string()).cast(kind)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise InvalidDataError(f"{name}: {error}") from error


def stamps(values: Sequence[Any], *, name: str) -> pa.Array:
    """Milliseconds since 1970, as integers or as their digits.

    Raises:
        InvalidDataError: one is neither, or is no moment in milliseconds.
    """
    moments: list[int] = []
    for value in values:
        digits = str(value)
        known = type(value) in {int, str} and digits.isascii() and digits.isdigit() and len(digits) <= 13
        if not known or not 0 < int(digits) < _LATEST_MS:
            raise InvalidDataError(f"{name}: {digits[:40]!r} is not a moment in milliseconds")
        moments.append(int(digits))
    return pa.array(moments, type=pa.int64()).cast(TIMESTAMP)


def rows_of(table: Table, columns: dict[str, pa.Array], *, name: str) -> pa.Table:
    """The columns as rows of ``table``, sorted by unique keys; columns that are not given are null.

    Raises:
        InvalidDataError: a value is missing that must not be, or two different rows share a key.
    """
    count = len(columns[table.key])
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in table.schema]
    rows = pa.Table.from_arrays(arrays, names=table.schema.names)
    for column in table.columns:
        if not column.nullable and rows.column(column.name).null_count:
            raise InvalidDataError(f"{name}: {column.name} is empty in some row")
    return _sorted_unique(table, rows, name=name).cast(table.schema)


def settlements(moments: pa.Array, rates: pa.Array, *, name: str) -> pa.Table:
    """Funding settlements without intervals. Stamps are some ms late: the settlement is the minute they lie in."""
    late = epoch_ms(moments)
    minutes = pa.array(late - late % MINUTE_MS, type=pa.int64()).cast(TIMESTAMP)
    return rows_of(FUNDING_RATES, {"ts_settle": minutes, "funding_rate": rates}, name=name)


def within(rows: pa.Table, table: Table, *, first: datetime | None, last: datetime | None, name: str) -> pa.Table:
    """``rows``, if all their keys lie in [first, last]: a page of another window is not what was asked for.

    None is no bound.

    Raises:
        InvalidDataError: they do not.
    """
    keys = epoch_ms(rows.column(table.key))
    early = first is not None and len(keys) > 0 and int(keys[0]) < round(first.timestamp() * 1000)
    late = last is not None and len(keys) > 0 and int(keys[-1]) > round(last.timestamp() * 1000)
    if early or late:
        raise InvalidDataError(f"{name} answered with rows outside {first} .. {last}: the window was ignored")
    return rows


def _sorted_unique(table: Table, rows: pa.Table, *, name: str) -> pa.Table:
    keys = epoch_ms(rows.column(table.key))
    if (np.diff(keys) > 0).all():
        return rows
    order = np.argsort(keys, kind="stable")
    rows, keys = rows.take(pa.array(order)), keys[order]
    repeated = np.flatnonzero(np.diff(keys) == 0)
    for index in repeated.tolist():
        if not rows.slice(index, 1).equals(rows.slice(index + 1, 1)):
            stamp = rows.column(table.key)[index].as_py().isoformat()
            raise InvalidDataError(f"{name}: two different rows for {stamp}")
    kept = np.ones(len(keys), dtype=bool)
    kept[repeated] = False
    return rows.filter(pa.array(kept))
