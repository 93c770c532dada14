"""Parquet days as a DataFrame: each file is read once, so that a day replaced meanwhile is old or new, never a mix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import Table

_MOMENT = pa.timestamp("us", tz="UTC")
_EXACT_UNITS = 2**53


def decode_days(table: Table, paths: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """The rows of the files ``paths``, in order, indexed by the table's key (UTC, microseconds).

    Not by DuckDB: it opens a file twice in one scan, once for the footer and once for the rows, and fails where the
    file was replaced in between.

    Raises:
        InvalidDataError: a file is torn, or lacks one of ``columns``.
    """
    schema = pa.schema([table.schema.field(name) for name in columns])
    read = [decode_day(path, schema) for path in paths]
    rows = pa.concat_tables(read) if read else schema.empty_table()
    return pa.table({name: _shown(rows.column(name)) for name in columns}).to_pandas().set_index(table.key)


def decode_day(path: str, schema: pa.Schema) -> pa.Table:
    """The rows of one file as they are stored, with the columns of ``schema``.

    Raises:
        InvalidDataError: the file is torn, or lacks a column.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(Path(path).read_bytes())) as file:
            rows = file.read(columns=schema.names, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidDataError(f"{path} cannot be read, materialize that day again: {_first_line(error)}") from error
    if missing := [name for name in schema.names if name not in rows.column_names]:
        raise InvalidDataError(f"{path} lacks {', '.join(missing)}: materialize that day again")
    return rows.select(schema.names).cast(schema)


def _shown(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_decimal(values.type):
        return pa.chunked_array([pa.array(_nearest_doubles(values))])
    return values.cast(_MOMENT) if pa.types.is_timestamp(values.type) else values


def _nearest_doubles(prices: pa.ChunkedArray) -> np.ndarray:
    """Arrow's own cast misses the nearest double in one price of eight, by one unit in the last place."""
    scale = 10**prices.type.scale
    parts = [_units(chunk) for chunk in prices.chunks]
    units = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    if len(units) and np.abs(units).max() > _EXACT_UNITS:
        return np.array([int(unit) / scale for unit in units])
    # Both are exact doubles, so that the division rounds once.
    return units / scale


def _units(chunk: pa.Array) -> np.ndarray:
    """The integers behind decimals of at most 18 digits: the low halves of their 16 bytes."""
    values = chunk.buffers()[1]
    halves = np.frombuffer(values, dtype="<i8") if values is not None else np.empty(0, dtype=np.int64)
    return halves[::2][chunk.offset : chunk.offset + len(chunk)]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
