from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.features.registry import (
    FEATURE_NAMES,
    FEATURES,
    Feature,
    compute_features,
    require_warm_up,
    warm_up_bars,
)

Builder = Callable[[int], pd.DataFrame]
Market = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe.parse("1h")
DAYS = 60


@pytest.fixture(scope="module")
def market(minutes: Builder, funding: Builder, open_interest: Builder) -> Market:
    """Sixty days of hourly bars with an outage of nineteen hours, scattered absent bars, and holes in both others."""
    rows = minutes(DAYS)
    hours = (rows.index - rows.index[0]) // pd.Timedelta(hours=1)
    absent = np.random.default_rng(3).random(DAYS * 24) < 0.02
    absent[700:719] = True
    rows = rows[~absent[hours]]
    bars = aggregate_bars(rows, HOUR, start=START, end=START + timedelta(days=DAYS))
    snapshots = open_interest(DAYS)
    snapshots = snapshots[
        (snapshots.index < START + timedelta(days=40)) | (snapshots.index > START + timedelta(days=41))
    ]
    return bars, funding(DAYS), snapshots


@pytest.fixture(scope="module")
def whole(market: Market) -> pd.DataFrame:
    return compute_features(*market, timeframe=HOUR)


def _equal(actual: pd.DataFrame, expected: pd.DataFrame, name: str) -> None:
    np.testing.assert_allclose(actual[name], expected[name], rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=name)


def test_the_columns_are_ts_close_and_the_features_in_their_fixed_order(whole: pd.DataFrame, market: Market) -> None:
    assert tuple(whole.columns) == ("ts_close", *FEATURE_NAMES)
    assert (whole["ts_close"] == market[0]["ts_close"]).all()
    assert FEATURE_NAMES[:5] == ("log_return", "volatility_14", "volume_zscore_20", "adx_14", "rsi_14")


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_a_day_with_its_warm_up_equals_the_full_history(name: str, whole: pd.DataFrame, market: Market) -> None:
    for day in (2, 20, 30, 31, 41, 45, 59):
        start = START + timedelta(days=day)
        since = start - warm_up_bars(HOUR) * HOUR.duration
        window = [frame[(frame.index >= since) & (frame.index < start + timedelta(days=1))] for frame in market]
        alone = compute_features(*window, timeframe=HOUR)
        _equal(alone[alone.index >= start], whole.loc[alone.index[alone.index >= start]], name)


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_the_future_changes_no_feature(name: str, whole: pd.DataFrame, market: Market) -> None:
    for cut in (30, 500, 731, 1100, 1300):
        closed = market[0]["ts_close"].iloc[cut - 1]
        known = compute_features(
            market[0].iloc[:cut],
            market[1][market[1].index < closed],
            market[2][market[2].index < closed],
            timeframe=HOUR,
        )
        np.testing.assert_array_equal(known[name], whole[name].iloc[:cut])


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_a_scrambled_future_changes_no_feature(name: str, whole: pd.DataFrame, market: Market) -> None:
    closed = market[0]["ts_close"].iloc[899]
    scrambled = [frame.copy() for frame in market]
    for frame, known in zip(
        scrambled, (market[0]["ts_close"] <= closed, market[1].index < closed, market[2].index < closed), strict=True
    ):
        numbers = frame.select_dtypes("number").columns
        frame.loc[~np.asarray(known), numbers] = frame.loc[~np.asarray(known), numbers] * 3
    changed = compute_features(*scrambled, timeframe=HOUR)
    np.testing.assert_array_equal(changed[name].iloc[:900], whole[name].iloc[:900])


@pytest.mark.parametrize("feature", FEATURES, ids=FEATURE_NAMES)
def test_a_feature_has_values_and_is_null_until_enough_bars_exist(feature: Feature, whole: pd.DataFrame) -> None:
    values = whole[feature.name]
    assert values.iloc[: feature.needed_bars].isna().all()
    assert values.notna().mean() > 0.4
    assert values.std() > 0


def test_spot_has_no_funding_and_no_open_interest(market: Market, whole: pd.DataFrame) -> None:
    spot = compute_features(market[0], None, None, timeframe=HOUR)
    perpetual = [name for name in FEATURE_NAMES if name.startswith(("funding", "open_interest"))]
    assert len(perpetual) == 4
    assert spot[perpetual].isna().all(axis=None)
    _equal(spot, whole, "rsi_14")


def test_a_settlement_counts_for_the_bars_that_close_after_it(market: Market) -> None:
    bars = market[0]
    at = bars["ts_close"].iloc[200]
    for shift, expected in ((-1, 9.0), (0, 1.0)):
        rates = pd.DataFrame(
            {"funding_rate": [1.0, 9.0]},
            index=pd.DatetimeIndex(
                [at - pd.Timedelta(hours=8), at + pd.Timedelta(milliseconds=shift)], name="ts_settle"
            ),
        )
        assert compute_features(bars, rates, None, timeframe=HOUR)["funding_rate"].iloc[200] == expected


def test_a_stale_settlement_and_a_stale_snapshot_are_null(market: Market, whole: pd.DataFrame) -> None:
    hole = START + timedelta(days=40, hours=6)
    assert whole.loc[whole.index == hole, "open_interest_change_1"].isna().all()
    ended = market[1][market[1].index < START + timedelta(days=30)]
    late = compute_features(market[0], ended, None, timeframe=HOUR)
    assert late.loc[late.index >= START + timedelta(days=31), "funding_rate"].isna().all()
    assert late.loc[late.index < START + timedelta(days=30), "funding_rate"].notna().all()


def test_no_bars_give_no_rows_and_every_column(market: Market) -> None:
    empty = compute_features(market[0].iloc[:0], market[1], market[2], timeframe=HOUR)
    assert empty.empty
    assert tuple(empty.columns) == ("ts_close", *FEATURE_NAMES)


def test_volatility_and_returns_are_what_they_say(market: Market, whole: pd.DataFrame) -> None:
    returns = np.log(market[0]["close"]).diff()
    pd.testing.assert_series_equal(whole["log_return"], returns, check_names=False, rtol=1e-12)
    expected = returns.iloc[100:114].std()
    assert whole["volatility_14"].iloc[113] == pytest.approx(expected, rel=1e-12)
    clean = market[0].iloc[200:900]
    hours24 = clean["realized_variance"][clean.index > clean.index[-1] - pd.Timedelta(hours=24)]
    assert whole["har_rv_24h"].loc[clean.index[-1]] == pytest.approx(np.log(hours24.mean()), rel=1e-12)


def test_the_warm_up_covers_wilder_and_a_week() -> None:
    assert warm_up_bars(HOUR) == 630
    assert warm_up_bars(Timeframe.parse("5m")) == 2016
    assert warm_up_bars(Timeframe.parse("1d")) == 630


def _require(rows: pd.DataFrame, *, listed: datetime, start: datetime, empty: tuple[date, ...] = ()) -> None:
    require_warm_up(rows, "bars", reach_bars=96, first_listed=listed, start=start, timeframe=HOUR, empty_days=empty)


def test_missing_warm_up_days_are_named(market: Market) -> None:
    bars = market[0]
    days = bars.index.floor("D")
    holed = bars[~days.isin([START + timedelta(days=n) for n in (10, 11, 13)])]
    with pytest.raises(MissingInputError, match=r"bars of 2024-01-11\.\.2024-01-12, 2024-01-14 are missing"):
        _require(holed, listed=START, start=START + timedelta(days=14))


def test_days_before_the_listing_and_days_without_trading_are_not_missing(market: Market) -> None:
    bars = market[0]
    _require(bars, listed=START, start=START + timedelta(days=2))
    _require(bars, listed=START, start=START)
    holed = bars[bars.index.floor("D") != START + timedelta(days=10)]
    _require(holed, listed=START, start=START + timedelta(days=12), empty=(date(2024, 1, 11),))
