"""Binance's archive by instrument and period: what it lists, and its files as parsed pieces."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pyarrow as pa

from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.domain.time import month_days
from tradecore_pipeline.exchanges.archive import Archive, Listing
from tradecore_pipeline.exchanges.binance.symbols import DAILY, MONTHLY, Listed, period_of
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import Piece

Parse = Callable[[bytes, str], pa.Table]
"""A parser of CSV bytes; the text names the file in messages."""

_KEPT_LISTINGS = 4096


class BinanceFiles:
    """The archive's files. Listings are asked for once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._listings: Once[Listing] = Once(keep=_KEPT_LISTINGS)
        self._first_periods: Once[date | None] = Once(keep=_KEPT_LISTINGS)

    def listing(self, listed: Listed, rhythm: str, kind: str) -> Listing:
        """What the archive has of ``kind`` for the instrument."""
        prefix = listed.prefix(rhythm, kind)
        return self._listings.get(prefix, lambda: self._archive.list_keys(prefix))

    def has(self, listed: Listed, rhythm: str, kind: str, period: date) -> bool:
        """Whether the archive lists the file of that day or month."""
        return listed.key(rhythm, kind, period) in self.listing(listed, rhythm, kind).keys

    def first_period(self, listed: Listed, rhythm: str, kind: str) -> date | None:
        """The first day (or first month's first day) that the archive has a file for."""
        # Asked for with every day: reading the dates of all keys each time would take years' square.
        return self._first_periods.get(listed.prefix(rhythm, kind), lambda: self._first(listed, rhythm, kind))

    def _first(self, listed: Listed, rhythm: str, kind: str) -> date | None:
        return min(map(period_of, self.listing(listed, rhythm, kind).keys), default=None)

    def first_day(self, listed: Listed, kind: str) -> date | None:
        """The first day that a file of ``kind`` is about; a monthly one counts from the first of its month."""
        firsts = (self.first_period(listed, rhythm, kind) for rhythm in (DAILY, MONTHLY))
        return min((first for first in firsts if first is not None), default=None)

    def last_day(self, listed: Listed, kind: str) -> date | None:
        """The last day that a file of ``kind`` is about; None where the archive has none."""
        days = [period_of(key) for key in self.listing(listed, DAILY, kind).keys]
        months = [month_days(period_of(key))[-1] for key in self.listing(listed, MONTHLY, kind).keys]
        return max((*days, *months), default=None)

    def piece(self, listed: Listed, rhythm: str, kind: str, period: date, parse: Parse) -> Piece | None:
        """The parsed file of that day or month, or None where the archive lists none.

        Raises:
            SourceError: it cannot be fetched, or is not what its checksum says, or does not parse.
        """
        if not self.has(listed, rhythm, kind, period):
            return None
        key = listed.key(rhythm, kind, period)
        file = self._archive.fetch(key)
        rows = parse(file.csv, key.rpartition("/")[2])
        return Piece(rows, f"archive-{rhythm}", file.host, file.market, (SourceFile(file.url, file.sha256),))

    def published_checksum(self, key: str) -> str:
        """The SHA-256 that the archive publishes of a listed file."""
        return self._archive.checksum(key)


def consulted(piece: Piece, archived: Piece | None) -> Piece:
    """``piece``, its files led by the archive's even where those had no rows: they have been looked into."""
    if archived is None:
        return piece
    others = tuple(file for file in piece.files if file not in archived.files)
    return replace(piece, files=archived.files + others)
