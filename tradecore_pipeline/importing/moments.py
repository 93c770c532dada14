"""Foreign times as milliseconds since 1970 (UTC): ISO text, typed timestamps, and epochs told apart by their size."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.importing.values import Place, first_refused, require, texts

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_UNITS = ("s", "ms", "us", "ns")
_LIMITS = np.array([10**11, 10**14, 10**17])
"""Seconds, milliseconds, microseconds and nanoseconds of the years 1973 to 5138 never overlap."""
_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EARLIEST_MS = 1_230_768_000_000
"""2009: nothing was traded before; smaller numbers are counters, not times."""
_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_ZONED = r":[0-9.]+(Z|[+-]\d\d(:?\d\d)?)$"
_NO_ZONE = "times without a zone were taken as UTC"


def milliseconds(values: pa.Array, place: Place) -> tuple[np.ndarray, str]:
    """The times in ms, parts of a millisecond cut off, and how they were written (``us``, ``text``, ...).

    Raises:
        InvalidDataError: one is no time, or before 2009, or in another unit than the one before.
    """
    require(values, place, name="time")
    made, form = _converted(values, place)
    early = np.flatnonzero(made < _EARLIEST_MS)
    if len(early):
        index = int(early[0])
        raise place.refuse(index, f"{_shown(values[index])} is no time after 2009 (ISO, or s, ms, us or ns since 1970)")
    return made, form


def _shown(value: pa.Scalar) -> object:
    try:
        return value.as_py()
    except (ValueError, OverflowError):  # a timestamp that Python has no date for
        return "a year beyond any calendar"


def _converted(values: pa.Array, place: Place) -> tuple[np.ndarray, str]:
    kind = values.type
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            place.notes.add(_NO_ZONE, place.file)
        return _scaled(np.asarray(values.cast(pa.int64())), kind.unit), "timestamps"
    if pa.types.is_date(kind):
        return _scaled(np.asarray(values.cast(pa.timestamp("s")).cast(pa.int64())), "s"), "dates"
    if pa.types.is_integer(kind):
        return _epoch(_integers(values, place), place)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(values, place)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        written = pc.utf8_trim_whitespace(texts(values))
        if not pc.all(pc.match_substring_regex(written, _NUMBER)).as_py():
            return _parsed(written, place), "text"
        whole = pc.all(pc.utf8_is_digit(written)).as_py()
        return _epoch(_integers(written, place), place) if whole else _numbers(written, place)
    raise InvalidDataError(f"{place.file}: the time column is {kind}, which is no time")


def _integers(values: pa.Array, place: Place) -> np.ndarray:
    try:
        return np.asarray(values.cast(pa.int64()))
    except pa.ArrowInvalid as error:
        index = first_refused(values, lambda part: part.cast(pa.int64()))
        raise place.refuse(index, f"{str(values[index].as_py())[:60]!r} is no time") from error


def _numbers(values: pa.Array, place: Place) -> tuple[np.ndarray, str]:
    """Doubles: seconds keep their milliseconds, other units are cut to whole ones."""
    made = np.asarray(values.cast(pa.float64()))
    wrong = np.flatnonzero(~(np.abs(made) < 2.0**63))
    if len(wrong):
        raise place.refuse(int(wrong[0]), f"{values[int(wrong[0])].as_py()} is no time")
    if (np.abs(made) < _LIMITS[0]).all():
        return np.round(made * 1000).astype(np.int64), "s"
    return _epoch(np.floor(made).astype(np.int64), place)


def _epoch(stamps: np.ndarray, place: Place) -> tuple[np.ndarray, str]:
    sizes = np.searchsorted(_LIMITS, np.abs(stamps), side="right")
    others = np.flatnonzero(sizes != sizes[:1])
    if len(others):
        units = f"{_UNITS[int(sizes[0])]} before and {_UNITS[int(sizes[others[0]])]} from here on"
        raise place.refuse(int(others[0]), f"times are in {units}: split the file there")
    unit = _UNITS[int(sizes[0])] if len(sizes) else "ms"
    return _scaled(stamps, unit), unit


def _scaled(stamps: np.ndarray, unit: str) -> np.ndarray:
    if unit == "s":
        # Beyond these seconds a product would wrap round; they are no time either way.
        return np.where(np.abs(stamps) < _LIMITS[0], stamps, 0) * 1000
    return stamps // (_NS_PER["ms"] // _NS_PER[unit])


def _parsed(written: pa.Array, place: Place) -> np.ndarray:
    """ISO text; what names no zone is UTC."""
    plain = pc.replace_substring_regex(written, r"\s*(UTC|GMT|z)$", "Z")
    plain = pc.replace_substring_regex(plain, r"\s+([+-]\d\d(:?\d\d)?)$", r"\1")
    plain = pc.replace_substring_regex(plain, r"^(\d{4}-\d\d-\d\d)$", r"\1T00:00")
    zoned = pc.match_substring_regex(plain, _ZONED)
    if not pc.all(zoned).as_py():
        place.notes.add(_NO_ZONE, place.file)
    plain = pc.if_else(zoned, plain, pc.binary_join_element_wise(plain, "Z", ""))
    kind = pa.timestamp("ns", tz="UTC")
    try:
        made = plain.cast(kind)
    except pa.ArrowInvalid as error:
        index = first_refused(plain, lambda part: part.cast(kind))
        raise place.refuse(index, f"{str(written[index].as_py())[:60]!r} is no time (ISO, or epoch)") from error
    return _scaled(np.asarray(made.cast(pa.int64())), "ns")
