"""One day of rows as the bytes of a Parquet file: the same rows give the same bytes.

Each file keeps its numbers at a scale of its own (see ``scaling``): readers bring them back to the table's types.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.scaling import narrowed

Rows = pa.Table | pd.DataFrame


@dataclass(frozen=True)
class EncodedDay:
    """A Parquet file in memory."""

    data: bytes
    rows: int

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def encode_day(table: Table, day: date, rows: Rows) -> EncodedDay:
    """The Parquet file of ``rows``.

    Args:
        table: the table they belong to.
        day: the UTC day that every key lies in.
        rows: an Arrow table with exactly the table's columns, or a DataFrame with the key as its UTC index (or as a
            column), where NaN means null.

    Raises:
        InvalidDataError: a column is missing, unexpected or of the wrong type, a value is null or not finite where it
            must not be, or the keys are not increasing within the day (not decreasing, where rows may share one).
    """
    schema, columns = table.schema, _columns(table, rows)
    _check_names(table, schema, columns)
    stored = [_cast(table, field, columns[field.name]) for field in schema]
    keys = stored[schema.get_field_index(table.key)]
    _check_keys(table, day, keys)
    return EncodedDay(_parquet(table, schema, stored), len(keys))


def _columns(table: Table, rows: Rows) -> Mapping[str, pa.ChunkedArray]:
    if isinstance(rows, pa.Table):
        return dict(zip(rows.column_names, rows.columns, strict=True))
    frame = rows.reset_index() if rows.index.name == table.key else rows
    try:
        return {str(name): arrow_column(cast("pd.Series", frame[name])) for name in frame.columns}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidDataError(f"{table.name} rows mix types: {_first_line(error)}: nothing was stored") from error


def arrow_column(values: pd.Series) -> pa.ChunkedArray:
    """A DataFrame's column as Arrow holds it: NaN as null, moments in UTC."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        naive = pa.array(values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), from_pandas=True)
        return pa.chunked_array([naive.cast(pa.timestamp(naive.type.unit, tz="UTC"))])
    made = pa.array(values, from_pandas=True)
    return made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])


def _check_names(table: Table, schema: pa.Schema, columns: Mapping[str, pa.ChunkedArray]) -> None:
    wanted = set(schema.names)
    if missing := sorted(wanted - columns.keys()):
        raise InvalidDataError(f"{table.name} rows lack {', '.join(missing)}: nothing was stored")
    if unexpected := sorted(columns.keys() - wanted):
        raise InvalidDataError(f"{table.name} has no column {', '.join(unexpected)}: nothing was stored")


def _cast(table: Table, field: pa.Field, column: pa.ChunkedArray) -> pa.Array:
    values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    name = f"{table.name}.{field.name}"
    if pa.types.is_timestamp(field.type) and not (pa.types.is_timestamp(values.type) and values.type.tz):
        raise InvalidDataError(f"{name} is {values.type}, not a UTC timestamp: nothing was stored")
    known = values.drop_null() if values.null_count else values
    if pa.types.is_floating(values.type) and not np.isfinite(known.to_numpy()).all():
        raise InvalidDataError(f"{name} holds values that are not finite numbers: nothing was stored")
    try:
        made = values if values.type == field.type else values.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidDataError(f"{name} is not {field.type}: {_first_line(error)}: nothing was stored") from error
    if made.null_count and not field.nullable:
        raise InvalidDataError(f"{name} is empty in {made.null_count} of {len(made)} rows: nothing was stored")
    return made


def _check_keys(table: Table, day: date, keys: pa.Array) -> None:
    moments = keys.cast(pa.int64()).to_numpy()
    first = int(day_start(day).timestamp() * 1000)
    day_ms = timedelta(days=1) // timedelta(milliseconds=1)
    if len(moments) and not (first <= moments.min() and moments.max() < first + day_ms):
        raise InvalidDataError(f"{table.name} of {day} holds rows of another day: nothing was stored")
    if (moments[1:] < moments[:-1]).any() or (table.unique_key and (moments[1:] == moments[:-1]).any()):
        raise InvalidDataError(f"{table.name} of {day}: {table.key} is repeated or out of order: nothing was stored")


def _parquet(table: Table, schema: pa.Schema, stored: Sequence[pa.Array]) -> bytes:
    columns = [_narrowed(values) for values in stored]
    fields = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    integers = [field.name for field in fields if _is_integer(field.type)]
    floats = [field.name for field in fields if pa.types.is_floating(field.type)]
    options: dict[str, Any] = {
        # Integers as their deltas, floats as split bytes: the smallest of those measured on real bars. Deltas are not
        # compressed again: that gains nothing and costs a third of the time to read them.
        "column_encoding": dict.fromkeys(integers, "DELTA_BINARY_PACKED") | dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        "compression": {_leaf(field): "zstd" for field in fields if field.name not in integers},
        "use_dictionary": [field.name for field in fields if pa.types.is_string(field.type)],
        "store_decimal_as_integer": True,
        # A day is read whole: only the key's range helps a reader to skip the file. The embedded Arrow schema says
        # nothing that Parquet's own types do not. Both would add a byte a row to a day of minutes.
        "write_statistics": [table.key],
        "store_schema": False,
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=pa.schema(fields)), sink, **options)
    return sink.getvalue().to_pybytes()


def _narrowed(values: pa.Array) -> pa.Array:
    return narrowed(values) if pa.types.is_decimal(values.type) or pa.types.is_float64(values.type) else values


def _is_integer(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def _leaf(field: pa.Field) -> str:
    """How Parquet calls the column that holds a field's values."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
