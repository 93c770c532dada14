"""Look-ahead caught by assertion, for tests: what was known at t must not change without its future, or with another.

The detector for a whole configuration, by moments and names of columns, is ``lookahead``.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.validation.differences import first_changes, scrambled

Rowwise = Callable[[pd.DataFrame], pd.DataFrame | pd.Series | NDArray[np.float64]]
"""Something that gives one row of results per row of its input, in order."""


def assert_causal(function: Rowwise, frame: pd.DataFrame, cuts: Iterable[int], *, tolerance: float) -> None:
    """Check that rows before each cut do not change when the rows from the cut on are removed.

    Args:
        function: the thing under test.
        frame: its input, in time order.
        cuts: row numbers to cut at.
        tolerance: largest absolute difference allowed; 0 for bit-identical.

    Raises:
        AssertionError: a row knew of its future; the message names the cut, the column and the row.
    """
    whole = _values(function, frame)
    for cut in cuts:
        _compare(whole.iloc[:cut], _values(function, frame.iloc[:cut]), cut, "removed", tolerance)


def assert_future_does_not_matter(
    function: Rowwise, frame: pd.DataFrame, cuts: Iterable[int], *, seed: int, tolerance: float
) -> None:
    """Check that rows before each cut do not change when the rows from the cut on are shuffled and scaled.

    Catches what removal cannot: a function that looks ahead only when there is something to see.

    Args:
        function: the thing under test.
        frame: its input, in time order, floats; the index stays in place.
        cuts: row numbers to cut at.
        seed: of the scrambling.
        tolerance: largest absolute difference allowed; 0 for bit-identical.

    Raises:
        AssertionError: a row knew of its future; the message names the cut, the column and the row.
    """
    whole = _values(function, frame)
    random = np.random.default_rng(seed)
    for cut in cuts:
        noise = _values(function, scrambled(frame, cut, random))
        _compare(whole.iloc[:cut], noise.iloc[:cut], cut, "scrambled", tolerance)


def _values(function: Rowwise, frame: pd.DataFrame) -> pd.DataFrame:
    found = function(frame)
    if len(found) != len(frame):
        raise AssertionError(f"one row per input row expected, got {len(found)} for {len(frame)}")
    names = list(map(str, found.columns)) if isinstance(found, pd.DataFrame) else None
    array = np.asarray(found, dtype=np.float64)
    return pd.DataFrame(array.reshape(len(array), -1), columns=names)


def _compare(expected: pd.DataFrame, got: pd.DataFrame, cut: int, done: str, tolerance: float) -> None:
    changes = first_changes(expected, got, allowed=dict.fromkeys(map(str, expected.columns), tolerance))
    if changes:
        first = min(changes, key=lambda change: change.row)
        raise AssertionError(
            f"row {first.row} of column {first.column} changed when the rows from {cut} on were {done}: it looked ahead"
        )
