"""A day at a time equals the full history, from the minutes on, at every timeframe."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import TIMEFRAME_MINUTES, Timeframe
from tradecore_pipeline.features.bars import CONTEXT, aggregate_bars
from tradecore_pipeline.features.registry import FEATURE_NAMES, compute_features, warm_up_bars
from tradecore_pipeline.features.technical import TECHNICAL_WARM_UP_BARS, technical_indicators
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, tuned_features, tuned_warm_up_bars

Builder = Callable[[int], pd.DataFrame]

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = {"5m": 12, "15m": 14, "30m": 24, "1h": 45, "4h": 170, "1d": 980}
"""Enough for every warm-up to end before the last days."""


@dataclass(frozen=True)
class History:
    timeframe: Timeframe
    minutes: pd.DataFrame
    bars: pd.DataFrame
    funding: pd.DataFrame
    open_interest: pd.DataFrame

    @property
    def days(self) -> list[datetime]:
        """The second day, one in the middle, the one after a day without bars, and the last two."""
        count = DAYS[self.timeframe.name]
        return [START + day * DAY for day in (1, count // 2, count * 2 // 3, count - 2, count - 1)]


@pytest.fixture(scope="module", params=list(TIMEFRAME_MINUTES))
def history(request: pytest.FixtureRequest, minutes: Builder, funding: Builder, open_interest: Builder) -> History:
    """Minutes with scattered gaps, among them whole bars and one whole day, and all that follows from them."""
    timeframe = Timeframe.parse(request.param)
    count = DAYS[timeframe.name]
    rows = minutes(count)
    random = np.random.default_rng(5)
    bar_of_row = np.arange(len(rows)) // timeframe.minutes
    absent = (random.random(len(rows)) < 0.01) | (random.random(bar_of_row[-1] + 1) < 0.01)[bar_of_row]
    silent = (count * 2 // 3 - 1) * 1440
    absent[silent : silent + 1440] = True
    rows = rows[~absent]
    bars = aggregate_bars(rows, timeframe, start=START, end=START + count * DAY)
    return History(timeframe, rows, bars, funding(count), open_interest(count))


def _between(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    return frame.loc[(frame.index >= start) & (frame.index < end)]


def _assert_equal(alone: pd.DataFrame, whole: pd.DataFrame, start: datetime) -> None:
    alone, whole = (_between(frame, start, start + DAY) for frame in (alone, whole))
    assert len(whole)
    pd.testing.assert_frame_equal(alone, whole, rtol=1e-9, atol=1e-9)


def test_bars_of_a_day_alone_are_those_of_the_full_history(history: History) -> None:
    for start in history.days:
        given = _between(history.minutes, start - CONTEXT, start + DAY)
        alone = aggregate_bars(given, history.timeframe, start=start, end=start + DAY)
        pd.testing.assert_frame_equal(alone, _between(history.bars, start, start + DAY), rtol=0, atol=0)


def test_features_of_a_day_alone_are_those_of_the_full_history(history: History) -> None:
    whole = compute_features(history.bars, history.funding, history.open_interest, timeframe=history.timeframe)
    assert whole.iloc[-1][list(FEATURE_NAMES)].notna().all()
    for start in history.days:
        since = start - warm_up_bars(history.timeframe) * history.timeframe.duration
        given = [_between(rows, since, start + DAY) for rows in (history.bars, history.funding, history.open_interest)]
        _assert_equal(compute_features(*given, timeframe=history.timeframe), whole, start)


def test_tuned_features_of_a_day_alone_are_those_of_the_full_history(history: History) -> None:
    whole = tuned_features(history.bars, DEFAULT_PARAMETERS, timeframe=history.timeframe)
    assert whole.iloc[-1].notna().all()
    for start in history.days:
        given = _between(history.bars, start - tuned_warm_up_bars() * history.timeframe.duration, start + DAY)
        _assert_equal(tuned_features(given, DEFAULT_PARAMETERS, timeframe=history.timeframe), whole, start)


def test_technical_indicators_of_a_day_alone_are_those_of_the_full_history(history: History) -> None:
    whole = technical_indicators(history.bars, bar_minutes=history.timeframe.minutes)
    assert whole.iloc[-1].notna().all()
    for start in history.days:
        given = _between(history.bars, start - TECHNICAL_WARM_UP_BARS * history.timeframe.duration, start + DAY)
        _assert_equal(technical_indicators(given, bar_minutes=history.timeframe.minutes), whole, start)
