"""Columns from any of OKX's payloads as validated rows of a domain table."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import TIMESTAMP, Table
from tradecore_pipeline.quality.checks import validate_rows
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_EARLIEST_MS = 1_483_228_800_000
_LATEST_MS = 4_102_444_800_000
"""2017 to 2100: stamps in other units than milliseconds lie outside."""
_NO_TIME = timedelta(milliseconds=1)

Texts = Sequence[str | None] | pa.ChunkedArray


def stamps(values: Texts, *, name: str) -> pa.Array:
    """Epoch milliseconds written as text.

    Raises:
        InvalidDataError: not whole numbers, or not of this century.
    """
    numbers = typed(values, pa.int64(), name=name)
    if numbers.null_count:
        raise InvalidDataError(f"{name}: a row has no time")
    known = np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.int64)
    if len(known) and (known.min() < _EARLIEST_MS or known.max() > _LATEST_MS):
        raise InvalidDataError(f"{name}: a time is not in milliseconds since 1970")
    return numbers.cast(TIMESTAMP)


def typed(values: Texts, kind: pa.DataType, *, name: str) -> pa.Array:
    """Texts as ``kind``: exact decimals, the nearest floats; None stays null.

    Raises:
        InvalidDataError: some text is no such number.
    """
    try:
        texts: Any = (
            values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, type=pa.string())])
        )
        return texts.cast(kind).combine_chunks()
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise InvalidDataError(f"{name}: {error}") from error


def table_of(table: Table, columns: Mapping[str, pa.Array], *, name: str) -> pa.Table:
    """Rows sorted by unique keys; identical repetitions are taken once, absent nullable columns are null.

    Raises:
        InvalidDataError: two rows under one key differ, or some row must not be stored.
    """
    count = len(columns[table.key])
    arrays = [columns.get(column.name, pa.nulls(count, column.type)) for column in table.columns]
    rows = pa.Table.from_arrays(arrays, schema=table.schema)
    keys = epoch_ms(rows.column(table.key))
    if (np.diff(keys) <= 0).any():
        rows = _sort_unique(table, rows, keys, name=name)
    if rows.num_rows:
        key = rows.column(table.key)
        try:
            validate_rows(table, rows, start=key[0].as_py(), end=key[-1].as_py() + _NO_TIME)
        except InvalidDataError as error:
            raise InvalidDataError(f"{name}: {error}") from error
    return rows


def _sort_unique(table: Table, rows: pa.Table, keys: np.ndarray, *, name: str) -> pa.Table:
    order = np.argsort(keys, kind="stable")
    rows, keys = rows.take(pa.array(order)), keys[order]
    repeated = np.flatnonzero(np.diff(keys) == 0)
    for index in repeated.tolist():
        if not rows.slice(index, 1).equals(rows.slice(index + 1, 1)):
            stamp = rows.column(table.key)[index].as_py().isoformat()
            raise InvalidDataError(f"{name}: two different rows for {stamp}")
    first = np.ones(len(keys), dtype=bool)
    first[repeated + 1] = False
    return rows.filter(pa.array(first))


def amounts(
    contracts: pa.Array, coins: pa.Array, quotes: pa.Array, *, contract_base: Decimal
) -> tuple[pa.Array, pa.Array]:
    """Volume in coins and in quote currency.

    Old rows tell contracts only, the other two being empty or zero: coins then are contracts times ``contract_base``
    (coins per contract), and the value is unknown.
    """
    traded = pc.greater(contracts, 0.0)
    untold = pc.or_kleene(pc.is_null(coins), pc.and_kleene(traded, pc.equal(coins, 0.0)))
    if pc.any(untold).as_py():
        # In decimals, so that the result is the very number that rows with coins would tell.
        counted = [
            None if count is None or not math.isfinite(count) else float(Decimal(repr(count)) * contract_base)
            for count in contracts.to_pylist()
        ]
        coins = pc.if_else(untold, pa.array(counted, type=pa.float64()), coins)
    quotes = pc.if_else(pc.and_kleene(traded, pc.equal(quotes, 0.0)), pa.scalar(None, pa.float64()), quotes)
    return coins, quotes
