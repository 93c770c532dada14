"""Which stored days Binance's archive has something better for by now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from tradecore_pipeline.domain.errors import SourceError
from tradecore_pipeline.domain.market_data import HeldDay
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import month_of
from tradecore_pipeline.exchanges.answers import REST
from tradecore_pipeline.exchanges.binance.files import BinanceFiles
from tradecore_pipeline.exchanges.binance.symbols import DAILY, FOLDERS, MONTHLY, Listed
from tradecore_pipeline.exchanges.pieces import NO_SOURCE
from tradecore_pipeline.exchanges.prefetch import prefetch

_RHYTHMS = {"klines": (DAILY, MONTHLY), "premiumIndexKlines": (DAILY, MONTHLY), "fundingRate": (MONTHLY,)}
"""How the archive publishes each kind; all others by day."""
_IN_ARCHIVE = "in the archive by now"
_UNVERIFIED = frozenset({REST, "import"})
"""Sources that the archive's files are better than."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An archive file that was written after days were taken from it, or that they could not use, and those days."""

    key: str
    sha256: str
    """Of the file that was used; empty where it could not be."""
    days: list[date]


def revised_days(
    files: BinanceFiles, listed: Listed, table: Table, held: Sequence[HeldDay], *, workers: int
) -> dict[date, str]:
    """The days to fetch again, and why, in ascending order.

    A day that came over REST or from a person's files and is in the archive by now, a day without rows whose own file
    is listed by now, a day whose file was written since and has another checksum, or one that cannot be read, and a day
    whose file could not be used and can by now. The small checksums are asked for where nothing else tells, and a file
    that could not be used is looked at again.
    """
    kind = FOLDERS[table.name]
    rhythms = _RHYTHMS.get(kind, (DAILY,))
    written = {key: at for rhythm in rhythms for key, at in files.listing(listed, rhythm, kind).keys.items()}
    revised: dict[date, str] = {}
    suspects: dict[str, _Suspect] = {}
    for day in held:
        origins = [(key, file.sha256) for file in day.files if (key := _known(file.url, written))]
        for key, sha256 in origins:
            at = written[key]
            if not sha256 or (at is not None and at > day.ingested_at):
                suspects.setdefault(f"{key} {sha256}", _Suspect(key, sha256, [])).days.append(day.day)
        if not origins and (reason := _new_file(files, listed, kind, day, written)):
            revised[day.day] = reason
    revised |= _rewritten(files, suspects.values(), workers=workers)
    return dict(sorted(revised.items()))


def _known(url: str, written: Mapping[str, datetime | None]) -> str:
    """The listed key that the address ends with; empty if there is none."""
    key = f"data/{url.rpartition('/data/')[2]}"
    return key if key in written else ""


def _new_file(
    files: BinanceFiles, listed: Listed, kind: str, day: HeldDay, written: Mapping[str, datetime | None]
) -> str:
    """Why a day that came from no archive file should be fetched again; empty if it need not be."""
    rhythms, month = _RHYTHMS.get(kind, (DAILY,)), month_of(day.day)
    periods = {DAILY: day.day, MONTHLY: month}
    listed_at = {
        rhythm: written[key] for rhythm in rhythms if (key := listed.key(rhythm, kind, periods[rhythm])) in written
    }
    if listed_at and set(day.source.split("+")) <= _UNVERIFIED:
        return _IN_ARCHIVE
    if day.source != NO_SOURCE or not listed_at:
        return ""
    moments = [at for at in listed_at.values() if at is not None and at > day.ingested_at]
    if moments:
        return f"published on {max(moments):%Y-%m-%d}"
    # The first month's file may begin before the instrument did, and the last one end after it.
    first = files.first_period(listed, MONTHLY, kind) if rhythms == (MONTHLY,) else None
    return _IN_ARCHIVE if DAILY in listed_at or (first is not None and month > first) else ""


def _rewritten(files: BinanceFiles, suspects: Iterable[_Suspect], *, workers: int) -> dict[date, str]:
    """The days of those files whose published checksum is another by now, or that can be used by now, and why."""
    revised: dict[date, str] = {}

    def ask(suspect: _Suspect) -> tuple[_Suspect, str]:
        return suspect, _verdict(files, suspect)

    for suspect, why in prefetch(ask, suspects, workers=workers):
        if why:
            name = suspect.key.rpartition("/")[2]
            revised |= dict.fromkeys(suspect.days, f"{name} {why}")
    return revised


def _verdict(files: BinanceFiles, suspect: _Suspect) -> str:
    """What has become of the file; empty where it is as it was. One that cannot be asked about hides no other."""
    try:
        if suspect.sha256:
            same = files.published_checksum(suspect.key) == suspect.sha256
            return "" if same else "was rewritten since"
        files.verified_checksum(suspect.key)
    except SourceError as error:
        return f"was written since, and its checksum cannot be read: {error}" if suspect.sha256 else ""
    return "can be used by now"
