"""Rows of other timeframes and averages over models: each bar sees what had closed, and nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.strategies.ensembles import Opinion, averaged_over_models, averaged_over_timeframes
from tradecore_pipeline.strategies.higher import beside
from tradecore_pipeline.strategies.market import NO_STATE, Market

HOUR, FOUR = Timeframe.parse("1h"), Timeframe.parse("4h")
NAMES = np.array(["Bear", "Chop", "Bull"])


def market(timeframe: Timeframe, bars: int, *, seed: int = 0) -> Market:
    random = np.random.default_rng(seed)
    index = pd.date_range("2025-01-01", periods=bars, freq=timeframe.duration, tz="UTC", name="ts_open")
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, bars)))
    frame = pd.DataFrame(
        {"ts_close": index + timeframe.duration, "open": close, "high": close, "low": close, "close": close,
         "volume": np.ones(bars)}, index=index,
    )  # fmt: skip
    probabilities = random.dirichlet([2, 2, 2], bars)
    held = probabilities.argmax(axis=1)
    return Market(
        "binance:BTC/USDT:USDT", timeframe, frame, probabilities, held=held, regime=NAMES[held],
        direction_significant=np.zeros(bars, dtype=np.bool_), trend=np.ones(bars, dtype=np.int64),
        forecast=random.normal(0, 1e-4, bars), volatility=np.full(bars, 0.005), funding_rate=np.full(bars, 1e-4),
    )  # fmt: skip


def test_a_bar_sees_the_newest_higher_bar_that_has_closed_by_its_close() -> None:
    own, other = market(HOUR, 12), market(FOUR, 3)
    joined = beside(other, own.bars)
    assert np.isnan(joined.forecast[:3]).all()
    assert (joined.held[:3] == NO_STATE).all()
    assert joined.bars["close"].iloc[:3].isna().all()
    assert joined.forecast[3:7].tolist() == [other.forecast[0]] * 4
    assert joined.forecast[7:11].tolist() == [other.forecast[1]] * 4
    assert joined.forecast[11] == other.forecast[2]


def test_what_comes_later_changes_no_joined_row() -> None:
    own, other = market(HOUR, 96), market(FOUR, 24)
    whole = beside(other, own.bars)
    for cut in range(1, 24):
        now = own.bars.loc[own.bars["ts_close"] <= other.bars["ts_close"].iloc[cut - 1]]
        part = beside(other.rows(0, cut), now)
        assert np.array_equal(part.forecast, whole.forecast[: len(now)], equal_nan=True)
        assert np.array_equal(part.held, whole.held[: len(now)])


def test_a_higher_bar_whose_successor_is_missing_is_old_and_says_nothing() -> None:
    own, other = market(HOUR, 16), market(FOUR, 4)
    gone = replace(
        other.rows(0, 2),
        bars=other.bars.iloc[[0, 3]],
    )
    joined = beside(gone, own.bars)
    assert joined.known.tolist() == [False] * 3 + [True] * 4 + [False] * 8 + [True]


def test_forecasts_of_timeframes_are_scaled_to_the_bars_own_length_before_they_are_averaged() -> None:
    own, other = market(HOUR, 8), market(FOUR, 2)
    other = replace(other, forecast=np.full(2, 4e-3), volatility=np.full(2, 0.02))
    own = replace(own, forecast=np.full(8, 1e-3), volatility=np.full(8, 0.01), higher={FOUR: beside(other, own.bars)})
    found = averaged_over_timeframes(own, {"1h": 0.5, "4h": 0.5})
    assert found.forecast == pytest.approx(np.full(8, 1e-3))
    assert found.volatility == pytest.approx(np.full(8, 0.01))
    assert found.consensus is not None
    assert found.consensus.tolist() == [1.0] * 8


def test_an_average_over_months_is_over_the_models_that_speak_and_tells_how_many_agree() -> None:
    own = replace(market(HOUR, 3), forecast=np.array([1.0, 1.0, np.nan]))
    older = Opinion(np.full((3, 3), 1 / 3), np.array([-3.0, np.nan, 1.0]), np.array([0.015, np.nan, 0.01]))
    found = averaged_over_models(own, [older])
    assert found.forecast[:2].tolist() == [-1.0, 1.0]
    assert np.isnan(found.forecast[2]), "a bar that its own month's model does not cover stays unknown"
    assert found.volatility[0] == pytest.approx(0.01)
    assert found.probabilities[0] == pytest.approx((own.probabilities[0] + 1 / 3) / 2)
    assert found.consensus is not None
    assert found.consensus[:2].tolist() == [0.5, 1.0]


def test_models_with_another_number_of_states_are_left_out_of_an_average() -> None:
    own = market(HOUR, 4)
    other = Opinion(np.full((4, 2), 0.5), np.full(4, 9.0), np.full(4, 9.0))
    assert np.array_equal(averaged_over_models(own, [other]).forecast, own.forecast)
