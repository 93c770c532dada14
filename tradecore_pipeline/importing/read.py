"""One foreign file as checked rows of one of our tables, sorted by unique keys."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import ChecksumError, InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.exchanges.archive import MAX_CSV_BYTES
from tradecore_pipeline.exchanges.binance.parse import funding_csv, klines_csv, metrics_csv
from tradecore_pipeline.importing.columns import (
    EXCHANGE_COLUMNS,
    SYMBOL_COLUMNS,
    TIME,
    is_of_exchange,
    is_of_symbol,
    match_columns,
    owner_columns,
)
from tradecore_pipeline.importing.files import suffix_of
from tradecore_pipeline.importing.moments import milliseconds
from tradecore_pipeline.importing.names import is_binance_archive, is_freqtrade_funding
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.importing.rows import table_rows
from tradecore_pipeline.importing.sorting import checked
from tradecore_pipeline.importing.text import Source, open_csv, open_json
from tradecore_pipeline.importing.values import Place, texts
from tradecore_pipeline.storage.foreign import ForeignFormat, ForeignTable

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_DAMAGE = (
    *(pa.ArrowException, OSError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile),
    *(NotImplementedError, RuntimeError),  # zipfile's for unknown methods and encrypted members
    *(ValueError, OverflowError),  # numbers that no parser foresaw
)


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """The rows of one file, checked and sorted by unique keys."""

    name: str
    sha256: str
    rows: pa.Table


def read_file(path: Path, table: Table, instrument: Instrument, *, now: datetime, notes: Notes) -> ImportedFile:
    """The rows of ``table`` that the file holds.

    Args:
        path: a file of one of ``SUFFIXES``.
        table: the table its rows belong to.
        instrument: whose rows they are; a column or name that says otherwise is refused.
        now: rows that closed later are refused.
        notes: takes what the person should know about the file.

    Raises:
        InvalidDataError: it cannot be read, or holds what must not be stored: the file, the row and the reason.
    """
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        _check_published(path, sha256)
        stream.seek(0)
        with _damage(path.name):
            if suffix_of(path) == ".zip" and is_binance_archive(path):
                rows = _archive_rows(stream, path.name, table, instrument)
                parts = [(rows, Place(path.name, "", 0, notes))]
            else:
                parts = list(_foreign_rows(stream, path, table, instrument, notes=notes))
    return ImportedFile(path.name, sha256, checked(parts, table, file=path.name, now=now, notes=notes))


def _check_published(path: Path, sha256: str) -> None:
    """The archive's own checksum, where it lies beside the file."""
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if beside.is_file() and beside.read_text("ascii", "replace").split()[:1] != [sha256]:
        raise ChecksumError(f"{path.name} does not match {beside.name}: download it again")


@contextmanager
def _damage(name: str) -> Generator[None]:
    """What readers raise over a damaged file, as our error in one line."""
    try:
        yield
    except InvalidDataError as error:
        raise type(error)(" ".join(str(error).split())) from error  # a CSV reader quotes what it could not read
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InvalidDataError(f"{name} cannot be read: {reason}") from error


def _archive_rows(stream: IO[bytes], name: str, table: Table, instrument: Instrument) -> pa.Table:
    with _member(stream, name) as member:
        content = member.read(MAX_CSV_BYTES + 1)
    if len(content) > MAX_CSV_BYTES:
        raise InvalidDataError(f"{name} unpacks to more than {MAX_CSV_BYTES} bytes")
    if table is BARS_1M:
        return klines_csv(content, table=table, name=name)
    if table is FUNDING_RATES:
        return funding_csv(content, name=name)
    assert table is OPEN_INTEREST  # noqa: S101 (the command imports these three)
    return metrics_csv(content, table=table, name=name, symbol=instrument.base + instrument.quote)


@contextmanager
def _member(stream: IO[bytes], name: str) -> Generator[IO[bytes]]:
    """The one CSV inside a zip."""
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if len(members) != 1 or not members[0].filename.endswith(".csv"):
            raise InvalidDataError(f"{name} does not hold exactly one CSV file")
        with archive.open(members[0]) as member:
            yield member


def _foreign_rows(
    stream: IO[bytes], path: Path, table: Table, instrument: Instrument, *, notes: Notes
) -> Iterator[tuple[pa.Table, Place]]:
    """Batches of rows in the file's order, and where each begins."""
    with _opened(stream, path, notes=notes) as source:
        funding = table is FUNDING_RATES and is_freqtrade_funding(path)
        columns = match_columns(source.names, table, instrument, file=path.name, rate_in_open=funding)
        symbols = owner_columns(source.names, SYMBOL_COLUMNS)
        exchanges = owner_columns(source.names, EXCHANGE_COLUMNS)
        _say_absent(columns, table, file=path.name, notes=notes)
        first, form = source.first, ""
        for arrays in source.batches([*columns.values(), *symbols, *exchanges]):
            place = Place(path.name, source.word, first, notes)
            values = dict(zip(columns, arrays, strict=False))
            owners = arrays[len(columns) :]
            _check_owners(owners[: len(symbols)], owners[len(symbols) :], instrument, place)
            stamps, written = milliseconds(values[TIME], place)
            if form not in {"", written}:
                raise InvalidDataError(f"{place.at(0)}: times are in {form} before and {written} from here on")
            first, form = first + len(stamps), written
            yield table_rows(table, stamps, values, place), place


@contextmanager
def _opened(stream: IO[bytes], path: Path, *, notes: Notes) -> Generator[Source]:
    suffix = suffix_of(path)
    if suffix == ".zip":
        with _member(stream, path.name) as member:
            yield open_csv(member, name=path.name, notes=notes)
    elif suffix in {".parquet", ".pq", ".feather", ".arrow"}:
        form: ForeignFormat = "parquet" if suffix in {".parquet", ".pq"} else "feather"
        foreign = ForeignTable(cast("Any", stream), name=path.name, form=form)
        yield Source(foreign.names, foreign.batches, "row", 1)
    else:
        with _unpacked(stream, packed=suffix.endswith(".gz")) as plain:
            is_json = suffix.startswith(".json")
            yield open_json(plain, name=path.name) if is_json else open_csv(plain, name=path.name, notes=notes)


@contextmanager
def _unpacked(stream: IO[bytes], *, packed: bool) -> Generator[IO[bytes]]:
    if packed:
        with gzip.open(stream) as plain:
            yield cast("IO[bytes]", plain)
    else:
        yield stream


def _say_absent(columns: Mapping[str, int], table: Table, *, file: str, notes: Notes) -> None:
    if table is BARS_1M:
        absent = [c.name for c in table.columns if c.nullable and c.name not in columns]
        if absent:
            notes.add(f"has no {', '.join(absent)}: stored empty", file)
    elif table is OPEN_INTEREST:
        notes.add("open interest was taken as coins, one side", file)


def _check_owners(symbols: list[pa.Array], exchanges: list[pa.Array], instrument: Instrument, place: Place) -> None:
    for arrays, is_own in ((symbols, is_of_symbol), (exchanges, is_of_exchange)):
        for values in arrays:
            written = texts(values)
            for text in pc.unique(written).to_pylist():
                if text is not None and not is_own(text, instrument):
                    index = int(np.flatnonzero(np.asarray(pc.fill_null(pc.equal(written, text), fill_value=False)))[0])
                    raise place.refuse(
                        index, f"the row is of {text!r}, not of {instrument}: a file holds rows of one instrument"
                    )
