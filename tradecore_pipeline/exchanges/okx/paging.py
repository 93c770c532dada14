"""Reading a series of OKX backward in time: every page holds the newest rows older than a moment.

No page is limited at its far side, so a page without rows says that nothing older exists at all, and a hole inside a
page is told by the rows on both of its sides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError
from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.exchanges.pieces import Piece, cut
from tradecore_pipeline.exchanges.rest import Page

REST = "rest"
ASKED_IN_VAIN = 2
"""So many answers in a row must lack a row before it counts as missing."""
MOST_ASKS = 8
_BEFORE_ALL = datetime(2017, 1, 1, tzinfo=UTC)
"""OKX had no swaps then."""


class TooOldError(SourceError):
    """The exchange does not keep data that old."""


@dataclass(frozen=True, slots=True)
class Series:
    """One dataset of one instrument over REST."""

    table: Table
    page_rows: int
    """The most rows of a page."""
    step: timedelta
    """The least distance of two rows."""
    ask: Callable[[datetime, int], Page[pa.Table]]
    """The newest rows older than a moment, at most so many, in ascending order."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a window."""

    piece: Piece
    oldest: datetime | None
    """The oldest row OKX has at all, where the window reaches back that far; else None."""
    reached_end: bool
    """OKX has nothing older than the window's rows."""


def older(series: Series, end: datetime, *, rows: int) -> Page[pa.Table] | None:
    """The newest rows older than ``end``; None where there are none, as said twice or by refusing so old a request."""
    for _ in range(2):
        try:
            page = series.ask(end, rows)
        except TooOldError:
            return None
        if page.rows.num_rows:
            return page
    return None


def read(series: Series, *, start: datetime, end: datetime, host: str, market: str) -> Answer:
    """The rows in [start, end); ``host`` and ``market`` are those of an answer without rows."""
    pages: list[pa.Table] = []
    files: list[SourceFile] = []
    cursor, reached_end = end, False
    while cursor > start:
        most = min(series.page_rows, -(-(cursor - start) // series.step) + 1)
        page = older(series, cursor, rows=most)
        if page is None:
            reached_end = True
            break
        market = page.market
        pages.append(page.rows)
        files.append(SourceFile(page.url, ""))
        cursor = first_key(series.table, page.rows)
    rows = pa.concat_tables(reversed(pages)) if pages else series.table.schema.empty_table()
    piece = Piece(rows, REST if pages else "none", host, market, tuple(files))
    oldest = first_key(series.table, rows) if reached_end and pages else None
    return Answer(cut(piece, series.table, start=start, end=end), oldest, reached_end)


def newest_key(series: Series, *, before: datetime) -> datetime | None:
    """The key of the newest row older than ``before``; None where there is none."""
    page = older(series, before, rows=2)
    return None if page is None else page.rows.column(series.table.key)[-1].as_py()


def oldest_key(series: Series, *, floor: datetime, newest: datetime) -> datetime:
    """The oldest row's key, found by halving: ``floor`` is a guess from below, ``newest`` some row's key.

    Raises:
        InvalidDataError: the exchange contradicts itself.
    """
    reach = series.page_rows * series.step
    if older(series, floor, rows=series.page_rows) is not None:
        floor = _BEFORE_ALL
    known, probe = newest, floor + reach
    while True:
        probe = min(probe, known)
        page = older(series, probe, rows=series.page_rows)
        if page is not None:
            known = first_key(series.table, page.rows)
        elif probe == known:
            return known
        else:
            floor = probe
        if known < floor:
            raise InvalidDataError(f"OKX contradicts itself about its oldest {series.table.name}: try again later")
        probe = known if known - floor <= reach else floor + (known - floor) / 2


def first_key(table: Table, rows: pa.Table) -> datetime:
    """The first row's key."""
    return rows.column(table.key)[0].as_py()
