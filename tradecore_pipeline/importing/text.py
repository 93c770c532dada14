"""CSV and JSON as columns of text, batch by batch: what is written stays what it is until its column is known."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import pyarrow as pa
import pyarrow.csv as pa_csv

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.exchanges.binance.parse import KLINE_COLUMNS
from tradecore_pipeline.importing.notes import Notes

Batches = Callable[[Sequence[int]], Iterator[list[pa.Array]]]
"""Gives the columns at some positions, in that order, some thousand rows at a time."""

MAX_JSON_BYTES = 1024 * 1024 * 1024
"""JSON is read whole; seven years of minutes are a quarter of this."""
_BLOCK_BYTES = 1 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_JSON_ROWS = 65_536
_EMPTY = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "N/A"]
_FREQTRADE_COLUMNS = ("date", "open", "high", "low", "close", "volume")
_LISTS = {len(_FREQTRADE_COLUMNS): _FREQTRADE_COLUMNS, len(KLINE_COLUMNS): KLINE_COLUMNS}
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Source:
    """A foreign file, opened: its columns by name and position."""

    names: tuple[str, ...]
    batches: Batches
    word: str
    """What its rows are counted by: ``line`` or ``row``."""
    first: int
    """The number of its first row."""


def open_csv(stream: IO[bytes], *, name: str, notes: Notes) -> Source:
    """A CSV with a header, separated by commas, semicolons, tabs or bars; Binance's own need no header.

    Raises:
        InvalidDataError: it has no header, or is no text.
    """
    lines = _head(stream, name=name)
    before = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith(("#", "http"))), None)
    if before is None:
        raise InvalidDataError(f"{name} is empty")
    delimiter = max(",;\t|", key=lines[before].count)
    names = tuple(next(csv.reader([lines[before]], delimiter=delimiter)))
    header = not names[0].strip().lstrip("+-")[:1].isdigit()
    if not header:
        if len(names) != len(KLINE_COLUMNS):
            raise InvalidDataError(f"{name}, line {before + 1}: there is no header: name the columns in the first line")
        names = KLINE_COLUMNS
        notes.add("no header: the 12 columns of Binance's archive were taken for granted", name)
    skipped = before + int(header)

    def batches(columns: Sequence[int]) -> Iterator[list[pa.Array]]:
        stream.seek(0)
        return _csv_batches(stream, len(names), columns, delimiter=delimiter, skipped=skipped, name=name)

    return Source(names, batches, "line", skipped + 1)


def open_json(stream: IO[bytes], *, name: str) -> Source:
    """A JSON list of rows: lists as freqtrade (6 values) and Binance (12) write them, or objects.

    Raises:
        InvalidDataError: it is no such list.
    """
    content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise InvalidDataError(f"{name} is larger than {MAX_JSON_BYTES} bytes: split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{name} is no text: {error.reason} at byte {error.start}") from error
    first = next(_json_rows(text, name=name), None)
    if isinstance(first, dict):
        names = tuple(first)
    elif isinstance(first, list) and len(first) in _LISTS:
        names = _LISTS[len(first)]
    elif first is None:
        raise InvalidDataError(f"{name} is empty")
    else:
        raise InvalidDataError(f"{name}, row 1: neither an object nor a list of 6 or 12 values: {str(first)[:80]}")
    return Source(names, lambda columns: _json_batches(text, names, columns, name=name), "row", 1)


def _head(stream: IO[bytes], *, name: str) -> list[str]:
    stream.seek(0)
    try:
        # A character may be cut at the end: the line it stands in is not the header, or the header is absurd.
        return stream.read(_HEAD_BYTES).decode("utf-8-sig", "replace").splitlines()
    except csv.Error as error:
        raise InvalidDataError(f"{name} has no readable first line: {error}") from error


def _csv_batches(
    stream: IO[bytes], width: int, columns: Sequence[int], *, delimiter: str, skipped: int, name: str
) -> Iterator[list[pa.Array]]:
    labels = [str(index) for index in range(width)]  # by position: people's names need not be unique
    wanted = [labels[index] for index in columns]
    try:
        with pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                column_names=labels, skip_rows=skipped, block_size=_BLOCK_BYTES, use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter),
            convert_options=pa_csv.ConvertOptions(
                column_types={label: pa.string() for label in wanted},
                include_columns=wanted,
                null_values=_EMPTY,
                strings_can_be_null=True,
            ),
        ) as reader:
            for batch in reader:
                yield batch.columns
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        row = re.search(r"Row #(\d+)", str(error))
        raise InvalidDataError(f"{name}{f', line {row[1]}' if row else ''}: {error}") from error


def _json_batches(text: str, names: Sequence[str], columns: Sequence[int], *, name: str) -> Iterator[list[pa.Array]]:
    kept: list[list[str | None]] = [[] for _ in columns]
    for number, row in enumerate(_json_rows(text, name=name), start=1):
        for values, index in zip(kept, columns, strict=True):
            values.append(_json_value(row, index, names, place=f"{name}, row {number}"))
        if number % _JSON_ROWS == 0:
            yield [pa.array(values, type=pa.string()) for values in kept]
            kept = [[] for _ in columns]
    yield [pa.array(values, type=pa.string()) for values in kept]


def _json_value(row: Any, index: int, names: Sequence[str], *, place: str) -> str | None:
    if isinstance(row, dict):
        value = row.get(names[index])
    elif isinstance(row, list) and len(row) == len(names):
        value = row[index]
    else:
        raise InvalidDataError(f"{place}: it does not look like the first row: {str(row)[:80]}")
    if value is not None and not isinstance(value, str):
        raise InvalidDataError(f"{place}: {names[index]} is {str(value)[:60]}, neither a number nor a text")
    return value


def _json_rows(text: str, *, name: str) -> Iterator[Any]:
    """The list's items one by one, numbers as the text they are."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=refuse)
    position, number = _skip(text, 0), 0
    if text[position : position + 1] != "[":
        raise InvalidDataError(f"{name} is no JSON list of rows")
    position = _skip(text, position + 1)
    while number or text[position : position + 1] != "]":
        number += 1
        try:
            item, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise InvalidDataError(f"{name}, row {number}: {error}") from error
        yield item
        position = _skip(text, position)
        mark = text[position : position + 1]
        if mark not in {",", "]"}:
            raise InvalidDataError(f"{name}, row {number}: a comma or the list's end should follow")
        if mark == "]":
            break
        position = _skip(text, position + 1)
    if _skip(text, position + 1) != len(text):
        raise InvalidDataError(f"{name}: there is more after the list's end")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()
