"""Numbers as integer counts of the smallest decimal unit that is exact, and back to the very same numbers."""

import numpy as np
import pyarrow as pa

_MAX_SCALE = 8
_POWERS = 10.0 ** np.arange(_MAX_SCALE + 1)
_EXACT_UNITS = 2**53
"""Up to here integers are doubles, so that dividing one by a power of ten rounds once, to the nearest double."""
_EXACT_DIGITS = 15
_NINE_DIGITS = 10**9
_PROBED = 16
"""How many values propose a scale before all of them are tried."""


def narrowed(values: pa.Array) -> pa.Array:
    """Decimals and float64 values as decimals of the smallest scale that keeps every one of them, nulls included.

    A price in cents needs a quarter of the bytes of one in units of 1e-8. What has no rows, or floats that are no
    decimals of at most 8 places (``nearest_doubles`` would not give back the same bits), stay as they are.
    """
    if len(values) == values.null_count:
        return values
    known = values.drop_null() if values.null_count else values
    if pa.types.is_decimal(values.type):
        found: tuple[np.ndarray, int] | None = _shortened(decimal_units(known), values.type.scale)
    else:
        found = _counted(known.to_numpy())
    return values if found is None else _decimals(values, *found)


def decimal_units(values: pa.Array) -> np.ndarray:
    """The integers behind decimals of at most 18 digits; 0 for null."""
    data, width = values.buffers()[1], values.type.byte_width
    # Of 16 bytes the low halves hold 18 digits.
    counts = np.empty(0, dtype=np.int64) if data is None else np.frombuffer(data, dtype=f"<i{min(width, 8)}")
    units = counts[:: max(width // 8, 1)][values.offset : values.offset + len(values)]
    return np.where(values.is_valid().to_numpy(zero_copy_only=False), units, 0) if values.null_count else units


def nearest_doubles(values: pa.Array) -> np.ndarray:
    """The double nearest to each decimal, NaN for null.

    Arrow's own cast misses the nearest double in one price of eight, by one unit in the last place.
    """
    kind = values.type
    units, unit = decimal_units(values), 10**kind.scale
    if kind.precision > _EXACT_DIGITS and len(units) and max(units.max(), -units.min()) > _EXACT_UNITS:
        doubles = np.array([int(count) / unit for count in units])
    else:
        doubles = units / unit
    if values.null_count:
        doubles[values.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return doubles


def _shortened(units: np.ndarray, scale: int) -> tuple[np.ndarray, int]:
    """The same decimals without the zeros that all of them end in."""
    divisor, zeros = int(np.gcd.reduce(units[:_PROBED])), 0
    while zeros < scale and divisor % 10 ** (zeros + 1) == 0:
        zeros += 1
    while (units % 10**zeros).any():
        zeros -= 1
    return units // 10**zeros, scale - zeros


def _counted(values: np.ndarray) -> tuple[np.ndarray, int] | None:
    for scale in range(_probed_scale(values[:_PROBED]), _MAX_SCALE + 1):
        units = _exact_units(values, scale)
        if units is not None:
            return units, scale
    return None


def _probed_scale(values: np.ndarray) -> int:
    """The smallest scale that may be exact for all of a few values; one too many where none is."""
    with np.errstate(over="ignore"):
        exact = np.rint(values[:, None] * _POWERS) / _POWERS == values[:, None]
    fitting = exact.all(axis=0)
    return int(fitting.argmax()) if fitting.any() else _MAX_SCALE + 1


def _exact_units(values: np.ndarray, scale: int) -> np.ndarray | None:
    """The values in units of 10**-scale, if dividing gives back their bits (the sign of a zero among them)."""
    with np.errstate(over="ignore"):
        scaled = np.rint(values * 10.0**scale)
    if not (np.abs(scaled) <= _EXACT_UNITS).all():
        return None
    units = scaled.astype(np.int64)
    same = (units / 10**scale).view(np.int64) == values.view(np.int64)
    return units if same.all() else None


def _decimals(values: pa.Array, units: np.ndarray, scale: int) -> pa.Array:
    """``units`` of the values that are not null, as decimals with the nulls of ``values``."""
    small = max(units.max(), -units.min()) < _NINE_DIGITS
    kind, counts = (pa.decimal32(9, scale), np.int32) if small else (pa.decimal64(18, scale), np.int64)
    if not values.null_count:
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(units.astype(counts))])
    nulls = values.is_null().to_numpy(zero_copy_only=False)
    placed = np.zeros(len(values), dtype=counts)
    placed[~nulls] = units
    integers = pa.array(placed, mask=nulls)
    return pa.Array.from_buffers(kind, len(values), integers.buffers(), integers.null_count)
