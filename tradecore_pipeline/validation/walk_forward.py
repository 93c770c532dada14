"""Which bars a month's models may be trained on, and walk-forward folds inside a training window."""

import itertools
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe, day_start, month_of

LABEL_HORIZON_BARS = 1
"""Bars that a label (the next return) reaches into the future: what has to be purged."""


def training_window(month: date, *, bars: int, timeframe: Timeframe) -> tuple[datetime, datetime]:
    """First and last moment (exclusive, by ts_open) of the ``bars`` bars that a month's models are trained on.

    The window ends one label horizon before the month: the label of its last bar closes as the month begins, so
    nothing in the month is read, whichever way labels are attached.
    """
    end = day_start(month_of(month)) - LABEL_HORIZON_BARS * timeframe.duration
    return end - bars * timeframe.duration, end


def walk_forward_folds(rows: int, folds: int, *, purge_bars: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Train and test row numbers of ``folds`` contiguous test blocks; the block before them is trained on only.

    A fold trains on every row before its test block less the last ``purge_bars``, whose labels reach into it.

    Raises:
        NotEnoughHistoryError: a fold would have no rows to train on or to test.
    """
    edges = np.linspace(0, rows, folds + 2).astype(np.intp)[1:]
    if edges[0] <= purge_bars or (np.diff(edges) == 0).any():
        raise NotEnoughHistoryError(
            f"{rows} bars cannot be cut into {folds} folds with a purge of {purge_bars}: lengthen the training window"
        )
    return [(np.arange(first - purge_bars), np.arange(first, after)) for first, after in itertools.pairwise(edges)]
