"""What a choice of lengths is judged on: rows, the outcome of the bar after each, and columns known at its close."""

from datetime import datetime

import numpy as np
import numpy.typing as npt

from tradecore_pipeline.features.bars import milliseconds, to_milliseconds
from tradecore_pipeline.features.prices import Sources, log_mean_variance, log_returns
from tradecore_pipeline.features.tuned import (
    IndicatorParameters,
    available_indicators,
    bars_before,
    indicator_columns,
    tuned_settled_bars,
)

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

HAR_HOURS = (1, 3, 6, 24, 168)


class Inputs:
    """HAR terms and tuned columns of the rows that open at or after ``start``, for any choice of lengths.

    A row has a next bar right after it (in ``sources``: nothing later is known) and a full warm-up for every possible
    length, so that all choices are judged on the same rows. Columns are computed once per length.
    """

    def __init__(self, sources: Sources, *, start: datetime) -> None:
        self._sources = sources
        self._before = bars_before(sources.bars, sources.timeframe)
        self._cache: dict[tuple[str, int], list[Floats]] = {}
        self.indicators = available_indicators(sources)
        """Those that are tuned here."""
        har = np.column_stack([log_mean_variance(sources.bars, sources.timeframe, hours=h) for h in HAR_HOURS])
        opened = milliseconds(sources.bars.index)
        followed = np.zeros(opened.size, dtype=bool)
        followed[:-1] = np.diff(opened) == sources.timeframe.minutes * 60_000
        warm = (self._before >= tuned_settled_bars()) & np.isfinite(har).all(axis=1)
        self._rows: Rows = np.flatnonzero(followed & warm & (opened >= to_milliseconds(start)))
        self.har: Floats = har[self._rows]
        """The HAR terms alone."""
        self.opened = opened[self._rows]
        """``ts_open`` of each row in milliseconds since 1970."""
        self.next_returns: Floats = 100 * log_returns(sources.bars)[self._rows + 1]
        """Log return in percent of the bar after each row."""

    def matrix(self, parameters: IndicatorParameters) -> Floats:
        """A row per row: HAR terms, then the columns that ``parameters`` make."""
        columns = [self.har]
        for indicator in self.indicators:
            key = (indicator.parameter, getattr(parameters, indicator.parameter))
            if key not in self._cache:
                values = indicator_columns(self._sources, indicator, length=key[1], before=self._before)
                self._cache[key] = [column[self._rows] for column in values.values()]
            columns.append(np.column_stack(self._cache[key]))
        # A flat market has no volume z-score; zero is what a z-score says of nothing unusual.
        return np.nan_to_num(np.hstack(columns), nan=0.0)
