"""Parquet days as a DataFrame: each file is read once, so that a day replaced meanwhile is old or new, never a mix."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, repeat
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.storage.scaling import nearest_doubles

_BATCH = 128
"""Files whose values are converted together: fewer cost more calls, more no longer fit into the processor's cache."""
_THREADS = 2
"""A third one only waits for Python itself, which is busy between two files."""

Part = np.ndarray | pa.ChunkedArray
"""Some files' values of one column: as numpy holds numbers and moments, as Arrow holds the rest."""


def decode_days(table: Table, paths: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """The rows of the files ``paths``, in order, indexed by the table's key (UTC, microseconds).

    Not by DuckDB: it opens a file twice in one scan, once for the footer and once for the rows, and fails where the
    file was replaced in between.

    Raises:
        InvalidDataError: a file is torn, or lacks one of ``columns``.
    """
    schema = pa.schema([table.schema.field(name) for name in columns])
    batches = [paths[first : first + _BATCH] for first in range(0, max(len(paths), 1), _BATCH)]
    if len(batches) == 1:
        parts = [_batch(batches[0], schema)]
    else:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="decode") as pool:
            parts = list(pool.map(_batch, batches, repeat(schema)))
    values = {name: _whole([batch[place] for batch in parts]) for place, name in enumerate(schema.names)}
    index = pd.DatetimeIndex(values.pop(table.key), name=table.key)
    # Without a copy each column stays a block of its own: years of minutes are held once, not twice.
    return pd.DataFrame(values, index=index, copy=False)


def _batch(paths: Sequence[str], schema: pa.Schema) -> list[Part]:
    read = [_read(path, schema) for path in paths] or [schema.empty_table()]
    return [_part([chunk for rows in read for chunk in rows.column(f.name).chunks], f.type) for f in schema]


def decode_day(path: str, schema: pa.Schema) -> pa.Table:
    """The rows of one file in the table's types (exact prices), with the columns of ``schema``.

    Raises:
        InvalidDataError: the file is torn, or lacks a column.
    """
    rows = _read(path, schema)
    return pa.table([_typed(rows.column(field.name), field.type) for field in schema], schema=schema)


def _read(path: str, schema: pa.Schema) -> pa.Table:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (thousands of files: Path objects would be a tenth of the time)
            data = file.read()
        rows = pq.ParquetFile(pa.BufferReader(data)).read(columns=schema.names, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidDataError(f"{path} cannot be read, materialize that day again: {_first_line(error)}") from error
    found = set(rows.column_names)
    if missing := [name for name in schema.names if name not in found]:
        raise InvalidDataError(f"{path} lacks {', '.join(missing)}: materialize that day again")
    return rows


def _typed(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A file may hold floats as decimals, and decimals at a smaller scale than the table's."""
    if pa.types.is_floating(kind) and pa.types.is_decimal(values.type):
        doubles = [pa.array(nearest_doubles(chunk), from_pandas=True) for chunk in values.chunks]
        return pa.chunked_array(doubles, type=kind)
    return values.cast(kind)


def _part(chunks: list[pa.Array], kind: pa.DataType) -> Part:
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        # Each file has a scale of its own.
        runs = [pa.concat_arrays(list(run)) for _, run in groupby(chunks, key=lambda chunk: chunk.type)]
        return np.concatenate([np.empty(0), *(_doubles(run) for run in runs)])
    if pa.types.is_timestamp(kind):
        return pa.concat_arrays([pa.array([], kind), *chunks]).to_numpy(zero_copy_only=False)
    return pa.chunked_array([chunk.cast(kind) for chunk in chunks], type=kind)


def _doubles(values: pa.Array) -> np.ndarray:
    return nearest_doubles(values) if pa.types.is_decimal(values.type) else values.to_numpy(zero_copy_only=False)


def _whole(parts: list[Part]) -> Any:
    """A column as pandas takes it without a copy: moments in UTC and microseconds, nulls of whole numbers as NaN."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if arrays:
        values = np.concatenate(arrays)
        return pd.DatetimeIndex(values.astype("M8[us]", copy=False), tz="UTC") if values.dtype.kind == "M" else values
    whole: Any = parts[0] if len(parts) == 1 else pa.chunked_array([c for part in parts for c in _chunks(part)])
    return whole.to_pandas().array


def _chunks(part: Any) -> list[pa.Array]:
    return part.chunks or [pa.array([], part.type)]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
