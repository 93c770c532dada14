"""Look-ahead caught by experiment: what was known at t must not change when its future is removed or scrambled."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
        AssertionError: a row knew of its future; the message names the cut and the row.
    """
    whole = _values(function, frame)
    for cut in cuts:
        _compare(whole[:cut], _values(function, frame.iloc[:cut]), cut, "removed", tolerance)


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
        AssertionError: a row knew of its future; the message names the cut and the row.
    """
    whole = _values(function, frame)
    random = np.random.default_rng(seed)
    for cut in cuts:
        values = frame.to_numpy(dtype=np.float64).copy()
        order = random.permutation(len(frame) - cut)
        values[cut:] = values[cut:][order] * random.uniform(0.5, 2.0)
        scrambled = pd.DataFrame(values, index=frame.index, columns=frame.columns)
        _compare(whole[:cut], _values(function, scrambled)[:cut], cut, "scrambled", tolerance)


def _values(function: Rowwise, frame: pd.DataFrame) -> NDArray[np.float64]:
    array = np.asarray(function(frame), dtype=np.float64)
    if len(array) != len(frame):
        raise AssertionError(f"one row per input row expected, got {len(array)} for {len(frame)}")
    return array.reshape(len(array), -1)


def _compare(expected: NDArray[np.float64], got: NDArray[np.float64], cut: int, done: str, tolerance: float) -> None:
    same = (np.abs(expected - got) <= tolerance) | (np.isnan(expected) & np.isnan(got)) | (expected == got)
    wrong = np.flatnonzero(~same.all(axis=1))
    if len(wrong):
        raise AssertionError(f"row {wrong[0]} changed when the rows from {cut} on were {done}: it looked ahead")
