"""Reading a series of OKX backward in time: every page holds the newest rows older than a moment.

No page is limited at its far side, so a page without rows says that nothing older exists at all, and a hole inside a
page is told by the rows on both of its sides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.exchanges.answers import Answer, answer_of, first_key, last_key
from tradecore_pipeline.exchanges.pieces import nothing
from tradecore_pipeline.exchanges.rest import Page

MOMENT = timedelta(milliseconds=1)


class TooOldError(SourceError):
    """The exchange does not keep data that old."""


@dataclass(frozen=True, slots=True)
class Server:
    """What OKX said of itself when a fetch began."""

    now: datetime
    host: str
    market: str

    @property
    def last_minute(self) -> datetime:
        """The end of the last minute that is over."""
        return self.now.replace(second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Series:
    """One dataset of one instrument over REST."""

    table: Table
    server: Server
    page_rows: int
    """The most rows of a page."""
    step: timedelta
    """The least distance of two rows."""
    ask: Callable[[datetime, int], Page[pa.Table]]
    """The newest rows older than a moment, at most so many, in ascending order."""

    def read(self, start: datetime, end: datetime) -> Answer:
        """The rows of [start, end), those behind and before it on the same pages, and back to ``start`` in any case."""
        pages: list[Page[pa.Table]] = []
        cursor = min(end + self.step, self.server.now + MOMENT)
        while cursor > start:
            most = min(self.page_rows, -(-(cursor - start) // self.step) + 1)
            page = self._older(cursor, rows=most)
            if page is None:
                break
            pages.append(page)
            cursor = first_key(page.rows, self.table)
        if not pages:
            return Answer((nothing(self.table, host=self.server.host, market=self.server.market),), None)
        return answer_of(pages, self.table, host=self.server.host)

    def newest_before(self, moment: datetime) -> datetime | None:
        """The key of the newest row older than ``moment``; None where there is none, as said twice."""
        page = self._older(moment, rows=2)
        return None if page is None else last_key(page.rows, self.table)

    def seen_since(self, moment: datetime) -> datetime | None:
        """The newest key of all, if it is not before ``moment``; a series that is asked for this has rows.

        Raises:
            InvalidDataError: it has none.
        """
        newest = self.newest_before(self.server.now + MOMENT)
        if newest is None:
            raise InvalidDataError(f"{self.server.host} shows no {self.table.name} at all: try again later")
        return newest if newest >= moment else None

    def _older(self, end: datetime, *, rows: int) -> Page[pa.Table] | None:
        """The newest rows older than ``end``; None where there are none, as said twice or by a refusal."""
        for _ in range(2):
            try:
                page = self.ask(end, rows)
            except TooOldError:
                return None
            if page.rows.num_rows:
                return page
        return None
