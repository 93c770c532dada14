"""Which bars a month's models may be trained on, and purged folds inside a training window."""

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


def purged_folds(rows: int, folds: int, *, purge: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Train and test row numbers of ``folds`` contiguous test blocks; together the tests are every row once.

    Rows within ``purge`` of a test block, on either side, are in neither: after a block their features still remember
    it, before it their labels reach into it.

    Raises:
        NotEnoughHistoryError: a fold would have no rows left to train on.
    """
    edges = np.linspace(0, rows, folds + 1).astype(np.intp)
    every = np.arange(rows)
    result: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for first, last in itertools.pairwise(edges):
        train = every[(every < first - purge) | (every >= last + purge)]
        if first == last or len(train) == 0:
            raise NotEnoughHistoryError(
                f"{rows} bars cannot be cut into {folds} folds with a purge of {purge}: lengthen the training window"
            )
        result.append((train, every[first:last]))
    return result
