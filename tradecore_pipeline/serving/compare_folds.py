"""The folds of a comparison: each month's training window and the bars it is forecast on, the same for all variants."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError, NotEnoughHistoryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, features_table
from tradecore_pipeline.domain.time import Timeframe, add_months, day_range, day_start
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.features.tuned import (
    DEFAULT_PARAMETERS,
    IndicatorParameters,
    tuned_features,
    tuned_warm_up_bars,
)
from tradecore_pipeline.models.inputs import FEATURES
from tradecore_pipeline.models.variants import Variant
from tradecore_pipeline.serving.compare_months import Job
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.validation.walk_forward import training_window

MOST_EARLIER = 2
"""How many months earlier a window may end whose fit stands in for one that failed."""
_INDICATORS = "indicator_params"
_ONE_DAY = timedelta(days=1)
_DAYS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """Which months to compare on, and how long their training windows are."""

    instrument: Instrument
    timeframe: Timeframe
    months: tuple[date, ...]
    window_bars: int
    least_bars: int


class Folds:
    """The bars of every month's fold, read once."""

    def __init__(self, lake: Lake, asked: Asked) -> None:
        self._lake = lake
        self.asked = asked
        first, _ = self._window(asked.months[0], 0)
        self.last = day_start(add_months(asked.months[-1], 1))
        earliest, _ = self._window(asked.months[0], MOST_EARLIER)
        # A day more: the last bars' 24 h end there.
        self.bars = lake.read(BARS, asked.instrument, earliest, self.last + _ONE_DAY, timeframe=asked.timeframe)
        self._check(first.date())

    def job(self, variant: Variant, month: date, earlier: int) -> Job | None:
        """What ``variant`` needs for ``month``; None where the window ``earlier`` months before is too short."""
        from tradecore_pipeline.models.ticks import price_tick  # noqa: PLC0415 (scipy)
        from tradecore_pipeline.models.variant_fits import Fold  # noqa: PLC0415 (scipy)

        start, end = self._window(month, earlier)
        seen = self._between(start, day_start(add_months(month, 1)))
        window = seen.loc[seen.index < end]
        if len(window) < self.asked.least_bars:
            if not earlier:
                self._refuse(month, len(window))
            return None
        tick = price_tick(self._between(*self._window(month, 0)))
        names = {**variant.options, **variant.options.get("hmm", {})}.get("features", ())
        fold = Fold(
            self.asked.timeframe, window, seen, self._columns(names, seen), self._indicators(variant, month, seen)
        )
        return Job(variant, month, fold, first=day_start(month), tick=tick, earlier=earlier)

    def _window(self, month: date, earlier: int) -> tuple[datetime, datetime]:
        return training_window(add_months(month, -earlier), bars=self.asked.window_bars, timeframe=self.asked.timeframe)

    def _between(self, start: datetime, end: datetime) -> pd.DataFrame:
        return self.bars.iloc[slice(*self.bars.index.searchsorted(pd.DatetimeIndex([start, end])))]

    def _check(self, first: date) -> None:
        """Refuse days without a file after the first stored one: what they held would be missed without a word."""
        asked = self.asked
        stored = set(self._lake.days(BARS, asked.instrument, timeframe=asked.timeframe))
        begin, until = max(first, min(stored, default=first)), min(max(stored, default=first), self.last.date())
        absent = [day for day in day_range(begin, until) if day not in stored and day < self.last.date()]
        if absent:
            shown = ", ".join(map(str, absent[:_DAYS_SHOWN])) + (" ..." if len(absent) > _DAYS_SHOWN else "")
            raise MissingInputError(
                f"{asked.instrument} has no {asked.timeframe} bars for {len(absent)} days ({shown}): run `tradecore "
                f"run {asked.instrument} --timeframe {asked.timeframe}` over them first"
            )

    def _refuse(self, month: date, bars: int) -> None:
        asked = self.asked
        raise NotEnoughHistoryError(
            f"{asked.instrument} has {bars} {asked.timeframe} bars in the window before {month:%Y-%m} and "
            f"{asked.least_bars} are needed: compare fewer months, or backfill from "
            f"{self._window(month, 0)[0]:%Y-%m-%d}"
        )

    def _columns(self, names: Sequence[str], seen: pd.DataFrame) -> pd.DataFrame | None:
        """The stored features called ``names``; None where the model computes all of them itself."""
        stored = [name for name in names if name not in FEATURES]
        if not stored:
            return None
        asked = self.asked
        table = features_table(FEATURE_NAMES)
        start, end = seen.index[0].to_pydatetime(), seen.index[-1].to_pydatetime() + asked.timeframe.duration
        rows = self._lake.read(table, asked.instrument, start, end, timeframe=asked.timeframe, columns=stored)
        # The first bars there are have no features yet; from then on every bar has them.
        expected = seen.index[seen.index >= rows.index[0]] if len(rows) else seen.index
        if not expected.isin(rows.index).all():
            raise MissingInputError(
                f"{asked.instrument} lacks {asked.timeframe} features between {start:%Y-%m-%d} and {end:%Y-%m-%d}: "
                "materialize features of those days first"
            )
        return rows.reindex(seen.index, columns=stored)

    def _indicators(self, variant: Variant, month: date, seen: pd.DataFrame) -> pd.DataFrame | None:
        """Tuned indicators of ``seen`` by default lengths, or by those that the month's study chose."""
        choice = variant.options.get("tuned", "no")
        if choice == "no":
            return None
        asked, parameters = self.asked, DEFAULT_PARAMETERS
        if choice == "yes":
            document = self._lake.get_document(_INDICATORS, asked.instrument, month, timeframe=asked.timeframe)
            if document is None:
                raise MissingInputError(
                    f"{asked.instrument} has no {asked.timeframe} indicator parameters for {month:%Y-%m}: run "
                    f"`tradecore train`, or compare {variant.name} with tuned=default"
                )
            parameters = IndicatorParameters.from_dict(document["parameters"])
        start, end = seen.index[0].to_pydatetime(), seen.index[-1].to_pydatetime() + asked.timeframe.duration
        warm = start - tuned_warm_up_bars() * asked.timeframe.duration
        bars = self._lake.read(BARS, asked.instrument, warm, end, timeframe=asked.timeframe)
        return tuned_features(bars, parameters, timeframe=asked.timeframe).loc[seen.index]
