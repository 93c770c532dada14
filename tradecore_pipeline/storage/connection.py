"""DuckDB connections, and what comes out of them as a DataFrame."""

from collections.abc import Iterable

import duckdb
import pandas as pd
import pyarrow as pa

from tradecore_pipeline.storage.layout import Layout


def open_connection(layout: Layout) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB whose clock is UTC and that fetches nothing from the network."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute(f"SET temp_directory = {literal(str(layout.spill))}")
    return connection


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """``name`` as an SQL name."""
    return '"' + name.replace('"', '""') + '"'


def text_list(texts: Iterable[str]) -> str:
    """``texts`` as an SQL list of strings."""
    return "[" + ", ".join(literal(text) for text in texts) + "]"


def duckdb_type(kind: pa.DataType) -> str:
    """The DuckDB type that a stored column is shown as: prices, exact on disk, as the nearest double."""
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        return "DOUBLE"
    names = {pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.string(): "VARCHAR", pa.bool_(): "BOOLEAN"}
    names[pa.date32()] = "DATE"
    return names[kind]


def empty_select(columns: Iterable[tuple[str, str]]) -> str:
    """A SELECT of no rows with the (name, DuckDB type) ``columns``: what a table over no files is."""
    typed = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in columns)
    return f"SELECT {typed} WHERE false"


def to_frame(relation: duckdb.DuckDBPyRelation, key: str) -> pd.DataFrame:
    """The rows indexed by ``key`` (UTC, microseconds): floats as float64, integers as such where no row is null."""
    frame: pd.DataFrame = relation.to_arrow_table().to_pandas()
    return frame.set_index(key)


def first_line(error: Exception) -> str:
    """The first line of an error: what a person needs to read."""
    return str(error).strip().partition("\n")[0]
