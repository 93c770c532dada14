"""Binance's files and payloads as tables. Pure: bytes or JSON in, rows of a domain table out.

All parsers return rows sorted by unique keys. Rows that appear twice are taken once; where two rows under one key
differ, bars and funding refuse the file, open interest and ratios keep the later one in the file (those files are known
to repeat snapshots with corrected values).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import FUNDING_RATES, LONG_SHORT_RATIOS, OPEN_INTEREST, TIMESTAMP, Table
from tradecore_pipeline.exchanges.payloads import fields, listed, numbers, stamps
from tradecore_pipeline.exchanges.settlements import with_intervals
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

KLINE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
METRICS_COLUMNS = (
    "create_time",
    "symbol",
    "sum_open_interest",
    "sum_open_interest_value",
    "count_toptrader_long_short_ratio",
    "sum_toptrader_long_short_ratio",
    "count_long_short_ratio",
    "sum_taker_long_short_vol_ratio",
)
_METRICS = {OPEN_INTEREST.name: METRICS_COLUMNS[2:4], LONG_SHORT_RATIOS.name: METRICS_COLUMNS[4:]}
"""Where a table's columns after its key come from."""
FUNDING_COLUMNS = ("calc_time", "funding_interval_hours", "last_funding_rate")

_FIRST_MICROSECOND_STAMP = 100_000_000_000_000
"""1e14 ms is the year 5138, 1e14 us is 1973: files in microseconds are told apart by size, never by date."""

_LATEST_MS = 10_000_000_000_000
"""The year 2286: a time beyond it is in another unit."""
_MINUTE_MS = 60_000
_MOST_HOURS = 24
"""No settlement is further from the one before; a longer interval is a broken file."""
_SNAPSHOT_MS = 300_000
_LATE_SNAPSHOT_MS = 60_000
"""Snapshots stamped up to a minute after their 5-minute mark belong to it."""


def klines_csv(csv: bytes, name: str, *, table: Table) -> pa.Table:
    """1-minute rows of ``table`` from an archive file (with or without header, ms or us); ``name`` is for messages.

    Raises:
        InvalidDataError: malformed; the message names the file and line.
    """
    types = {field.name: field.type for field in table.schema if field.name != table.key}
    raw = _read_csv(csv, name=name, columns=KLINE_COLUMNS, types={"open_time": pa.int64()} | types)
    return _finish(table, raw.set_column(0, table.key, _milliseconds(raw.column("open_time"), name=name)), name=name)


def metrics_csv(csv: bytes, name: str, *, table: Table, symbol: str) -> pa.Table:
    """Open interest or ratios from a daily ``metrics`` file, which may repeat rows and mix their order.

    Rows without any value of ``table`` were not published and are left out. Snapshots stamped up to a minute late are
    put on their 5-minute mark.

    Raises:
        InvalidDataError: malformed, or of another symbol; the message names the file.
    """
    names = _METRICS[table.name]
    types = {"create_time": pa.timestamp("s"), "symbol": pa.string()} | dict.fromkeys(names, pa.float64())
    raw = _read_csv(csv, name=name, columns=METRICS_COLUMNS, types=types)
    others = [text for text in pc.unique(raw.column("symbol")).to_pylist() if text != symbol]
    if others:
        raise InvalidDataError(f"{name} holds rows of {others[0]!r} instead of {symbol}")
    if raw.column("create_time").null_count:
        raise InvalidDataError(f"{name}: create_time is empty in some row")
    needed = [source for source, column in zip(names, table.columns[1:], strict=True) if not column.nullable]
    raw = _published(raw, needed or names)
    times = epoch_ms(raw.column("create_time").cast(pa.timestamp("ms")))
    late = times % _SNAPSHOT_MS
    times = np.where(late <= _LATE_SNAPSHOT_MS, times - late, times)
    columns = [_timestamps(times), *(raw.column(source) for source in names)]
    return _finish(table, pa.Table.from_arrays(columns, names=table.schema.names), name=name, keep_last=True)


def _published(raw: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows with a value in some of the columns."""
    known = pc.is_valid(raw.column(names[0]))
    for name in names[1:]:
        known = pc.or_(known, pc.is_valid(raw.column(name)))
    return raw.filter(known)


def funding_csv(csv: bytes, name: str) -> pa.Table:
    """Settlements from a monthly ``fundingRate`` file; the first one's interval is the file's, the others' measured.

    Raises:
        InvalidDataError: malformed; the message names the file and line.
    """
    kinds = (pa.int64(), pa.float64(), pa.float64())
    types: dict[str, pa.DataType] = dict(zip(FUNDING_COLUMNS, kinds, strict=True))
    raw = _read_csv(csv, name=name, columns=FUNDING_COLUMNS, types=types)
    times = epoch_ms(_milliseconds(raw.column("calc_time"), name=name))
    rows = _settlements(times, raw.column("last_funding_rate"), name=name)
    if not rows.num_rows:
        return rows
    first = int(pc.index(raw.column("calc_time"), pc.min(raw.column("calc_time"))).as_py())
    hours = raw.column("funding_interval_hours")[first].as_py()
    if hours is not None and not 0 < hours <= _MOST_HOURS:
        raise InvalidDataError(f"{name}: funding_interval_hours is {hours}")
    return with_intervals(rows, first_minutes=None if hours is None else round(hours * 60))


def klines_json(payload: Any, *, table: Table, name: str) -> pa.Table:
    """1-minute rows of ``table`` from a REST ``klines`` or ``premiumIndexKlines`` reply.

    Raises:
        InvalidDataError: not a list of 12-element rows with the documented types.
    """
    kinds = (int, str, str, str, str, str, int, str, int, str, str, str)
    for number, row in enumerate(listed(payload, name=name)):
        if type(row) is not list or tuple(map(type, row)) != kinds:
            raise InvalidDataError(f"{name}: row {number} is not a bar: {str(row)[:120]}")
    names = (table.key, *KLINE_COLUMNS[1:])
    values: dict[str, Sequence[Any]] = dict(zip(names, zip(*payload, strict=True), strict=True)) if payload else {}
    columns = [_column(values.get(field.name, ()), field.type, name=name) for field in table.schema]
    return _finish(table, pa.Table.from_arrays(columns, names=table.schema.names), name=name)


def funding_json(payload: Any, *, name: str) -> pa.Table:
    """Settlements from a REST ``fundingRate`` reply; the first one's interval is unknown.

    Raises:
        InvalidDataError: not a list of objects with the documented fields and types.
    """
    kinds = {"fundingTime": int, "fundingRate": str}
    times, rates = fields(listed(payload, name=name), kinds, name=name)
    rows = _settlements(epoch_ms(stamps(times, name=name)), numbers(rates, pa.float64(), name=name), name=name)
    return with_intervals(rows, first_minutes=None)


def open_interest_json(payload: Any, *, name: str) -> pa.Table:
    """Open interest from a REST ``openInterestHist`` reply.

    Raises:
        InvalidDataError: not a list of objects with the documented fields and types.
    """
    kinds = {"timestamp": int, "sumOpenInterest": str, "sumOpenInterestValue": str}
    times, base, usd = fields(listed(payload, name=name), kinds, name=name)
    values = (numbers(texts, pa.float64(), name=name) for texts in (base, usd))
    columns = [stamps(times, name=name), *values]
    rows = pa.Table.from_arrays(columns, schema=OPEN_INTEREST.schema)
    return _finish(OPEN_INTEREST, rows, name=name, keep_last=True)


def _settlements(times: np.ndarray, rates: Any, *, name: str) -> pa.Table:
    """Stamps carry up to some 30 ms of jitter: the settlement is the minute they lie in."""
    columns = [_timestamps(times - times % _MINUTE_MS), rates, pa.nulls(len(times), pa.int32())]
    return _finish(FUNDING_RATES, pa.Table.from_arrays(columns, schema=FUNDING_RATES.schema), name=name)


def _read_csv(csv: bytes, *, name: str, columns: Sequence[str], types: dict[str, pa.DataType]) -> pa.Table:
    """The columns in ``types``, in that order; the header, where there is one, is checked and skipped."""
    if not csv.strip():
        raise InvalidDataError(f"{name} is empty")
    header = not csv[:1].isdigit()
    names = csv.partition(b"\n")[0].decode("utf-8", "replace").strip().split(",")
    if header and (len(names) != len(columns) or names[:2] != list(columns[:2])):
        raise InvalidDataError(f"{name}, line 1: expected the {len(columns)} columns {columns[0]}, {columns[1]}, ...")
    try:
        return pa_csv.read_csv(
            pa.BufferReader(csv),
            # One block makes one chunk, of which days are slices.
            read_options=pa_csv.ReadOptions(
                column_names=list(columns), skip_rows=int(header), use_threads=False, block_size=len(csv) + 1
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=False,
                timestamp_parsers=[pa_csv.ISO8601],
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return pa.schema(list(types.items())).empty_table()
        row = re.search(r"Row #(\d+)", str(error))
        raise InvalidDataError(f"{name}{f', line {row[1]}' if row else ''}: {error}") from error


def _finish(table: Table, rows: pa.Table, *, name: str, keep_last: bool = False) -> pa.Table:
    """Rows in the table's schema, sorted by unique keys. ``keep_last``: the last of rows that differ wins."""
    rows = rows.select(table.schema.names).cast(_nullable(table))
    steps = np.diff(epoch_ms(rows.column(table.key)))
    if (steps <= 0).any():
        rows = _sort_unique(table, rows, name=name, keep_last=keep_last)
    for column in table.columns:
        if not column.nullable and rows.column(column.name).null_count:
            raise InvalidDataError(f"{name}: {column.name} is empty in some row")
    return rows.cast(table.schema)


def _nullable(table: Table) -> pa.Schema:
    return pa.schema([pa.field(field.name, field.type) for field in table.schema])


def _sort_unique(table: Table, rows: pa.Table, *, name: str, keep_last: bool) -> pa.Table:
    keys = epoch_ms(rows.column(table.key))
    order = np.argsort(keys, kind="stable")
    rows, keys = rows.take(pa.array(order)), keys[order]
    repeated = np.flatnonzero(np.diff(keys) == 0)
    if not keep_last:
        for index in repeated.tolist():
            if not rows.slice(index, 1).equals(rows.slice(index + 1, 1)):
                stamp = rows.column(table.key)[index].as_py().isoformat()
                raise InvalidDataError(f"{name}: two different rows for {stamp}")
    last = np.ones(len(keys), dtype=bool)
    last[repeated] = False
    return rows.filter(pa.array(last))


def _milliseconds(times: pa.ChunkedArray, *, name: str) -> pa.Array:
    if times.null_count:
        raise InvalidDataError(f"{name}: {times.null_count} rows have no time")
    values = np.asarray(times.to_numpy(), dtype=np.int64)
    values = np.where(values >= _FIRST_MICROSECOND_STAMP, values // 1000, values)
    if ((values <= 0) | (values >= _LATEST_MS)).any():
        raise InvalidDataError(f"{name}: a time is neither in milliseconds nor in microseconds")
    return _timestamps(values)


def _timestamps(milliseconds: np.ndarray) -> pa.Array:
    return pa.array(milliseconds, type=pa.int64()).cast(TIMESTAMP)


def _column(values: Sequence[Any], kind: pa.DataType, *, name: str) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return stamps(values, name=name)
    if not pa.types.is_integer(kind):
        return numbers(values, kind, name=name)
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise InvalidDataError(f"{name}: {error}") from error
