"""Binance's archive by instrument and period: what it lists, and its files as parsed pieces."""

from collections.abc import Callable
from datetime import date

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.exchanges.archive import Archive, Listing
from tradecore_pipeline.exchanges.binance.symbols import Listed, period_of
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import Piece

Parse = Callable[[bytes, str], pa.Table]
"""A parser of CSV bytes; the text names the file in messages."""

DAILY = "daily"
MONTHLY = "monthly"
_KEPT_LISTINGS = 4096


class BinanceFiles:
    """The archive's files. Listings are asked for once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._listings: Once[Listing] = Once(keep=_KEPT_LISTINGS)

    def listing(self, listed: Listed, rhythm: str, kind: str) -> Listing:
        """What the archive has of ``kind`` for the instrument."""
        prefix = listed.prefix(rhythm, kind)
        return self._listings.get(prefix, lambda: self._archive.list_keys(prefix))

    def has(self, listed: Listed, rhythm: str, kind: str, period: date) -> bool:
        """Whether the archive lists the file of that day or month."""
        return listed.key(rhythm, kind, period) in self.listing(listed, rhythm, kind).keys

    def first_period(self, listed: Listed, rhythm: str, kind: str) -> date | None:
        """The first day (or first month's first day) that the archive has a file for."""
        periods = []
        for key in self.listing(listed, rhythm, kind).keys:
            try:
                periods.append(period_of(key))
            except (ValueError, IndexError) as error:
                raise InvalidDataError(f"the archive lists {key!r}, whose date cannot be read") from error
        return min(periods, default=None)

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
