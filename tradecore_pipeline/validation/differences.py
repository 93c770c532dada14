"""Two runs of one thing compared, and the noise that stands for a future: what every look-ahead test is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Matrix = NDArray[Any]

THERE, ABSENT = "there", "absent"
"""In place of values, where a whole column or row is the difference."""

_FACTORS = (0.5, 2.0)
"""Noise is a row from elsewhere in the future, times a number between these."""


@dataclass(frozen=True, slots=True)
class Change:
    """The first row of one column that differs."""

    column: str
    row: int
    before: Any
    after: Any


def scrambled(frame: pd.DataFrame, keep: int, random: np.random.Generator) -> pd.DataFrame:
    """The frame with all but its first ``keep`` rows shuffled, and their decimal numbers scaled row by row.

    The index and columns that are no numbers stay in place; whole numbers (counts) are shuffled only.
    """
    later = len(frame) - keep
    order = keep + random.permutation(later)
    factors = random.uniform(*_FACTORS, size=later)
    columns: dict[Any, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
            columns[name] = column.array
            continue
        values = column.to_numpy().copy()
        values[keep:] = values[order]
        if values.dtype.kind == "f":
            values[keep:] *= factors
        columns[name] = values
    return pd.DataFrame(columns, index=frame.index, columns=frame.columns)


def first_changes(expected: pd.DataFrame, got: pd.DataFrame, *, allowed: Mapping[str, float]) -> list[Change]:
    """Per column that differs its first differing row, by place; both frames have the same rows.

    Args:
        expected: numbers, flags, times, words, or arrays of numbers of one shape, which count as one column.
        got: what is compared with it.
        allowed: by column, the largest difference of numbers that is none. Two NaN are equal, and two infinities.
    """
    changes: list[Change] = []
    for name in expected.columns:
        if name not in got:
            changes.append(Change(str(name), 0, THERE, ABSENT))
            continue
        change = _first_change(str(name), _column(expected, name), _column(got, name), allowed[str(name)])
        changes += [] if change is None else [change]
    new = [name for name in got.columns if name not in expected]
    return changes + [Change(str(name), 0, ABSENT, THERE) for name in new]


def median_sizes(frame: pd.DataFrame) -> dict[str, float]:
    """The median size of each column's numbers that are neither zero nor infinite; 0 where there are none."""
    return {str(name): _median_size(_column(frame, name)) for name in frame.columns}


def _median_size(values: Matrix) -> float:
    if values.dtype.kind != "f":
        return 0.0
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.median(sizes)) if sizes.size else 0.0


def _first_change(name: str, before: Matrix, after: Matrix, allowed: float) -> Change | None:
    if before.shape != after.shape:
        return Change(name, 0, str(before.shape), str(after.shape))
    if before.dtype.kind == "f" and after.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # infinity less infinity
            same = np.abs(before - after) <= allowed
        same |= (np.isnan(before) & np.isnan(after)) | (before == after)
    else:
        same = np.asarray(before == after)
    if same.all():
        return None
    row, place = (int(part[0]) for part in np.nonzero(~same))
    return Change(name, row, before[row, place], after[row, place])


def _column(frame: pd.DataFrame, name: Any) -> Matrix:
    found: Any = frame[name]
    return _matrix(found)


def _matrix(column: pd.Series) -> Matrix:
    """A row of values per row: one, or as many as the array in its cell holds."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)[:, None]
    values = column.to_numpy(dtype=object)
    if len(values) and isinstance(values[0], np.ndarray):
        return np.array([np.ravel(value) for value in values], dtype=np.float64)
    return values[:, None]
