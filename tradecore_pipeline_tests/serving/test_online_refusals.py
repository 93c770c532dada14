"""Bars and arguments that a filter does not take: one typed line, and nothing is changed."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline import open_filter
from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, TradecoreError, UsageError
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import HOUR, NOW
from tradecore_pipeline_tests.serving.online_cases import NAME, opened, todays_bars


@pytest.fixture
def home(online_home: Settings) -> Settings:
    return online_home


def shifted(bars: pd.DataFrame, by: timedelta) -> pd.DataFrame:
    return bars.set_axis(bars.index + by)


REFUSED = {
    "again": (lambda b: shifted(b, -HOUR.duration), UsageError, "2025-03-04 23:00 is not the next one"),
    "backwards": (lambda b: b.iloc[::-1], UsageError, "bars are missing between 2025-03-05 00:00 and 2025-03-05 02:00"),
    "twice": (lambda b: b.iloc[[0, 0]], UsageError, "2025-03-05 00:00 is not the next one"),
    "skipped": (lambda b: b.iloc[1:], UsageError, "bars are missing between 2025-03-05 00:00 and 2025-03-05 01:00"),
    "off the grid": (lambda b: shifted(b, timedelta(minutes=7)), UsageError, "no bar opens at 2025-03-05 00:07"),
    "not closed": (lambda b: b.set_axis(b.index + timedelta(hours=9)), UsageError, "bars are missing between"),
    "no zone": (lambda b: b.tz_localize(None), UsageError, "not indexed by ts_open in UTC"),
    "no index": (lambda b: b.reset_index(), UsageError, "not indexed by ts_open in UTC"),
    "no column": (lambda b: b.drop(columns="minutes"), MissingInputError, "the bars lack minutes"),
    "NaN": (lambda b: b.assign(close=[1.0, np.nan, 1.0]), InvalidDataError, "close of the bar at 2025-03-05 01:00 is"),
    "inf": (lambda b: b.assign(realized_variance=np.inf), InvalidDataError, "realized_variance .* is inf"),
    "negative": (lambda b: b.assign(realized_variance=-1e-9), InvalidDataError, "realized_variance .* is -1e-09"),
    "price 0": (lambda b: b.assign(close=0.0), InvalidDataError, "close of the bar at 2025-03-05 00:00 is 0"),
    "minutes": (lambda b: b.assign(minutes=61.0), InvalidDataError, "minutes of the bar at 2025-03-05 00:00 is 61"),
    "nothing": (lambda _: None, UsageError, "the bars are a NoneType, not a pandas DataFrame"),
    "text": (lambda _: "bars.csv", UsageError, "the bars are the text 'bars.csv', not a pandas DataFrame"),
    "rows": (lambda b: b.to_dict("records"), UsageError, "the bars are a list, not a pandas DataFrame"),
    "a column": (lambda b: b["close"], UsageError, "the bars are a Series, not a pandas DataFrame"),
    "None": (lambda b: b.assign(close=[1.0, None, 1.0]).astype({"close": object}), InvalidDataError, "01:00 is nan"),
    "words": (lambda b: b.assign(close=["1", "2", "3"]), InvalidDataError, "00:00 is the text '1', not a number"),
    "objects": (lambda b: b.assign(close=[1.0, [2.0], 3.0]), InvalidDataError, "01:00 is a list, not a number"),
    "flags": (lambda b: b.assign(close=[True, True, True]), InvalidDataError, "00:00 is a bool, not a number"),
    "times": (lambda b: b.assign(close=b.index), InvalidDataError, "00:00 is a Timestamp, not a number"),
    "complex": (lambda b: b.assign(close=b["close"] + 1j), InvalidDataError, "00:00 is a complex, not a number"),
    "two": (lambda b: pd.concat([b, b[["close"]]], axis=1), UsageError, "several columns are called close"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bars_that_are_not_the_next_ones_are_refused_and_change_nothing(home: Settings, case: str) -> None:
    change, error, message = REFUSED[case]
    filtering, bars = opened(home), todays_bars(home)
    before = filtering.filtering.to_json()
    assert issubclass(error, TradecoreError)
    with pytest.raises(error, match=message) as caught:
        filtering.update(change(bars.iloc[:3]))
    assert str(caught.value).startswith("binance:BTC/USDT:USDT 1h: ")
    assert "\n" not in str(caught.value)
    assert filtering.filtering.to_json() == before
    assert len(filtering.update(bars)) == NOW.hour


def test_exact_and_nullable_numbers_are_taken_as_the_numbers_they_are(home: Settings) -> None:
    bars = todays_bars(home)
    expected = opened(home).update(bars)
    exact = bars.assign(close=bars["close"].map(lambda price: Decimal(str(price))), minutes=bars["minutes"].astype(int))
    nullable = bars.astype({"close": "Float64"})
    for given in (exact, nullable):
        pd.testing.assert_frame_equal(opened(home).update(given), expected)


def test_arguments_of_other_types_are_one_typed_line(home: Settings) -> None:
    filtering, bars = opened(home), todays_bars(home)
    before = filtering.filtering.to_json()
    for message, call in {
        "the instrument is a NoneType": lambda: open_filter(None, home=home.home),  # type: ignore[arg-type]
        "the timeframe is a int": lambda: open_filter(NAME, 60, home=home.home),  # type: ignore[arg-type]
        "home is a int": lambda: open_filter(NAME, home=5),  # type: ignore[arg-type]
        "the clock is a int": lambda: open_filter(NAME, home=home.home, clock=5),  # type: ignore[arg-type]
        "path is the text '', which names no file": lambda: filtering.save(""),
        "which names no file": lambda: open_filter(NAME, home=home.home, state="a\0"),
        "is a folder: give the path of a file": lambda: filtering.save(home.home),
        "state is a dict": lambda: open_filter(NAME, home=home.home, state={}),  # type: ignore[arg-type]
        "path is a NoneType": lambda: filtering.save(None),  # type: ignore[arg-type]
        "after_gap is the text 'no'": lambda: filtering.update(bars, after_gap="no"),  # type: ignore[arg-type]
        "the clock gives a datetime without a time zone": lambda: replace(
            filtering, clock=lambda: NOW.replace(tzinfo=None)
        ).update(bars),
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert filtering.filtering.to_json() == before


def test_a_bar_that_has_not_closed_and_one_of_the_next_month_are_refused(home: Settings) -> None:
    filtering, bars = opened(home), todays_bars(home)
    filtering.update(bars)
    following = shifted(bars.iloc[-1:], HOUR.duration)
    with pytest.raises(UsageError, match="2025-03-05 10:00 has not closed at 2025-03-05 10:30"):
        filtering.update(following)
    later = replace(filtering, clock=lambda: NOW + timedelta(days=40))
    with pytest.raises(MissingInputError, match=r"2025-04-01 02:00 is not of 2025-03.* for 2025-04"):
        later.update(shifted(following, timedelta(days=26, hours=16)), after_gap=True)
    assert len(later.update(following)) == 1
