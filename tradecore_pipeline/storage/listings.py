"""What exchanges list, and once listed: one Parquet file per exchange that keeps every instrument as long as it lives.

A file that cannot be read begins anew; it is kept beside the new one, and what it alone knew is not in that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tradecore_pipeline.domain.errors import InvalidDataError, TradecoreError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import LISTINGS
from tradecore_pipeline.storage.atomic import exclusive, write_bytes
from tradecore_pipeline.storage.layout import Layout

_ASIDE = ".damaged-"


class Listings:
    """The listings of one home. Safe to use from many threads and processes at once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def put(self, exchange: str, rows: Sequence[ListedInstrument], *, as_of: datetime) -> list[ListedInstrument]:
        """Store what ``exchange`` answered ``as_of`` that moment (UTC); returns all that is known now, sorted.

        An instrument that an earlier answer had and this one has not is kept as delisted, its last day the one on which
        it was last seen. Days that an earlier answer told and this one does not are kept. An instrument that is listed
        again keeps the first day of its first life: its ``first_day`` is the earliest that was ever told. An answer
        older than the stored one changes nothing. A stored file that cannot be read is put aside (``damaged`` names it)
        and the answer alone is stored: what is delisted and not told any more is then unknown.

        Raises:
            InvalidDataError: the answer is empty, or names an instrument twice or one of another exchange; what was
                stored stays.
        """
        _check(exchange, rows)
        path = self.layout.listings(exchange)
        with exclusive(path.parent / ".lock"):
            before, seen = self._known_or_put_aside(exchange)
            if seen is not None and seen > as_of:
                return before
            known = _merged(before, rows, seen=None if seen is None else seen.astimezone(UTC).date())
            write_bytes(path, _parquet(known, as_of))
        return known

    def get(self, exchange: str) -> list[ListedInstrument]:
        """Every instrument that ``exchange`` lists or once listed, sorted; empty if it was never asked.

        Raises:
            InvalidDataError: the stored file cannot be read.
        """
        return self._read(exchange)[0]

    def as_of(self, exchange: str) -> datetime | None:
        """When the exchange gave the stored answer (UTC), or None if it was never asked.

        Raises:
            InvalidDataError: the stored file cannot be read.
        """
        return self._read(exchange)[1]

    def damaged(self, exchange: str) -> list[Path]:
        """Files of ``exchange`` that could not be read and were put aside, oldest first."""
        path = self.layout.listings(exchange)
        found = {int(number): kept for kept in path.parent.glob(f"{path.name}{_ASIDE}*")
                 if (number := kept.name.removeprefix(f"{path.name}{_ASIDE}")).isdecimal()}  # fmt: skip
        return [found[number] for number in sorted(found)]

    def _known_or_put_aside(self, exchange: str) -> tuple[list[ListedInstrument], datetime | None]:
        """What is stored; a damaged file must not keep a whole answer from being stored, nor be lost to it."""
        try:
            return self._read(exchange)
        except InvalidDataError:
            path = self.layout.listings(exchange)
            taken = self.damaged(exchange)
            number = 1 + (int(taken[-1].name.rpartition("-")[2]) if taken else 0)
            path.rename(path.with_name(f"{path.name}{_ASIDE}{number}"))
            return [], None

    def _read(self, exchange: str) -> tuple[list[ListedInstrument], datetime | None]:
        path = self.layout.listings(exchange)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return [], None
        try:
            rows = pq.read_table(pa.BufferReader(data), use_threads=False).select(LISTINGS.schema.names).to_pylist()
            return [_listed(row) for row in rows], rows[0]["as_of"].astimezone(UTC)
        except (pa.ArrowInvalid, OSError, KeyError, ValueError, IndexError, TradecoreError) as error:
            raise InvalidDataError(
                f"{path} cannot be read: `tradecore instruments --exchange {exchange} --refresh` puts it aside and "
                "asks the exchange again"
            ) from error


def listed_on(rows: Iterable[ListedInstrument], day: date) -> list[ListedInstrument]:
    """Those of ``rows`` that existed on ``day``; an end that the exchange does not tell counts as open."""
    return [
        row
        for row in rows
        if (row.first_day is None or row.first_day <= day) and (row.last_day is None or day <= row.last_day)
    ]


def _check(exchange: str, rows: Sequence[ListedInstrument]) -> None:
    if not rows:
        raise InvalidDataError(f"{exchange} lists no instruments at all: nothing was stored")
    names = [row.instrument for row in rows]
    if strangers := [name for name in names if name.exchange != exchange]:
        raise InvalidDataError(f"{exchange} does not list {strangers[0]}: nothing was stored")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InvalidDataError(f"{exchange} lists {twice} twice: nothing was stored")


def _merged(
    before: Iterable[ListedInstrument], rows: Iterable[ListedInstrument], *, seen: date | None
) -> list[ListedInstrument]:
    """The new answer, completed by the one before, in which every trading instrument was ``seen`` that day."""
    known = {row.instrument: row for row in before}
    merged = {row.instrument: _completed(row, known.get(row.instrument), seen=seen) for row in rows}
    gone = {name: _delisted(row, seen=seen) for name, row in known.items() if name not in merged}
    return [row for _, row in sorted((gone | merged).items())]


def _completed(row: ListedInstrument, before: ListedInstrument | None, *, seen: date | None) -> ListedInstrument:
    if before is None:
        return row
    # An exchange that lists a symbol again tells the new day alone: the days of its first life are stored all the same.
    first = min((day for day in (before.first_day, row.first_day) if day is not None), default=None)
    if row.status is ListingStatus.TRADING or row.last_day is not None:
        return replace(row, first_day=first)
    return replace(row, first_day=first, last_day=_delisted(before, seen=seen).last_day)


def _delisted(row: ListedInstrument, *, seen: date | None) -> ListedInstrument:
    if row.status is ListingStatus.DELISTED:
        return row
    return replace(row, status=ListingStatus.DELISTED, last_day=row.last_day or seen)


def _parquet(rows: Iterable[ListedInstrument], as_of: datetime) -> bytes:
    made = [
        {
            "instrument": str(row.instrument),
            "raw_symbol": row.raw_symbol,
            "status": row.status.value,
            "first_day": row.first_day,
            "last_day": row.last_day,
            "as_of": as_of,
        }
        for row in rows
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(made, schema=LISTINGS.schema), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _listed(row: dict[str, Any]) -> ListedInstrument:
    return ListedInstrument(
        Instrument.parse(row["instrument"]),
        row["raw_symbol"],
        ListingStatus(row["status"]),
        row["first_day"],
        row["last_day"],
    )
