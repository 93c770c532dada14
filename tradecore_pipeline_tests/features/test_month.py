from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.features.month import frame_digest, month_digest
from tradecore_pipeline.features.registry import compute_features

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe.parse("1h")
DAYS = [date(2024, 1, 2), date(2024, 1, 3)]


@pytest.fixture(scope="module")
def bars(minutes: Callable[[int], pd.DataFrame]) -> pd.DataFrame:
    return aggregate_bars(minutes(4), HOUR, start=START, end=START + timedelta(days=4))


def _digest(bars: pd.DataFrame) -> dict[str, object]:
    return month_digest(bars, compute_features(bars, None, None, timeframe=HOUR), days=DAYS, timeframe=HOUR)


def test_a_month_counts_its_own_days_only(bars: pd.DataFrame) -> None:
    document = _digest(bars)
    assert (document["days"], document["bars"], document["missing_bars"], document["gaps"]) == (2, 48, 0, [])
    assert document["first_ts_open"] == "2024-01-02T00:00:00+00:00"
    assert document["last_ts_open"] == "2024-01-03T23:00:00+00:00"
    assert document["nulls"]["rsi_14"] == 48
    assert document["nulls"]["log_return"] == 0


def test_gaps_are_listed_with_both_ends(bars: pd.DataFrame) -> None:
    document = _digest(bars.drop(bars.index[[30, 31, 40]]))
    assert document["missing_bars"] == 3
    assert document["gaps"] == [
        {"first_missing": "2024-01-02T06:00:00+00:00", "last_missing": "2024-01-02T07:00:00+00:00", "missing_bars": 2},
        {"first_missing": "2024-01-02T16:00:00+00:00", "last_missing": "2024-01-02T16:00:00+00:00", "missing_bars": 1},
    ]


def test_a_month_without_bars_is_one_long_gap(bars: pd.DataFrame) -> None:
    document = _digest(bars.iloc[:0])
    assert (document["bars"], document["missing_bars"], document["first_ts_open"]) == (0, 48, None)


def test_the_digest_changes_with_any_value_and_with_nothing_else(bars: pd.DataFrame) -> None:
    assert frame_digest(bars) == frame_digest(bars.copy())
    renamed = bars.copy()
    renamed.index = renamed.index.as_unit("ns")
    renamed["ts_close"] = renamed["ts_close"].dt.as_unit("ns")
    assert frame_digest(renamed) == frame_digest(bars.astype({"minutes": "int64"}))
    moved = bars.copy()
    moved.iloc[5, moved.columns.get_loc("close")] *= 1 + 1e-15
    assert frame_digest(moved) != frame_digest(bars)
    assert frame_digest(bars.rename(columns={"close": "last"})) != frame_digest(bars)
