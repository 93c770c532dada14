"""What a choice of indicator lengths is worth: how well it foretells the size of the next bar's move, out-of-fold."""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import milliseconds, to_milliseconds
from tradecore_pipeline.features.prices import log_mean_variance, log_returns
from tradecore_pipeline.features.tuned import (
    INDICATORS,
    IndicatorParameters,
    bars_before,
    indicator_columns,
    tuned_settled_bars,
)
from tradecore_pipeline.validation.walk_forward import walk_forward_folds

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

HAR_HOURS = (1, 3, 6, 24, 168)
RIDGE_PENALTY = 0.01
"""Per row, on standardized columns: enough to hold HAR terms that are nearly one another, little else."""
_FLOOR_SHARE = 0.1
"""Moves are taken to be at least this share of the median one: below it a log says more about ticks than about risk."""
_LEAST_ROWS_PER_FOLD = 30


class Objective:
    """Out-of-fold error of log |next return| for any choice of lengths, over the same rows and folds for all of them.

    Rows open at or after ``start``, have a next bar right after them (in ``bars``: nothing later is known) and a full
    warm-up for every possible length. Each fold is tested by a ridge on HAR terms and tuned features that was fitted on
    rows before it, less the last ``purge_bars``, whose labels overlap the fold's first.
    """

    def __init__(
        self, bars: pd.DataFrame, *, start: datetime, timeframe: Timeframe, folds: int, purge_bars: int
    ) -> None:
        self._bars = bars
        self._before = bars_before(bars, timeframe)
        self._cache: dict[tuple[str, int], list[Floats]] = {}
        har = np.column_stack([log_mean_variance(bars, timeframe, hours=hours) for hours in HAR_HOURS])
        self._rows = _usable_rows(bars, har, self._before, start=start, timeframe=timeframe)
        if self._rows.size < _LEAST_ROWS_PER_FOLD * (folds + 1):
            raise NotEnoughHistoryError(
                f"tuning needs at least {_LEAST_ROWS_PER_FOLD * (folds + 1)} bars with a full warm-up of "
                f"{tuned_settled_bars()} bars in its window; there are {self._rows.size}: "
                "wait for more history or lengthen the training window"
            )
        self._har = har[self._rows]
        moves = np.abs(log_returns(bars)[self._rows + 1])
        self._target = np.log(np.maximum(moves, max(_FLOOR_SHARE * float(np.median(moves)), 1e-8)))
        self._folds = walk_forward_folds(self._rows.size, folds, purge_bars=purge_bars)

    def __call__(self, parameters: IndicatorParameters) -> float:
        """Mean squared out-of-fold error of log |next return|; smaller is better."""
        inputs = self._inputs(parameters)
        errors = [_fold_errors(inputs, self._target, train, test) for train, test in self._folds]
        return float(np.concatenate(errors).mean())

    def _inputs(self, parameters: IndicatorParameters) -> Floats:
        columns = [self._har]
        for indicator in INDICATORS:
            key = (indicator.parameter, getattr(parameters, indicator.parameter))
            if key not in self._cache:
                values = indicator_columns(self._bars, indicator, length=key[1], before=self._before)
                self._cache[key] = [column[self._rows] for column in values.values()]
            columns.append(np.column_stack(self._cache[key]))
        # A flat market has no volume z-score; zero is what a z-score says of nothing unusual.
        return np.nan_to_num(np.hstack(columns), nan=0.0)


def _usable_rows(
    bars: pd.DataFrame, har: Floats, before: npt.NDArray[np.int64], *, start: datetime, timeframe: Timeframe
) -> Rows:
    opened = milliseconds(bars.index)
    followed = np.zeros(opened.size, dtype=bool)
    followed[:-1] = np.diff(opened) == timeframe.minutes * 60_000
    warm = (before >= tuned_settled_bars()) & np.isfinite(har).all(axis=1)
    return np.flatnonzero(followed & warm & (opened >= to_milliseconds(start)))


def _fold_errors(inputs: Floats, target: Floats, train: Rows, test: Rows) -> Floats:
    """Squared errors on ``test`` of a ridge whose every number comes from ``train``."""
    mean, deviation = inputs[train].mean(axis=0), inputs[train].std(axis=0)
    scaled = (inputs - mean) / np.where(deviation > 0, deviation, 1.0)
    known, level = scaled[train], target[train].mean()
    gram = known.T @ known + RIDGE_PENALTY * train.size * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, known.T @ (target[train] - level))
    return (target[test] - level - scaled[test] @ weights) ** 2
