"""The lake: one Parquet file per table, instrument and UTC day, and one JSON document per kind and month."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.tables import BARS_1M, GAPS, Table
from tradecore_pipeline.domain.time import Timeframe, day_range
from tradecore_pipeline.storage.atomic import listed_names, write_bytes
from tradecore_pipeline.storage.decoding import decode_day, decode_days
from tradecore_pipeline.storage.encoding import EncodedDay, Rows, encode_day
from tradecore_pipeline.storage.layout import PARQUET, Layout, day_name, named_day

_FEW_DAYS = timedelta(days=200)
"""Windows shorter than this look for each day's file; listing years of names would take longer than reading a day."""


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A published file."""

    path: Path
    rows: int
    bytes: int
    sha256: str


class Lake:
    """The files under one layout. Safe to use from many threads and processes at once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def publish(
        self, table: Table, instrument: Instrument, day: date, rows: Rows, *, timeframe: Timeframe | None
    ) -> StoredDay:
        """Replace one day of a table, all at once; zero rows make a typed empty file.

        Raises:
            InvalidDataError: the rows break the table's contract (see ``encode_day``); nothing was stored.
            UsageError: the table needs a timeframe and got none, or the other way round.
        """
        return self.publish_encoded(table, instrument, day, encode_day(table, day, rows), timeframe=timeframe)

    def publish_encoded(
        self, table: Table, instrument: Instrument, day: date, encoded: EncodedDay, *, timeframe: Timeframe | None
    ) -> StoredDay:
        """Replace one day of a table by what ``encode_day`` made of its rows."""
        _check_timeframe(table, timeframe)
        path = self.layout.day(table.name, instrument, day, timeframe=timeframe)
        write_bytes(path, encoded.data)
        return StoredDay(path, encoded.rows, len(encoded.data), encoded.sha256)

    def publish_gaps(self, dataset: str, instrument: Instrument, *, day: date, gaps: Sequence[Gap]) -> None:
        """Replace the gap table of one day of ``dataset``.

        A day that never had a gap has no file. A repaired day keeps an empty one: it may be listed in a database that
        someone has open, and a listed file must stay readable.
        """
        path = self.layout.gaps_day(dataset, instrument, day)
        if not gaps and not path.exists():
            return
        rows = pa.Table.from_pylist(
            [
                {
                    "dataset": dataset,
                    "first_missing": gap.first_missing,
                    "last_missing": gap.last_missing,
                    "missing": gap.missing,
                }
                for gap in gaps
            ],
            schema=GAPS.schema,
        )
        write_bytes(path, encode_day(GAPS, day, rows).data)

    def days(self, table: Table, instrument: Instrument, *, timeframe: Timeframe | None = None) -> list[date]:
        """The days that have a file, in order."""
        _check_timeframe(table, timeframe)
        directory = self.layout.series(table.name, instrument, timeframe=timeframe)
        return [named_day(name) for name in listed_names(directory, PARQUET)]

    def rows(self, table: Table, instrument: Instrument, day: date, *, timeframe: Timeframe | None = None) -> pa.Table:
        """One day as it is stored (exact prices).

        Raises:
            InvalidDataError: the file cannot be read, or lacks a column of ``table``.
            MissingInputError: the day is not stored.
        """
        _check_timeframe(table, timeframe)
        path = self.layout.day(table.name, instrument, day, timeframe=timeframe)
        if not path.exists():
            raise MissingInputError(f"{table.name} of {instrument} on {day} is not stored: materialize it first")
        return decode_day(str(path), table.schema)

    def holds(self, table: Table, instrument: Instrument, day: date, *, sha256: str) -> bool:
        """Whether a day's file of a table without timeframes is there, byte for byte as it was published."""
        path = self.layout.day(table.name, instrument, day, timeframe=None)
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        except FileNotFoundError:
            return False

    def stored_at(
        self, table: Table, instrument: Instrument, day: date, *, timeframe: Timeframe | None = None
    ) -> datetime | None:
        """When one day's file was last replaced (UTC, by this machine's clock), or None if there is none."""
        _check_timeframe(table, timeframe)
        try:
            path = self.layout.day(table.name, instrument, day, timeframe=timeframe)
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def read(
        self,
        table: Table,
        instrument: Instrument,
        start: datetime,
        end: datetime,
        *,
        timeframe: Timeframe | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """The rows whose key lies in [start, end), indexed by it (UTC); a typed empty frame if there are none.

        Prices come as the double nearest to the stored decimal. ``bars_1m`` gains ``ts_close``, a minute after
        ``ts_open``. A day without a file contributes no rows: the caller knows which days it needs (``days``).

        Raises:
            InvalidDataError: a file cannot be read, or lacks a column of ``table``.
            UsageError: ``start`` or ``end`` has no time zone, or a column does not exist.
        """
        wanted = _wanted_columns(table, columns)
        frame = decode_days(table, self._paths(table, instrument, start, end, timeframe=timeframe), wanted)
        # The keys ascend: two searches instead of two comparisons per row and a copy.
        frame = frame.iloc[slice(*frame.index.searchsorted(pd.DatetimeIndex([start, end])))]
        if table.name == BARS_1M.name and (columns is None or "ts_close" in columns):
            frame.insert(0, "ts_close", frame.index + timedelta(minutes=1))
        return frame

    def put_document(
        self, kind: str, instrument: Instrument, month: date, *, timeframe: Timeframe, document: dict[str, Any]
    ) -> Path:
        """Replace one month's document of ``kind`` (JSON; the same content gives the same bytes)."""
        path = self.layout.document(kind, instrument, month, timeframe=timeframe)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        write_bytes(path, f"{text}\n".encode())
        return path

    def get_document(
        self, kind: str, instrument: Instrument, month: date, *, timeframe: Timeframe
    ) -> dict[str, Any] | None:
        """One month's document of ``kind``, or None if there is none."""
        path = self.layout.document(kind, instrument, month, timeframe=timeframe)
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InvalidDataError(
                f"{path} is damaged: remove it and materialize {kind} of that month again"
            ) from error

    def _paths(
        self, table: Table, instrument: Instrument, start: datetime, end: datetime, *, timeframe: Timeframe | None
    ) -> list[str]:
        _check_timeframe(table, timeframe)
        return _day_paths(self.layout.series(table.name, instrument, timeframe=timeframe), start, end)


def _day_paths(directory: Path, start: datetime, end: datetime) -> list[str]:
    """The Parquet files in ``directory`` of the days that [start, end) touches, in order."""
    if start.tzinfo is None or end.tzinfo is None:
        raise UsageError("start and end need a time zone: pass UTC datetimes")
    if end <= start:
        return []
    utc = timedelta(0)
    if start.utcoffset() != utc or end.utcoffset() != utc:
        raise UsageError("start and end are not in UTC: pass UTC datetimes")
    first, last = start.date(), (end - timedelta(microseconds=1)).date()
    if last - first < _FEW_DAYS:
        probed = [directory / day_name(day, PARQUET) for day in day_range(first, last)]
        return [str(path) for path in probed if path.exists()]
    names = listed_names(directory, PARQUET)
    oldest, newest = day_name(first, PARQUET), day_name(last, PARQUET)
    return [f"{directory}/{name}" for name in names if oldest <= name <= newest]


def _check_timeframe(table: Table, timeframe: Timeframe | None) -> None:
    if table.per_timeframe != (timeframe is not None):
        need = "is stored per timeframe: pass one" if table.per_timeframe else "has no timeframes: pass none"
        raise UsageError(f"{table.name} {need}")


def _wanted_columns(table: Table, columns: Sequence[str] | None) -> list[str]:
    names = [column.name for column in table.columns]
    if columns is None:
        return names
    known = {*names, "ts_close"} if table.name == BARS_1M.name else set(names)
    if unknown := [name for name in columns if name not in known]:
        raise UsageError(f"{table.name} has no column {', '.join(unknown)}: it has {', '.join(names)}")
    return [table.key, *(name for name in names if name in columns and name != table.key)]
