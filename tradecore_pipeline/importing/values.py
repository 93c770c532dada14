"""Foreign numbers as ours: exact decimals, doubles and counts, or an error that names file, row and value."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import PRICE
from tradecore_pipeline.importing.notes import Notes

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_SCALE = 10**8
_EXACT_UNITS = 10**15
"""Below it, two decimals of eight places never share a double."""
_NOISE_ULPS = 4
"""What parsing and rewriting (pandas' fast reader, a sum or two) does to a double that was a price."""
_LONG = r"\.\d{9,}"
_NOISE = "prices were off by a rounding error of their floats and taken as the nearest 8 decimals"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a batch stand in their file."""

    file: str
    word: str
    """``line`` where people see lines, else ``row``."""
    first: int
    notes: Notes

    def at(self, index: int) -> str:
        """The file and number of the batch's row ``index``."""
        return f"{self.file}, {self.word} {self.first + index}"

    def refuse(self, index: int, problem: str) -> InvalidDataError:
        """The error about one row of the batch."""
        return InvalidDataError(f"{self.at(index)}: {problem}")


def doubles(values: pa.Array, place: Place, *, name: str) -> pa.Array:
    """The values as the doubles nearest to what is written; empty and NaN are null.

    Raises:
        InvalidDataError: one is no finite number.
    """
    _refuse_others(values, place, name=name)
    if not pa.types.is_float64(values.type):
        values = _cast(texts(values), pa.float64(), place, name=name, kind="number")
    values = pc.if_else(pc.is_nan(values), None, values)
    _refuse_where(pc.invert(pc.is_finite(values)), values, place, problem=f"{name} is not a finite number")
    return values


def prices(values: pa.Array, place: Place, *, name: str) -> pa.Array:
    """The values as exact decimals: of text what is written, of a float its shortest form.

    A float a few units in the last place off a decimal of eight places is that decimal, with a note.

    Raises:
        InvalidDataError: one is no number, or has more decimals than are stored.
    """
    _refuse_others(values, place, name=name)
    if pa.types.is_float64(values.type):
        return _from_doubles(doubles(values, place, name=name), place, name=name)
    written = _trimmed(texts(values))
    long = pc.fill_null(pc.match_substring_regex(written, _LONG), fill_value=False)
    try:
        return written.cast(PRICE)
    except pa.ArrowInvalid:
        if not pc.any(long).as_py():
            return _cast(
                written, PRICE, place, name=name, kind="price of at most 10 digits before and 8 after the point"
            )
    exact = _cast(pc.if_else(long, None, written), PRICE, place, name=name, kind="price")
    rounded = _from_doubles(doubles(pc.if_else(long, written, None), place, name=name), place, name=name)
    return pc.if_else(long, rounded, exact)


def counts(values: pa.Array, place: Place, *, name: str) -> pa.Array:
    """The values as whole numbers; empty and NaN are null.

    Raises:
        InvalidDataError: one is no whole number.
    """
    if pa.types.is_integer(values.type):
        return _cast(values, pa.int64(), place, name=name, kind="whole number")
    made = doubles(values, place, name=name)
    # Beyond 2^53 doubles are whole by nature, not by meaning.
    whole = pc.and_(pc.equal(pc.floor(made), made), pc.less(pc.abs(made), 2.0**53))
    _refuse_where(pc.invert(whole), made, place, problem=f"{name} is not a whole number")
    return made.cast(pa.int64())


def require(values: pa.Array, place: Place, *, name: str) -> pa.Array:
    """The values, none of them empty.

    Raises:
        InvalidDataError: one is.
    """
    if values.null_count:
        empty = np.flatnonzero(np.asarray(values.is_null()))
        others = f" (and {len(empty) - 1} more rows)" if len(empty) > 1 else ""
        raise place.refuse(int(empty[0]), f"{name} is empty{others}")
    return values


def texts(values: pa.Array) -> pa.Array:
    """The values as they would be written: a float in its shortest form."""
    return values if pa.types.is_string(values.type) else values.cast(pa.string())


def first_refused(values: pa.Array, cast: Callable[[pa.Array], Any]) -> int:
    """The position of a value that ``cast`` refuses, given that it refuses ``values``: the first one."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            cast(values.slice(low, middle - low))
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low


def _cast(values: pa.Array, kind_: pa.DataType, place: Place, *, name: str, kind: str) -> pa.Array:
    try:
        return values.cast(kind_)
    except pa.ArrowInvalid:
        trimmed = _trimmed(values)
    try:
        return trimmed.cast(kind_)
    except pa.ArrowInvalid as error:
        index = first_refused(trimmed, lambda part: part.cast(kind_))
        raise place.refuse(index, f"{name} {str(values[index].as_py())[:60]!r} is no {kind}") from error


def _trimmed(values: pa.Array) -> pa.Array:
    if not pa.types.is_string(values.type):
        return values
    bare = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(bare, ""), None, bare)


def _from_doubles(values: pa.Array, place: Place, *, name: str) -> pa.Array:
    numbers = np.asarray(pc.fill_null(values, 0.0))
    too_large = np.abs(numbers) >= 10.0**10
    if too_large.any():
        index = int(np.flatnonzero(too_large)[0])
        raise place.refuse(index, f"{name} {numbers[index]!r} has more than 10 digits before the point")
    units = np.rint(numbers * _SCALE)
    nearest = units / _SCALE
    if (off := np.abs(nearest - numbers) > _NOISE_ULPS * np.spacing(np.abs(numbers))).any():
        index = int(np.flatnonzero(off)[0])
        raise place.refuse(index, f"{name} {float(numbers[index])!r} has more than 8 decimals")
    if (nearest != numbers).any():
        place.notes.add(_NOISE, place.file)
    whole = units.astype(np.int64)
    for index in np.flatnonzero(np.abs(units) >= _EXACT_UNITS).tolist():
        # The shortest form decides where many decimals share a double.
        whole[index] = int((Decimal(repr(float(numbers[index]))) * _SCALE).to_integral_value())
    return _decimals(whole, np.asarray(values.is_valid()))


def _decimals(units: np.ndarray, valid: np.ndarray) -> pa.Array:
    """Integers of 10^-8 as decimals, whose 16 bytes are the integer with its sign carried on."""
    halves = np.stack([units, units >> 63], axis=1).astype("<i8")
    made = pa.Array.from_buffers(PRICE, len(units), [None, pa.py_buffer(halves.tobytes())])
    return made if valid.all() else pc.if_else(pa.array(valid), made, None)


def _refuse_others(values: pa.Array, place: Place, *, name: str) -> None:
    kind = values.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    ):
        raise InvalidDataError(f"{place.file}: column {name} is {kind}, which is no number")


def _refuse_where(mask: pa.Array, values: pa.Array, place: Place, *, problem: str) -> None:
    wrong = np.flatnonzero(np.asarray(pc.fill_null(mask, fill_value=False)))
    if len(wrong):
        raise place.refuse(int(wrong[0]), f"{problem} ({values[int(wrong[0])].as_py()})")
