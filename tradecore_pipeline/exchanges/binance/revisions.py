"""Which stored days Binance's archive has something better for by now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

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


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An archive file that was written after days were taken from it, and those days."""

    key: str
    sha256: str
    days: list[date]


def revised_days(
    files: BinanceFiles, listed: Listed, table: Table, held: Sequence[HeldDay], *, workers: int
) -> dict[date, str]:
    """The days to fetch again, and why, in ascending order.

    A day without a single archive file that came over REST and is in the archive by now, a day without rows whose own
    file was written since, and a day whose file was written since and has another checksum: those small files are asked
    for where nothing else tells.
    """
    kind = FOLDERS[table.name]
    rhythms = _RHYTHMS.get(kind, (DAILY,))
    written = {key: at for rhythm in rhythms for key, at in files.listing(listed, rhythm, kind).keys.items()}
    revised: dict[date, str] = {}
    suspects: dict[str, _Suspect] = {}
    for day in held:
        origins = [(key, file.sha256) for file in day.files if file.sha256 and (key := _known(file.url, written))]
        for key, sha256 in origins:
            at = written[key]
            if at is not None and at > day.ingested_at:
                suspects.setdefault(f"{key} {sha256}", _Suspect(key, sha256, [])).days.append(day.day)
        if not origins and (reason := _new_file(listed, kind, day, rhythms, written)):
            revised[day.day] = reason
    revised |= _rewritten(files, suspects.values(), workers=workers)
    return dict(sorted(revised.items()))


def _known(url: str, written: Mapping[str, datetime | None]) -> str:
    """The listed key that the address ends with; empty if there is none."""
    key = f"data/{url.rpartition('/data/')[2]}"
    return key if key in written else ""


def _new_file(
    listed: Listed, kind: str, day: HeldDay, rhythms: Iterable[str], written: Mapping[str, datetime | None]
) -> str:
    """Why a day that came from no archive file should be fetched again; empty if it need not be."""
    periods = {DAILY: day.day, MONTHLY: month_of(day.day)}
    keys = [listed.key(rhythm, kind, periods[rhythm]) for rhythm in rhythms]
    files = {key: written[key] for key in keys if key in written}
    if files and day.source == REST:
        return "in the archive by now"
    moments = [at for at in files.values() if at is not None and at > day.ingested_at]
    if day.source == NO_SOURCE and moments:
        return f"published on {max(moments):%Y-%m-%d}"
    return ""


def _rewritten(files: BinanceFiles, suspects: Iterable[_Suspect], *, workers: int) -> dict[date, str]:
    """The days of those files whose published checksum is another by now."""
    revised: dict[date, str] = {}

    def ask(suspect: _Suspect) -> tuple[_Suspect, str]:
        return suspect, files.published_checksum(suspect.key)

    for suspect, published in prefetch(ask, suspects, workers=workers):
        if published != suspect.sha256:
            name = suspect.key.rpartition("/")[2]
            revised |= dict.fromkeys(suspect.days, f"{name} was rewritten since")
    return revised
