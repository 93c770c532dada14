"""The time-of-week pattern of volatility: how wide bars are, by weekday or weekend and hour of day."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import PERCENT, Floats

_RANGE_FLOOR = 0.05
"""Bars without a range count as this fraction of the median range: log 0 says nothing about the hour."""


@dataclass(frozen=True, slots=True)
class SeasonalScale:
    """Log relative width of bars, (2, 24): weekday and weekend by UTC hour of opening; its mean over the window is 0.

    Daily bars open at one hour only, which leaves weekday against weekend. Hours that the window lacks have 0.
    """

    log_table: Floats

    @classmethod
    def fit(cls, bars: pd.DataFrame) -> Self:
        """The pattern of the window that ``bars`` are, from mean log(high / low).

        Raises:
            ModelFitError: no bar has a range.
        """
        width = PERCENT * np.log(bars["high"].to_numpy(dtype=np.float64) / bars["low"].to_numpy(dtype=np.float64))
        if not (width > 0).any():
            raise ModelFitError("every bar of the training window has high = low: this market does not move")
        log_width = np.log(np.maximum(width, _RANGE_FLOOR * np.median(width[width > 0])))
        log_width -= log_width.mean()
        cell = _cells(pd.DatetimeIndex(bars.index))
        count = np.bincount(cell, minlength=48)
        total = np.bincount(cell, weights=log_width, minlength=48)
        return cls((total / np.maximum(count, 1)).reshape(2, 24))

    def log_at(self, ts_open: pd.DatetimeIndex) -> Floats:
        """Log scale of the bars that open at ``ts_open``; known in advance, since it depends on the clock only."""
        return self.log_table.ravel()[_cells(ts_open)]

    def at(self, ts_open: pd.DatetimeIndex) -> Floats:
        """Scale of the bars that open at ``ts_open``, about 1 on average."""
        return np.exp(self.log_at(ts_open))


def _cells(ts_open: pd.DatetimeIndex) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    weekend = np.asarray(ts_open.day_of_week) >= 5
    return weekend.astype(np.int64) * 24 + np.asarray(ts_open.hour)
