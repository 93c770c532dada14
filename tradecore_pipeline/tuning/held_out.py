"""What a study's choices are worth in the month that they are for: judged on its bars, which no trial ever saw."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.features.bars import to_milliseconds
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, IndicatorParameters
from tradecore_pipeline.features.tuned_indicators import Indicator
from tradecore_pipeline.tuning.inputs import Inputs
from tradecore_pipeline.tuning.objective import Objective, ObjectiveName, log_moves, row_errors

Floats = npt.NDArray[np.float64]


class HeldOutMonth:
    """A month and the window before it: errors on the window's folds, and errors in the month.

    What is said about the folds is computed from rows that were known at ``month_start``, whatever else ``sources``
    hold: the same as in the study. In the month, each bar is foretold by a ridge fitted on the window.

    Args:
        sources: rows from the window's warm-up to the month's last bar.
        window_start: bars that open before it are warm-up.
        window_end: the first moment after the window's last bar opens.
        month_start: the first moment of the month.
        folds: inside the window.
        purge_bars: left out before each fold.

    Raises:
        NotEnoughHistoryError: the window, or the month, holds too few bars.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        window_start: datetime,
        window_end: datetime,
        month_start: datetime,
        folds: int,
        purge_bars: int,
    ) -> None:
        self._folds, self._purge_bars = folds, purge_bars
        self._window = Inputs(known_before(sources, window_end), start=window_start)
        self._all = Inputs(sources, start=window_start)
        self.indicators: tuple[Indicator, ...] = self._window.indicators
        self._all.indicators = self.indicators
        step = sources.timeframe.minutes * 60_000
        opened = self._all.opened
        rows = self._window.opened.size
        self._train = np.flatnonzero(np.isin(opened, self._window.opened))
        self._test = np.flatnonzero(opened + step >= to_milliseconds(month_start))
        if not self._test.size or not rows:
            raise NotEnoughHistoryError(
                f"there is no bar to test on from {month_start:%Y-%m-%d} on: leave that month out, or backfill it"
            )
        self.bars = int(self._test.size)
        """Bars of the month that were foretold."""
        self._moves = log_moves(self._all.next_returns, known=self._train)

    def inner_errors(self, name: ObjectiveName, parameters: IndicatorParameters) -> Floats:
        """Out-of-fold errors inside the window, in time order."""
        objective = Objective(self._window, name=name, folds=self._folds, purge_bars=self._purge_bars)
        return objective.errors(parameters)

    def test_errors(self, name: ObjectiveName, parameters: IndicatorParameters) -> Floats:
        """Errors of each of the month's bars, in time order."""
        return self._tested(name, self._all.matrix(parameters))

    def test_errors_without(self, name: ObjectiveName, *, har: bool) -> Floats:
        """The same without any indicator: by HAR terms alone, or by nothing but the window's mean."""
        return self._tested(name, self._all.har if har else self._all.har[:, :0])

    def _tested(self, name: ObjectiveName, matrix: Floats) -> Floats:
        return row_errors(name, matrix, self._all.next_returns, self._moves, train=self._train, test=self._test)


def known_before(sources: Sources, end: datetime) -> Sources:
    """The rows of bars that open before ``end``, and of the rest what is stamped before it."""

    def cut(rows: pd.DataFrame | None) -> pd.DataFrame | None:
        return None if rows is None else rows.loc[np.asarray(rows.index < end)]

    bars = sources.bars.loc[np.asarray(sources.bars.index < end)]
    return Sources(bars, cut(sources.funding), cut(sources.open_interest), sources.timeframe)


def drawn_choices(indicators: tuple[Indicator, ...], *, count: int, seed: int) -> list[IndicatorParameters]:
    """``count`` choices of lengths, each drawn evenly from its range."""
    rng = np.random.default_rng(seed)
    return [
        replace(
            DEFAULT_PARAMETERS,
            **{one.parameter: int(rng.integers(one.shortest, one.longest + 1)) for one in indicators},
        )
        for _ in range(count)
    ]
