from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import CONTEXT, aggregate_bars
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES

Minutes = Callable[[int], pd.DataFrame]

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe.parse("1h")
REAL = ARCHIVE / "data/spot/daily/klines/BTCUSDT"


def _slowly(frame: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    """The same bars, said one at a time."""
    rows, last = {}, None
    for moment, minute in frame.iterrows():
        opened = moment.floor(timeframe.duration)
        if opened not in rows:
            rows[opened] = minute.to_dict() | {"realized_variance": 0.0, "minutes": 0}
            rows[opened].update({name: 0.0 for name in frame.columns if "volume" in name or name == "trades"})
        bar = rows[opened]
        bar["high"], bar["low"] = max(bar["high"], minute["high"]), min(bar["low"], minute["low"])
        bar["close"] = minute["close"]
        for name in ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"):
            bar[name] += minute[name]
        if last is not None and moment - last[0] <= timedelta(days=1):
            bar["realized_variance"] += np.log(minute["close"] / last[1]) ** 2
        bar["minutes"] += 1
        last = (moment, minute["close"])
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.mark.parametrize("name", ["5m", "15m", "30m", "1h", "4h", "1d"])
def test_bars_equal_those_built_one_minute_at_a_time(name: str, minutes: Minutes) -> None:
    rng = np.random.default_rng(1)
    frame = minutes(2)
    frame = frame[(rng.random(len(frame)) > 0.3) & ~((frame.index.hour >= 5) & (frame.index.hour < 11))]
    timeframe = Timeframe.parse(name)
    bars = aggregate_bars(frame, timeframe, start=START, end=START + timedelta(days=2))
    expected = _slowly(frame, timeframe)
    assert list(bars.columns) == [column.name for column in BARS.columns if column.name != "ts_open"]
    assert (bars["ts_close"] - bars.index == timeframe.duration).all()
    pd.testing.assert_frame_equal(
        bars.drop(columns="ts_close"),
        expected[[name for name in bars.columns if name != "ts_close"]],
        check_dtype=False,
        check_index_type=False,
        check_freq=False,
        check_names=False,
        rtol=1e-12,
    )


@settings(max_examples=30, deadline=None)
@given(
    keep=st.lists(st.integers(0, 4 * 1440 - 1), min_size=3, max_size=60, unique=True),
    day=st.integers(1, 3),
    name=st.sampled_from(["5m", "1h", "4h", "1d"]),
)
def test_a_day_computed_with_the_day_before_it_equals_the_full_history(
    keep: list[int], day: int, name: str, minutes: Minutes
) -> None:
    frame = minutes(4).iloc[sorted(keep)]
    timeframe, start = Timeframe.parse(name), START + timedelta(days=day)
    whole = aggregate_bars(frame, timeframe, start=START, end=START + timedelta(days=4))
    context = frame[(frame.index >= start - CONTEXT) & (frame.index < start + timedelta(days=1))]
    alone = aggregate_bars(context, timeframe, start=start, end=start + timedelta(days=1))
    pd.testing.assert_frame_equal(
        alone, whole[whole["ts_close"].between(start + timeframe.duration, start + timedelta(days=1))], rtol=0, atol=0
    )


def test_a_bar_that_is_not_closed_by_the_end_is_left_out(minutes: Minutes) -> None:
    bars = aggregate_bars(minutes(1), HOUR, start=START, end=START + timedelta(hours=3, minutes=59))
    assert len(bars) == 3
    bars = aggregate_bars(minutes(1), HOUR, start=START + timedelta(minutes=1), end=START + timedelta(hours=3))
    assert bars.index[0] == START + timedelta(hours=1)


def test_no_minutes_make_no_bars_but_the_columns_stay(minutes: Minutes) -> None:
    bars = aggregate_bars(minutes(1).iloc[:0], HOUR, start=START, end=START + timedelta(days=1))
    assert bars.empty
    assert str(bars.index.dtype) == "datetime64[ms, UTC]"
    assert str(bars["ts_close"].dtype) == "datetime64[ms, UTC]"


def test_a_sum_over_an_unknown_value_is_unknown(minutes: Minutes) -> None:
    frame = minutes(1).astype({"trades": "float64"})
    frame.iloc[70, frame.columns.get_loc("trades")] = np.nan
    bars = aggregate_bars(frame, HOUR, start=START, end=START + timedelta(days=1))
    assert bars["trades"].isna().tolist() == [hour == 1 for hour in range(24)]


def test_unsorted_repeated_or_naive_minutes_are_refused(minutes: Minutes) -> None:
    frame = minutes(1)
    for wrong in (frame.iloc[::-1], frame.iloc[[0, 0, 1]], frame.tz_localize(None)):
        with pytest.raises(InvalidDataError):
            aggregate_bars(wrong, HOUR, start=START, end=START + timedelta(days=1))


def _real(interval: str, days: int) -> pd.DataFrame:
    names = ["ts_open", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades"]
    names += ["taker_buy_volume", "taker_buy_quote_volume", "ignore"]
    files = sorted((REAL / interval).glob("*.zip"))[:days]
    frame = pd.concat([pd.read_csv(file, names=names) for file in files])
    frame.index = pd.to_datetime(frame.pop("ts_open"), unit="ms", utc=True).rename("ts_open")
    return frame.drop(columns=["close_time", "ignore"]).astype("float64")


@pytest.mark.skipif(not REAL.is_dir(), reason=NO_FILES)
def test_real_hourly_bars_are_the_aggregate_of_real_minutes() -> None:
    hours = _real("1h", 20)
    minute_rows = _real("1m", 365)
    start = hours.index[0].to_pydatetime()
    end = hours.index[-1].to_pydatetime() + timedelta(hours=1)
    bars = aggregate_bars(minute_rows, HOUR, start=start, end=end)
    assert bars.index.equals(hours.index.as_unit("ms"))
    prices = ["open", "high", "low", "close"]
    assert (bars[prices].to_numpy() == hours[prices].to_numpy()).all()
    sums = ["volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"]
    np.testing.assert_allclose(bars[sums], hours[sums], rtol=1e-9)
    assert (bars["minutes"] == 60).all()
