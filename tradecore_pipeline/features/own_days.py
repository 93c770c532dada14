"""A user's own features as the pipeline stores them: each day from its declared warm-up, and none that looks beyond."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import cast

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.features.bars import milliseconds, to_milliseconds
from tradecore_pipeline.features.own import OwnFeatures, compute_own
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.registry import Feature, Floats
from tradecore_pipeline.features.windows import rows_since

TOLERANCE = 1e-9
"""By what share of its size a value may depend on which other bars were at hand: rounding."""
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OwnDays:
    """Whose days are computed, from which rows."""

    own: OwnFeatures
    sources: Sources
    """From ``own.warm_up_bars`` bar lengths before the first day on, or from the first listed bar."""
    subject: str
    """The instrument, for messages."""

    def compute(self, first: date, last: date) -> pd.DataFrame:
        """The rows of the days from ``first`` to ``last``: ``ts_close``, then a column per feature.

        Each day and feature is computed from that day's bars and the feature's own warm-up, so that a value does not
        depend on which days are computed together. It is then computed twice more, from everything at hand up to the
        middle and up to the last bar but one, and must be the same: what reads the future or more bars than it declares
        is refused where that shows.

        Raises:
            UsageError: a feature failed, returned something else than a number per bar, has no value where it must
                have one, or was another then. The message names file, feature, instrument and day.
        """
        columns = [self._column(own, list(day_range(first, last))) for own in self.own.features]
        index = self._between(first, last).index
        closes = {"ts_close": index + self.sources.timeframe.duration}
        return pd.DataFrame(closes | {str(column.name): column.to_numpy() for column in columns}, index=index)

    def _column(self, own: Feature, days: Sequence[date]) -> pd.Series:
        parts = [self._day(own, day) for day in days]
        column: pd.Series = pd.concat(parts)
        self._require_values(own, column)
        self._require_same(own, column)
        return column

    def _day(self, own: Feature, day: date) -> pd.Series:
        start = day_start(day)
        before = start - own.warm_up_bars * self.sources.timeframe.duration
        bars = _cut(self.sources.bars, before, start + _ONE_DAY)
        if not len(_cut(bars, start, start + _ONE_DAY)):
            return pd.Series(np.empty(0), index=bars.index[:0], name=own.name)
        return self._computed(own, bars, before, str(day)).loc[start:]

    def _computed(self, own: Feature, bars: pd.DataFrame, before: datetime, when: str) -> pd.Series:
        """The feature on ``bars``, which know what else was stamped from ``before`` up to the close of their last."""
        timeframe = self.sources.timeframe
        known = bars.index[-1].to_pydatetime() + timeframe.duration
        funding, interest = (
            None if rows is None else _cut(rows, before, known)
            for rows in (self.sources.funding, self.sources.open_interest)
        )
        try:
            return cast("pd.Series", compute_own([own], bars, funding, interest, timeframe=timeframe)[own.name])
        except UsageError as error:
            raise UsageError(f"{self.subject} {when}: {error}") from error

    def _require_values(self, own: Feature, column: pd.Series) -> None:
        if own.name in self.own.nullable:
            return
        opened = milliseconds(self.sources.bars.index)
        before = rows_since(opened, own.warm_up_bars * self.sources.timeframe.minutes * 60_000)
        due = pd.Series(before >= own.needed_bars, index=self.sources.bars.index).reindex(column.index).to_numpy()
        lost = np.flatnonzero(np.isnan(column.to_numpy()) & due)
        if lost.size:
            raise UsageError(
                f"{self._where(own, column.index[lost[0]])} is NaN, though {own.warm_up_bars} bars are before it: "
                "raise warm_up_bars, or declare nullable=True if there may be no value"
            )

    def _require_same(self, own: Feature, column: pd.Series) -> None:
        """Compare with what comes of all bars at hand up to some: more of the past, and less of the future."""
        if column.empty:
            return
        bars = self.sources.bars.loc[: column.index[-1]]
        for known in (len(bars) - len(column) // 2, len(bars)):
            self._require_same_up_to(own, column, bars.iloc[: known - 1])

    def _require_same_up_to(self, own: Feature, column: pd.Series, bars: pd.DataFrame) -> None:
        kept = column.loc[column.index.isin(bars.index)]
        if kept.empty:
            return
        again = self._computed(own, bars, datetime.min.replace(tzinfo=UTC), "all at once").loc[kept.index]
        odd = np.flatnonzero(_differ(kept.to_numpy(), again.to_numpy()))
        if odd.size:
            moment = kept.index[odd[0]]
            raise UsageError(
                f"{self._where(own, moment)} is {kept.loc[moment]:g} from its {own.warm_up_bars} warm-up bars and "
                f"that day, and {again.loc[moment]:g} with more bars before and fewer after: it reads the future, or "
                "more bars than it declares (`tradecore lookahead` tells which)"
            )

    def _where(self, own: Feature, moment: pd.Timestamp) -> str:
        return f"{self.own.paths[own.name]}: feature {own.name} of {self.subject} at {moment:%Y-%m-%d %H:%M}"

    def _between(self, first: date, last: date) -> pd.DataFrame:
        return _cut(self.sources.bars, day_start(first), day_start(last) + _ONE_DAY)


def _cut(rows: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """The rows whose index lies in [start, end)."""
    return rows.iloc[slice(*np.searchsorted(milliseconds(rows.index), [to_milliseconds(start), to_milliseconds(end)]))]


def _differ(left: Floats, right: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    size = np.fmax(np.abs(left), np.abs(right))
    usual = float(np.nanmedian(np.abs(left))) if np.isfinite(left).any() else 0.0
    apart = np.abs(left - right) > TOLERANCE * np.fmax(size, usual)
    return apart | (np.isnan(left) != np.isnan(right))
