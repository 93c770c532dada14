"""Columns of foreign values as rows of our tables, in the order of the file."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, TIMESTAMP, Table
from tradecore_pipeline.importing.columns import INTERVAL_HOURS
from tradecore_pipeline.importing.values import Place, counts, doubles, prices, require
from tradecore_pipeline.quality.checks import PRICES

_MINUTE_MS = 60_000
_SNAPSHOT_MS = 300_000
_INTERVAL = "funding_interval_minutes"
_LONGEST_INTERVAL_HOURS = 24


def table_rows(table: Table, stamps: np.ndarray, values: Mapping[str, pa.Array], place: Place) -> pa.Table:
    """The batch as rows of ``table``; ``stamps`` are its times in ms, columns it lacks are null.

    Raises:
        InvalidDataError: a value is no number, or is empty where it must not be.
    """
    if table is FUNDING_RATES:
        # Settlements carry some ms of jitter: each is of the minute it lies in.
        stamps = stamps - stamps % _MINUTE_MS
    elif table is OPEN_INTEREST:
        # Snapshots stamped up to a minute after their mark belong to it.
        late = stamps % _SNAPSHOT_MS
        stamps = np.where(late <= _MINUTE_MS, stamps - late, stamps)
    columns = [pa.array(stamps, type=pa.int64()).cast(TIMESTAMP)]
    for column in table.columns[1:]:
        if column.name == _INTERVAL:
            made = _interval_minutes(values, place)
        elif column.name not in values:
            made = pa.nulls(len(stamps), column.type)
        elif table is BARS_1M and column.name in PRICES:
            made = prices(values[column.name], place, name=column.name)
        elif pa.types.is_integer(column.type):
            made = counts(values[column.name], place, name=column.name)
        else:
            made = doubles(values[column.name], place, name=column.name)
        columns.append(made if column.nullable else require(made, place, name=column.name))
    return pa.Table.from_arrays(columns, schema=table.schema)


def _interval_minutes(values: Mapping[str, pa.Array], place: Place) -> pa.Array:
    if _INTERVAL in values:
        made = counts(values[_INTERVAL], place, name=_INTERVAL)
    elif INTERVAL_HOURS in values:
        hours = np.asarray(doubles(values[INTERVAL_HOURS], place, name=INTERVAL_HOURS).to_numpy(zero_copy_only=False))
        made = pa.array(np.round(np.clip(hours, -1, _LONGEST_INTERVAL_HOURS + 1) * 60), from_pandas=True).cast(
            pa.int64()
        )
    else:
        first = next(iter(values.values()))
        return pa.nulls(len(first), pa.int32())
    try:
        return made.cast(pa.int32())
    except pa.ArrowInvalid as error:
        raise InvalidDataError(f"{place.at(0)}: {_INTERVAL} is beyond any interval") from error
