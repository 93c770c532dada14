from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.features import technical
from tradecore_pipeline.features.technical import (
    TECHNICAL,
    TECHNICAL_NAMES,
    TECHNICAL_WARM_UP_BARS,
    technical_indicators,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 6
OUTAGE = slice(3 * 1440 + 200, 3 * 1440 + 1000)
REACH = timedelta(minutes=TECHNICAL_WARM_UP_BARS)


@pytest.fixture(scope="module")
def bars(minutes: Callable[[int], pd.DataFrame]) -> pd.DataFrame:
    """Minutes with scattered gaps and an outage of more than the warm-up."""
    rows = minutes(DAYS)
    absent = np.random.default_rng(3).random(len(rows)) < 0.02
    absent[OUTAGE] = True
    return rows[~absent]


@pytest.fixture(scope="module")
def whole(bars: pd.DataFrame) -> pd.DataFrame:
    return technical_indicators(bars, bar_minutes=1)


def _wilder(values: pd.Series, length: int) -> pd.Series:
    return values.ewm(alpha=1 / length, adjust=False).mean()


def _slowly(bars: pd.DataFrame) -> dict[str, pd.Series]:
    """The same indicators from their definitions; the smoothed ones start elsewhere and agree once settled."""
    close, high, low, volume = bars["close"], bars["high"], bars["low"], bars["volume"]
    returns, moved = np.log(close).diff(), close.diff()
    true_range = pd.concat([high - low, (high - close.shift()).abs(), (low - close.shift()).abs()], axis=1).max(axis=1)
    up, down = high.diff(), -low.diff()
    plus = _wilder(up.where((up > down) & (up > 0), 0.0), 14)
    minus = _wilder(down.where((down > up) & (down > 0), 0.0), 14)
    gains, losses = _wilder(moved.clip(lower=0).fillna(0), 14), _wilder((-moved).clip(lower=0).fillna(0), 14)
    macd = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    signal = macd.ewm(span=9, adjust=False).mean()
    middle, half = close.rolling(20).mean(), 2 * close.rolling(20).std(ddof=0)
    return {
        "log_return": returns,
        "volatility_14": returns.rolling(14).std(),
        "volume_zscore_20": (volume - volume.rolling(20).mean()) / volume.rolling(20).std(),
        "adx_14": _wilder((100 * (plus - minus).abs() / (plus + minus)).fillna(0), 14),
        "rsi_14": 100 * gains / (gains + losses),
        "macd_12_26": macd,
        "macd_signal_9": signal,
        "macd_histogram": macd - signal,
        "bollinger_lower_20": middle - half,
        "bollinger_middle_20": middle,
        "bollinger_upper_20": middle + half,
        "atr_14": _wilder(true_range, 14),
        "ema_20": close.ewm(span=20, adjust=False).mean(),
        "obv_change_20": (np.sign(moved).fillna(0) * volume).cumsum().diff(20),
    }


@pytest.mark.parametrize("name", TECHNICAL_NAMES)
def test_an_indicator_is_what_its_definition_says(name: str, whole: pd.DataFrame, bars: pd.DataFrame) -> None:
    expected = _slowly(bars)[name]
    known = whole[name].notna()
    assert known.mean() > 0.75
    np.testing.assert_allclose(whole[name][known], expected[known], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TECHNICAL_NAMES)
def test_a_day_with_its_warm_up_equals_the_full_history(name: str, whole: pd.DataFrame, bars: pd.DataFrame) -> None:
    for day in range(1, DAYS):
        start, end = START + timedelta(days=day), START + timedelta(days=day + 1)
        alone = technical_indicators(bars[(bars.index >= start - REACH) & (bars.index < end)], bar_minutes=1)
        mine, expected = alone[name][alone.index >= start], whole[name][(whole.index >= start) & (whole.index < end)]
        assert expected.notna().any()
        np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", TECHNICAL_NAMES)
def test_the_future_changes_no_indicator(name: str, whole: pd.DataFrame, bars: pd.DataFrame) -> None:
    for cut in (1, 21, 430, 1024, 5000):
        known = technical_indicators(bars.iloc[:cut], bar_minutes=1)
        np.testing.assert_array_equal(known[name], whole[name].iloc[:cut])
        scrambled = bars.copy()
        scrambled.iloc[cut:] *= 3
        changed = technical_indicators(scrambled, bar_minutes=1)
        np.testing.assert_array_equal(changed[name].iloc[:cut], whole[name].iloc[:cut])


@pytest.mark.parametrize("rows", [1, 631, 1000, 5000])
def test_rows_computed_in_chunks_equal_those_computed_at_once(
    rows: int, whole: pd.DataFrame, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(technical, "_CHUNK_ROWS", rows)
    few = 1200 if rows == 1 else len(bars)
    chunked = technical_indicators(bars.iloc[:few], bar_minutes=1)
    pd.testing.assert_frame_equal(chunked, whole.iloc[:few], rtol=1e-9, atol=1e-9)


def test_values_are_null_until_enough_bars_exist_at_the_start_and_after_an_outage(
    whole: pd.DataFrame, bars: pd.DataFrame
) -> None:
    resumed = int(bars.index.searchsorted(START + timedelta(minutes=OUTAGE.stop)))
    for indicator in TECHNICAL:
        for name in indicator.columns:
            for first in (0, resumed):
                assert whole[name].iloc[first : first + indicator.needed_bars].isna().all()
                assert np.isfinite(whole[name].iloc[first + indicator.needed_bars])


def test_the_columns_are_ts_close_and_ten_indicators_known_at_it(whole: pd.DataFrame) -> None:
    assert tuple(whole.columns) == ("ts_close", *TECHNICAL_NAMES)
    assert len(TECHNICAL) == 10
    assert (whole["ts_close"] - whole.index == timedelta(minutes=1)).all()


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_too_short_a_history_gives_every_column_and_only_nulls_that_are_due(rows: int, bars: pd.DataFrame) -> None:
    short = technical_indicators(bars.iloc[:rows], bar_minutes=1)
    assert tuple(short.columns) == ("ts_close", *TECHNICAL_NAMES)
    assert len(short) == rows
    assert short[list(TECHNICAL_NAMES[1:])].isna().all(axis=None)


def test_the_given_bars_are_not_changed(bars: pd.DataFrame) -> None:
    given = bars.copy()
    frame = technical_indicators(given, bar_minutes=1)
    frame[list(TECHNICAL_NAMES)] = 0.0
    pd.testing.assert_frame_equal(given, bars)


def test_impossible_bars_are_refused(bars: pd.DataFrame) -> None:
    for wrong in (0, -1, 1441):
        with pytest.raises(UsageError, match="bar length from 1 to 1440"):
            technical_indicators(bars, bar_minutes=wrong)
    with pytest.raises(InvalidDataError, match="sorted by time"):
        technical_indicators(bars.iloc[::-1], bar_minutes=1)
