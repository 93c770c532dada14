"""What the pages of a REST series said about a window of time, and what that proves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Piece, cut, merge, nothing
from tradecore_pipeline.exchanges.rest import Page

REST = "rest"
MOST_ASKS = 8
"""How often a window is read at most: again where rows are missing, as long as that brings some."""
ASKED_IN_VAIN = 2
"""So many answers in a row that bring nothing new settle that rows are missing."""
_LONGEST_LOOK = timedelta(days=32)
"""The end of a halt is looked for in windows of a day, two, four ... up to this."""

NewestBefore = Callable[[datetime], datetime | None]
"""The newest key before a moment, asked twice before it is none."""
SeenSince = Callable[[datetime], datetime | None]
"""A key at or after a moment, by a request of its own; None where the exchange shows none."""
Read = Callable[[datetime, datetime], "Answer"]
"""The rows of [start, end), and what else the pages showed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One piece per page, in the order they were asked for, and the newest key that any of them showed."""

    pieces: tuple[Piece, ...]
    """Never empty: without rows, a piece without rows says who was asked."""
    seen_until: datetime | None

    def window(self, table: Table, *, start: datetime, end: datetime) -> Piece:
        """All rows with keys in [start, end), and only the pages they came from."""
        parts = [part for piece in self.pieces if (part := cut(piece, table, start=start, end=end)).rows.num_rows]
        asked = self.pieces[0]
        return reduce(lambda a, b: merge(a, b, table), parts or [nothing(table, host=asked.host, market=asked.market)])

    def and_then(self, later: "Answer") -> "Answer":
        """Both; what was shown first stands."""
        seen = max((m for m in (self.seen_until, later.seen_until) if m is not None), default=None)
        return Answer(self.pieces + later.pieces, seen)


def answer_of(pages: Sequence[Page[pa.Table]], table: Table, *, host: str) -> Answer:
    """The answer that ``pages`` (at least one) add up to."""
    pieces = tuple(Piece(page.rows, REST, host, page.market, (SourceFile(page.url, ""),)) for page in pages)
    newest = [last_key(page.rows, table) for page in pages if page.rows.num_rows]
    return Answer(pieces, max(newest, default=None))


def first_key(rows: pa.Table, table: Table) -> datetime:
    """The first of some rows' keys."""
    key: datetime = rows.column(table.key)[0].as_py()
    return key.astimezone(UTC)


def last_key(rows: pa.Table, table: Table) -> datetime:
    """The last of some rows' keys."""
    key: datetime = rows.column(table.key)[-1].as_py()
    return key.astimezone(UTC)


def oldest_key(newest_before: NewestBefore, read: Read, table: Table, *, since: datetime, now: datetime) -> datetime:
    """The first key of a series that has none before ``since`` (a midnight): the day by halving, then its first row.

    Raises:
        InvalidDataError: the exchange contradicts itself.
    """
    low, high = since, day_start(now.date()) + ONE_DAY
    while high - low > ONE_DAY:
        middle = day_start((low + (high - low) / 2).date())
        middle = middle if middle > low else low + ONE_DAY
        newest = newest_before(middle)
        low, high = (middle, high) if newest is None else (low, day_start(newest.date()) + ONE_DAY)
    piece = read(low, high).window(table, start=low, end=high)
    if not piece.rows.num_rows or newest_before(first_key(piece.rows, table)) is not None:
        raise InvalidDataError(
            f"{piece.host} contradicts itself about the first {table.name} (about {low:%Y-%m-%d}): try again later"
        )
    return first_key(piece.rows, table)


def read_on(
    answer: Answer, read: Read, seen_since: SeenSince, table: Table, *, since: datetime, stop: datetime
) -> Answer:
    """``answer``, which has no rows from ``since`` up to ``stop``, with those that end the silence.

    The exchange is asked for its newest row. Where it shows one, the first rows after ``stop`` are read: they prove
    that the silence was a halt; without any, the answer was a lie.

    Raises:
        InvalidDataError: the exchange contradicts itself.
    """
    seen = seen_since(since)
    if seen is None:
        return answer
    begin, ahead = stop, ONE_DAY
    while begin <= seen and ahead <= _LONGEST_LOOK:
        end = min(begin + ahead, seen + timedelta(milliseconds=1))
        later = read(begin, end)
        if later.window(table, start=begin, end=end).rows.num_rows:
            return answer.and_then(later)
        begin, ahead = begin + ahead, 2 * ahead
    raise InvalidDataError(
        f"{answer.pieces[0].host} contradicts itself about {table.name}: nothing since {since:%Y-%m-%d %H:%M} UTC, "
        f"but there is a row of {seen:%Y-%m-%d %H:%M} UTC; try again later"
    )


def minute_of(moment: datetime) -> datetime:
    """The minute that a moment lies in."""
    return moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)
