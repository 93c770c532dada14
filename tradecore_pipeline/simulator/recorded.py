"""The recorded back end: a folder in the archive's own layout, served byte for byte, and REST from the same files."""

import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.time import MINUTES_PER_DAY, day_start
from tradecore_pipeline.simulator.archive import ArchiveFile, Dataset, etag_of, published_at
from tradecore_pipeline.simulator.backend import StoredFile
from tradecore_pipeline.simulator.parameters import FUNDING_MINUTES, Listing
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars, FundingRates, OpenInterest, TimeRows

_DAY_MS = MINUTES_PER_DAY * MINUTE_MS
_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "EUR", "BTC", "ETH", "BNB")
_KEPT_FILES = 48
_MICROSECONDS_ABOVE = 10**14
"""Times above this count microseconds: as milliseconds they would lie in the year 5138."""

_KLINE_TYPES = {
    **{name: pa.int64() for name in ("time_ms", "close_time", "trades")},
    **{name: pa.float64() for name in ("open", "high", "low", "close", "volume")},
    **{name: pa.float64() for name in ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume")},
    "ignore": pa.string(),
}
_KLINE_COLUMNS = (
    *("time_ms", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
_FUNDING_COLUMNS = ("time_ms", "interval_hours", "rate")
_METRICS_COLUMNS = ("time", "symbol", "base", "usd", "accounts", "positions", "all_accounts", "taker")


class RecordedBackend:
    """Files below ``directory``, which holds the archive's ``data`` folder. Nothing outside it is ever read.

    ``delayed`` says whether a file appears only at its publication date (for a frozen clock inside the recording) or is
    simply there.
    """

    def __init__(self, directory: Path, *, delayed: bool) -> None:
        """Raises UsageError where ``directory`` has no ``data`` folder."""
        if not (directory / "data").is_dir():
            raise UsageError(f"{directory} has no folder named data: give the folder that an archive was recorded into")
        self._root = directory.resolve()
        self._delayed = delayed
        self._parsed = lru_cache(maxsize=_KEPT_FILES)(self._in_order)

    @property
    def market(self) -> str:
        return REAL_MARKET

    @property
    def listings(self) -> Sequence[Listing]:
        """The symbols with minutes on disk."""
        return self._listed

    @cached_property
    def _listed(self) -> tuple[Listing, ...]:
        first_files: dict[tuple[str, str], ArchiveFile] = {}
        for file in self._files:
            if file.dataset == "klines":
                first_files.setdefault((file.venue, file.symbol), file)
        return tuple(self._listing(file) for file in first_files.values())

    def span_ms(self, listing: Listing) -> tuple[int, int]:
        """The bounds of the days that there are files of."""
        days = self._holders(listing, "klines")
        return _ms(min(days)), _ms(max(days)) + _DAY_MS - 1

    def delisted_ms(self, listing: Listing) -> int | None:  # noqa: ARG002 (a recording does not say)
        """None: nobody recorded that."""
        return None

    def funding_minutes(self, listing: Listing, at_ms: int) -> int:  # noqa: ARG002 (a recording does not say)
        """The usual interval: what was in force is in the recorded files."""
        return FUNDING_MINUTES

    def minutes(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """The recorded minutes that open inside the window; a day is read from its daily file where there is one."""
        return self._bars(listing, "klines", first_ms=first_ms, last_ms=last_ms)

    def premium(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """The recorded minutes of the premium index; none if no file was recorded."""
        return self._bars(listing, "premiumIndexKlines", first_ms=first_ms, last_ms=last_ms)

    def funding_rates(self, listing: Listing, *, first_ms: int, last_ms: int) -> FundingRates:
        """The recorded settlements stamped inside the window; none if no file was recorded."""
        parts = self._parts(listing, "fundingRate", first_ms=first_ms, last_ms=last_ms)
        empty = FundingRates(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
        return FundingRates.joined([part for part in parts if isinstance(part, FundingRates)] or [empty])

    def open_interest(self, listing: Listing, *, first_ms: int, last_ms: int) -> OpenInterest:
        """The recorded snapshots taken inside the window; none if no file was recorded."""
        parts = self._parts(listing, "metrics", first_ms=first_ms, last_ms=last_ms)
        empty = OpenInterest(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
        return OpenInterest.joined([part for part in parts if isinstance(part, OpenInterest)] or [empty])

    def archive_keys(self, now: datetime) -> Sequence[str]:
        """Every recorded zip, of other intervals too; with a delay, those published by ``now``."""
        return [key for key in self._paths if self._is_published(key, now)]

    def archive_entry(self, key: str) -> StoredFile:
        """The file's real size; it changes when the file on disk does."""
        state = self._paths[key].stat()
        return StoredFile(published_at(key), etag_of(f"{key}/{state.st_size}/{state.st_mtime_ns}"), state.st_size)

    def archive_object(self, key: str, now: datetime) -> bytes | None:
        """The file as it was recorded. Only indexed keys are looked up, so no path can lead out of the folder."""
        path = self._paths.get(key)
        return path.read_bytes() if path is not None and self._is_published(key, now) else None

    def archive_checksum(self, key: str) -> bytes | None:
        """The checksum file that was recorded beside the zip, if one was."""
        path = self._paths.get(key)
        beside = path.with_name(f"{path.name}.CHECKSUM") if path is not None else None
        return beside.read_bytes() if beside is not None and beside.is_file() else None

    def _is_published(self, key: str, now: datetime) -> bool:
        file = ArchiveFile.parse(key)
        return not self._delayed or file is None or file.published_at <= now

    @cached_property
    def _paths(self) -> dict[str, Path]:
        """Every zip by its key, sorted; links that lead out of the folder are not followed."""
        found = sorted(
            (path.relative_to(self._root).as_posix(), path)
            for path in (self._root / "data").rglob("*.zip")
            if path.resolve().is_relative_to(self._root) and path.is_file()
        )
        return dict(found)

    @cached_property
    def _files(self) -> tuple[ArchiveFile, ...]:
        return tuple(file for key in self._paths if (file := ArchiveFile.parse(key)) is not None)

    @cached_property
    def _days(self) -> dict[tuple[str, str, Dataset], dict[date, ArchiveFile]]:
        """Which file holds a day: its daily one where both exist."""
        holders: dict[tuple[str, str, Dataset], dict[date, ArchiveFile]] = {}
        for file in sorted(self._files, key=lambda file: not file.monthly):
            days = holders.setdefault((file.venue, file.symbol, file.dataset), {})
            days.update(dict.fromkeys(file.days, file))
        return holders

    def _holders(self, listing: Listing, dataset: Dataset) -> dict[date, ArchiveFile]:
        return self._days.get((listing.venue, listing.symbol, dataset), {})

    def _bars(self, listing: Listing, dataset: Dataset, *, first_ms: int, last_ms: int) -> Bars:
        parts = self._parts(listing, dataset, first_ms=first_ms, last_ms=last_ms)
        return Bars.joined([part for part in parts if isinstance(part, Bars)] or [Bars.empty()])

    def _parts(self, listing: Listing, dataset: Dataset, *, first_ms: int, last_ms: int) -> Iterable[TimeRows]:
        holders = self._holders(listing, dataset)
        for start in range(first_ms // _DAY_MS * _DAY_MS, last_ms + 1, _DAY_MS):
            file = holders.get(datetime.fromtimestamp(start / 1000, UTC).date())
            if file is not None:
                yield self._parsed(file).between(max(first_ms, start), min(last_ms, start + _DAY_MS - 1))

    def _in_order(self, file: ArchiveFile) -> TimeRows:
        """A file's rows as REST would answer them: some recorded files hold duplicates, or rows out of order."""
        rows = self._parse(file)
        return rows.take(np.unique(rows.time_ms, return_index=True)[1])

    def _parse(self, file: ArchiveFile) -> TimeRows:
        text = _member(self._paths[file.key])
        if file.dataset in {"klines", "premiumIndexKlines"}:
            table = _read(text, _KLINE_COLUMNS, _KLINE_TYPES)
            columns = {name: table[name].to_numpy() for name in _KLINE_COLUMNS if name not in {"close_time", "ignore"}}
            time_ms = np.where(columns["time_ms"] > _MICROSECONDS_ABOVE, columns["time_ms"] // 1000, columns["time_ms"])
            return Bars(**(columns | {"time_ms": time_ms}))
        if file.dataset == "fundingRate":
            types = {"time_ms": pa.int64(), "interval_hours": pa.float64(), "rate": pa.float64()}
            table = _read(text, _FUNDING_COLUMNS, types)
            return FundingRates(table["time_ms"].to_numpy(), table["rate"].to_numpy(), np.full(len(table), np.nan))
        types = {"time": pa.timestamp("ms"), "base": pa.float64(), "usd": pa.float64()}
        table = _read(text, _METRICS_COLUMNS, types)
        time_ms = table["time"].to_numpy().astype(np.int64)
        return OpenInterest(time_ms, table["base"].to_numpy(), table["usd"].to_numpy())

    def _listing(self, file: ArchiveFile) -> Listing:
        """How a symbol's numbers are written, read off its first data row."""
        lines = _member(self._paths[file.key]).split(b"\n", 2)
        row = (lines[0] if lines[0][:1].isdigit() else lines[1]).decode().split(",")
        quote = next((quote for quote in _QUOTES if file.symbol.endswith(quote)), file.symbol[-4:])
        decimals = [len(row[column].partition(".")[2]) for column in (1, 5)]
        return Listing(file.venue, file.symbol.removesuffix(quote), quote, decimals[0], decimals[1])


def _member(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(path.read_bytes())) as archive:
            return archive.read(archive.namelist()[0])
    except (zipfile.BadZipFile, IndexError) as error:
        raise InvalidDataError(f"{path} is not a zip file with one table: record it again") from error


def _read(text: bytes, columns: Sequence[str], types: dict[str, pa.DataType]) -> pa.Table:
    """The table in a CSV that may or may not begin with a header: a data row never begins with a letter."""
    has_header = text[:1].isalpha()
    return csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=list(columns), skip_rows=1 if has_header else 0, use_threads=False),
        convert_options=csv.ConvertOptions(column_types=types),
    )


def _ms(day: date) -> int:
    return int(day_start(day).timestamp()) * 1000
