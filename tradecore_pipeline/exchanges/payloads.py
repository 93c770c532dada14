"""From decoded JSON to rows of a domain table, trusting nothing. Pure; shared by the parsers of all exchanges.

Rows come out sorted by unique keys: a row that appears twice is taken once, two different ones under a key are
refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import FUNDING_RATES, TIMESTAMP, Table
from tradecore_pipeline.quality.checks import validate_rows
from tradecore_pipeline.quality.gaps import epoch_ms

Texts = Sequence[str | None] | pa.ChunkedArray
MINUTE_MS = 60_000
_EARLIEST_MS, _LATEST_MS = 1_230_768_000_000, 4_102_444_800_000
"""2009 to 2100: what lies outside is in another unit than milliseconds."""
_NO_TIME = timedelta(milliseconds=1)


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


def numbers(texts: Texts, kind: pa.DataType, *, name: str) -> pa.Array:
    """Numbers written as text: exact decimals or the nearest float; None stays null.

    Raises:
        InvalidDataError: one is no number, or does not fit.
    """
    try:
        whole: Any = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([pa.array(texts, pa.string())])
        return whole.cast(kind).combine_chunks()
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise InvalidDataError(f"{name}: {error}") from error


def stamps(values: Sequence[Any] | pa.ChunkedArray, *, name: str) -> pa.Array:
    """Milliseconds since 1970, as integers or as their digits.

    Raises:
        InvalidDataError: one is neither, or is no moment in milliseconds.
    """
    kinds = {str} if isinstance(values, pa.ChunkedArray) else {type(value) for value in values}
    if kinds <= {int}:
        sane = all(_EARLIEST_MS <= value <= _LATEST_MS for value in values)
        moments = pa.array(values if sane else [None], type=pa.int64())
    else:
        moments = numbers(values if kinds <= {str} else [None], pa.int64(), name=name)
    known = np.asarray(moments.drop_null())
    if moments.null_count or ((known < _EARLIEST_MS) | (known > _LATEST_MS)).any():
        shown = "a stamp" if isinstance(values, pa.ChunkedArray) else str(list(values[:3]))[:60]
        raise InvalidDataError(f"{name}: {shown} is not a moment in milliseconds")
    return moments.cast(TIMESTAMP)


def rows_of(table: Table, columns: Mapping[str, pa.Array], *, name: str) -> pa.Table:
    """The columns as rows of ``table``, sorted by unique keys; columns that are not given are null.

    Raises:
        InvalidDataError: two different rows share a key, or some row must not be stored.
    """
    count = len(columns[table.key])
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in table.schema]
    rows = _sorted_unique(table, pa.Table.from_arrays(arrays, schema=table.schema), name=name)
    if rows.num_rows:
        key = rows.column(table.key)
        try:
            # Whether they lie on the table's grid is asked where days are made of them.
            validate_rows(replace(table, step=None), rows, start=key[0].as_py(), end=key[-1].as_py() + _NO_TIME)
        except InvalidDataError as error:
            raise InvalidDataError(f"{name}: {error}") from error
    return rows


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
