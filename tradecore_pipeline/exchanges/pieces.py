"""Rows from one source, and how pieces from several sources become one fetched day."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError, MixedHomeError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap, SourceFile
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.quality.checks import validate_rows
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

NO_SOURCE = "none"
ONE_DAY = timedelta(days=1)
LATE_ROWS = timedelta(days=2)
"""How long after a day's end rows that no later row follows may still appear (a halt, or a slow server)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows, sorted by unique keys, and the source they come from."""

    rows: pa.Table
    source: str
    host: str
    market: str
    files: tuple[SourceFile, ...]
    checked: bool = False
    """All rows are known to be valid: a day that is cut from them need not be validated again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the exchange itself said about a day beside its rows."""

    now: datetime
    """Its clock when the day was fetched."""
    seen_until: datetime | None
    """The newest key it showed: what is missing before it is missing for good."""
    failure: str
    """Why it could not be asked about missing rows; empty if it was, or need not be."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is missing from a day, whether that is final, and why there is nothing or more to come."""

    gaps: tuple[Gap, ...]
    complete: bool
    reason: str


def cut(piece: Piece, table: Table, *, start: datetime, end: datetime) -> Piece:
    """The piece's rows with keys in [start, end)."""
    keys = epoch_ms(piece.rows.column(table.key))
    first, after = np.searchsorted(keys, [round(start.timestamp() * 1000), round(end.timestamp() * 1000)])
    return replace(piece, rows=piece.rows.slice(int(first), int(after - first)))


def checked(piece: Piece, table: Table, *, start: datetime, end: datetime) -> Piece:
    """The piece, validated whole for [start, end): once for a month costs an eighth of once for each of its days.

    One with a row that must not be stored comes back as it was: ``assemble`` refuses the day with that row.
    """
    try:
        validate_rows(table, piece.rows, start=start, end=end)
    except InvalidDataError:
        return piece
    return replace(piece, checked=True)


def merge(primary: Piece, extra: Piece, table: Table) -> Piece:
    """``primary`` and the rows of ``extra`` under other keys; ``extra`` leaves no trace where it adds none.

    Raises:
        MixedHomeError: the two serve different markets.
    """
    if primary.market != extra.market and NO_SOURCE not in {primary.source, extra.source}:
        raise MixedHomeError(
            f"{primary.host} serves the market {primary.market!r} but {extra.host} serves {extra.market!r}: "
            "point the exchange's addresses (TRADECORE_*_URL) at the same market"
        )
    known = pc.is_in(extra.rows.column(table.key), value_set=primary.rows.column(table.key))
    added = extra.rows.filter(pc.invert(known))
    if not primary.rows.num_rows:
        return replace(extra, rows=added)
    if not added.num_rows:
        return primary
    return Piece(
        rows=pa.concat_tables([primary.rows, added]).sort_by(table.key),
        source=_join(primary.source, extra.source),
        host=_join(primary.host, extra.host),
        market=primary.market,
        files=primary.files + tuple(file for file in extra.files if file not in primary.files),
    )


def _join(left: str, right: str) -> str:
    return "+".join(dict.fromkeys((*left.split("+"), *right.split("+"))))


def nothing(table: Table, *, host: str, market: str) -> Piece:
    """No rows; ``host`` and ``market`` say who was asked."""
    return Piece(table.schema.empty_table(), NO_SOURCE, host, market, ())


def assemble(instrument: Instrument, table: Table, day: date, piece: Piece, verdict: Verdict) -> FetchedDay:
    """The fetched day, its rows validated.

    Raises:
        InvalidDataError: the rows must not be stored.
    """
    start = day_start(day)
    if not piece.checked:
        validate_rows(table, piece.rows, start=start, end=start + ONE_DAY)
    empty = not piece.rows.num_rows
    return FetchedDay(
        instrument=instrument,
        dataset=table.name,
        day=day,
        rows=piece.rows.combine_chunks(),
        source=NO_SOURCE if empty else piece.source,
        host=piece.host,
        market=piece.market,
        files=piece.files,
        gaps=verdict.gaps,
        complete=verdict.complete,
        reason=verdict.reason,
    )


def judge(piece: Piece, table: Table, *, day: date, gaps: tuple[Gap, ...], asked: Asked) -> Verdict:
    """What is known about the day's missing rows."""
    end = day_start(day) + ONE_DAY
    if asked.now < end:
        certain, _ = split_gaps(gaps, piece, table, seen_until=None)
        return Verdict(certain, complete=False, reason="day not over")
    if asked.failure:
        missing = sum(gap.missing for gap in gaps)
        return Verdict(gaps, complete=False, reason=f"{missing} rows missing, not yet confirmed: {asked.failure}")
    certain, last = split_gaps(gaps, piece, table, seen_until=asked.seen_until)
    if last is not None and asked.now < end + LATE_ROWS:
        reason = f"no rows yet from {last.first_missing:%H:%M} UTC on (halted or delayed)"
        return Verdict(certain, complete=False, reason=reason)
    return Verdict(gaps, complete=True, reason="" if piece.rows.num_rows else "the exchange published no rows")


def split_gaps(
    gaps: tuple[Gap, ...], piece: Piece, table: Table, *, seen_until: datetime | None
) -> tuple[tuple[Gap, ...], Gap | None]:
    """The gaps that some row follows, and the last one if none follows it: that one may still fill."""
    if not gaps:
        return gaps, None
    last = piece.rows.column(table.key)[-1].as_py() if piece.rows.num_rows else None
    if any(moment is not None and moment > gaps[-1].last_missing for moment in (last, seen_until)):
        return gaps, None
    return gaps[:-1], gaps[-1]
