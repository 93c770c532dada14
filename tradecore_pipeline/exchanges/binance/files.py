"""Binance's archive by instrument and period: what it lists, and its files as parsed pieces."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.domain.market_data import FetchedDay, SourceFile
from tradecore_pipeline.domain.time import day_start, month_days
from tradecore_pipeline.exchanges.archive import Archive, Listing
from tradecore_pipeline.exchanges.binance.symbols import DAILY, MONTHLY, Listed, period_of
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Piece
from tradecore_pipeline.exchanges.rest import NotListedError

Parse = Callable[[bytes, str], pa.Table]
"""A parser of CSV bytes; the text names the file in messages."""

_KEPT_LISTINGS = 4096


@dataclass(frozen=True, slots=True)
class Unusable:
    """A listed file that is not what its checksum says, cannot be read, or holds something else than its name says."""

    file: SourceFile
    """Its ``sha256`` is empty where it is not known what the file should be."""
    error: InvalidDataError


@dataclass(frozen=True, slots=True)
class Found:
    """What the archive has of a day or month: rows, if there are any to use, and the files that cannot be used."""

    piece: Piece | None
    unusable: tuple[Unusable, ...]


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

    def find(self, listed: Listed, rhythm: str, kind: str, period: date, parse: Parse) -> Found:
        """The parsed file of that day or month, as far as the archive lists one and it can be used.

        Raises:
            SourceUnavailableError: the archive does not answer, or does not serve what it lists.
        """
        if not self.has(listed, rhythm, kind, period):
            return Found(None, ())
        key = listed.key(rhythm, kind, period)
        origin = SourceFile(self._archive.url(key), "")
        try:
            file = self._archive.fetch(key)
            origin = SourceFile(file.url, file.sha256)
            rows = parse(file.csv, key.rpartition("/")[2])
        except InvalidDataError as error:
            return Found(None, (Unusable(origin, error),))
        return Found(Piece(rows, f"archive-{rhythm}", file.host, file.market, (origin,)), ())

    def published_checksum(self, key: str) -> str:
        """The SHA-256 that the archive publishes of a listed file."""
        return self._archive.checksum(key)

    def verified_checksum(self, key: str) -> str:
        """The same, after a look at the file itself.

        Raises:
            SourceError: it cannot be fetched, is not what its checksum says, or cannot be read.
        """
        return self._archive.fetch(key).sha256


def consulted(piece: Piece, archived: Piece | None) -> Piece:
    """``piece``, its files led by the archive's even where those had no rows: they have been looked into."""
    if archived is None:
        return piece
    others = tuple(file for file in piece.files if file not in archived.files)
    return replace(piece, files=archived.files + others)


def spared(found: Found, error: TradecoreError) -> TradecoreError:
    """REST's ``error`` where the archive's rows may do without REST: it is not reached, or does not know the symbol.

    Raises:
        InvalidDataError: why the only file that might have the day cannot be used.
        TradecoreError: ``error``, where REST answered with something wrong.
    """
    if found.piece is None and found.unusable:
        raise found.unusable[0].error from error
    if not isinstance(error, SourceUnavailableError | NotListedError):
        raise error
    return error


def remarked(day: FetchedDay, found: Found, *, seen_until: datetime | None) -> FetchedDay:
    """The day, with a word on files that could not be used: it names them, so that they are looked at again.

    Args:
        day: what others had.
        found: what the archive had.
        seen_until: the newest key that REST showed.

    Raises:
        InvalidDataError: why a file could not be used, where nobody else had a row of the day, or showed a later one.
    """
    if not found.unusable:
        return day
    error = found.unusable[0].error
    if not day.rows.num_rows and (seen_until is None or seen_until < day_start(day.day) + ONE_DAY):
        raise error
    files = (*day.files, *(bad.file for bad in found.unusable if bad.file not in day.files))
    return replace(day, files=files, reason="; ".join(filter(None, (day.reason, f"a file was not used: {error}"))))
