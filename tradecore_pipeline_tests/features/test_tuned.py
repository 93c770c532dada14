from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.tuned import (
    DEFAULT_PARAMETERS,
    PARAMETER_RANGES,
    TUNED_NAMES,
    IndicatorParameters,
    available_indicators,
    tuned_columns,
    tuned_features,
    tuned_settled_bars,
    tuned_warm_up_bars,
)
from tradecore_pipeline.features.tuned_indicators import INDICATORS

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe.parse("1h")
LONGEST = IndicatorParameters(**{name: high for name, (_, high) in PARAMETER_RANGES.items()})
SHORTEST = IndicatorParameters(**{name: low for name, (low, _) in PARAMETER_RANGES.items()})


@pytest.fixture(scope="module")
def bars(minutes: Callable[[int], pd.DataFrame]) -> pd.DataFrame:
    rows = minutes(60)
    hours = (rows.index - rows.index[0]) // pd.Timedelta(hours=1)
    absent = np.random.default_rng(3).random(60 * 24) < 0.02
    return aggregate_bars(rows[~absent[hours]], HOUR, start=START, end=START + timedelta(days=60))


@pytest.mark.parametrize("parameters", [DEFAULT_PARAMETERS, LONGEST, SHORTEST], ids=["default", "longest", "shortest"])
def test_tuned_features_are_causal_and_need_only_their_warm_up(
    parameters: IndicatorParameters, bars: pd.DataFrame
) -> None:
    whole = tuned_features(bars, parameters, timeframe=HOUR)
    assert tuple(whole.columns) == TUNED_NAMES
    assert whole.iloc[tuned_settled_bars() :].notna().all(axis=None)
    pd.testing.assert_frame_equal(
        tuned_features(bars.iloc[:1000], parameters, timeframe=HOUR), whole.iloc[:1000], rtol=0, atol=0
    )
    for day in (45, 52):
        start = START + timedelta(days=day)
        window = bars[bars.index >= start - tuned_warm_up_bars() * HOUR.duration]
        alone = tuned_features(window, parameters, timeframe=HOUR)
        pd.testing.assert_frame_equal(alone[alone.index >= start], whole[whole.index >= start], rtol=1e-9, atol=1e-9)


def test_the_level_of_price_and_volume_does_not_matter(bars: pd.DataFrame) -> None:
    scaled = bars.copy()
    scaled[["open", "high", "low", "close"]] *= 1e-4
    scaled["volume"] *= 1e6
    pd.testing.assert_frame_equal(
        tuned_features(scaled, DEFAULT_PARAMETERS, timeframe=HOUR),
        tuned_features(bars, DEFAULT_PARAMETERS, timeframe=HOUR),
        rtol=1e-6,
        atol=1e-6,
    )


def test_each_length_moves_only_its_own_columns(bars: pd.DataFrame) -> None:
    before = tuned_features(bars, DEFAULT_PARAMETERS, timeframe=HOUR)
    after = tuned_features(bars, replace(DEFAULT_PARAMETERS, bollinger_length=40), timeframe=HOUR)
    moved = [name for name in TUNED_NAMES if not before[name].equals(after[name])]
    assert moved == ["tuned_log_band_width", "tuned_band_position"]


def test_a_length_outside_its_range_is_refused() -> None:
    with pytest.raises(UsageError, match="rsi_length is 400"):
        replace(DEFAULT_PARAMETERS, rsi_length=400)


def test_parameters_survive_their_dictionary() -> None:
    assert IndicatorParameters.from_dict(LONGEST.to_dict()) == LONGEST


@pytest.fixture(scope="module")
def perpetual(
    bars: pd.DataFrame,
    funding: Callable[[int], pd.DataFrame],
    open_interest: Callable[[int], pd.DataFrame],
) -> Sources:
    return Sources(bars, funding(60), open_interest(60), HOUR)


@pytest.mark.parametrize("parameters", [DEFAULT_PARAMETERS, LONGEST, SHORTEST], ids=["default", "longest", "shortest"])
def test_a_day_of_a_perpetual_alone_equals_its_full_history(
    parameters: IndicatorParameters, perpetual: Sources
) -> None:
    whole = tuned_columns(perpetual, parameters)
    assert set(whole.columns) - set(TUNED_NAMES) == {
        "tuned_funding_mean",
        "tuned_funding_zscore",
        "tuned_open_interest_change",
    }
    assert whole.iloc[tuned_settled_bars() :].notna().all(axis=None)
    pd.testing.assert_frame_equal(whole[list(TUNED_NAMES)], tuned_features(perpetual.bars, parameters, timeframe=HOUR))
    start = START + timedelta(days=50)
    first = start - tuned_warm_up_bars() * HOUR.duration
    end = start + timedelta(days=1)

    def cut(rows: pd.DataFrame | None, before: timedelta) -> pd.DataFrame:
        assert rows is not None
        return rows[(rows.index >= first - before) & (rows.index < end)]

    given = Sources(
        cut(perpetual.bars, timedelta(0)),
        cut(perpetual.funding, timedelta(days=1)),
        cut(perpetual.open_interest, timedelta(days=1)),
        HOUR,
    )
    alone = tuned_columns(given, parameters)
    pd.testing.assert_frame_equal(
        alone[alone.index >= start], whole[(whole.index >= start) & (whole.index < end)], rtol=1e-9, atol=1e-9
    )


def test_spot_and_a_perpetual_without_rows_have_no_columns_of_funding(bars: pd.DataFrame, perpetual: Sources) -> None:
    assert perpetual.funding is not None
    empty = Sources(bars, perpetual.funding.iloc[:0], None, HOUR)
    assert tuple(tuned_columns(empty, DEFAULT_PARAMETERS).columns) == TUNED_NAMES
    assert {one.source for one in available_indicators(empty)} == {"bars"}


def test_the_oscillators_are_those_that_everybody_knows(bars: pd.DataFrame) -> None:
    import talib  # noqa: PLC0415 (an oracle)

    high, low, close, volume = (bars[name].to_numpy() for name in ("high", "low", "close", "volume"))
    ours = tuned_features(bars, DEFAULT_PARAMETERS, timeframe=HOUR)
    log_macd, _, log_histogram = talib.MACD(np.log(close), 12, 26, 9)
    expected = {
        "tuned_williams": talib.WILLR(high, low, close, 14),
        "tuned_mfi": talib.MFI(high, low, close, volume, 14),
        "tuned_cci": talib.CCI(high, low, close, 20),
        "tuned_stochastic": talib.STOCH(high, low, close, 14, 3, 0, 3, 0)[0],
        "tuned_ema_distance": np.log(close) - talib.EMA(np.log(close), 20),
        "tuned_sma_distance": np.log(close) - talib.SMA(np.log(close), 50),
        "tuned_macd": log_macd,
        "tuned_macd_histogram": log_histogram,
    }
    for name, values in expected.items():
        settled = slice(tuned_settled_bars(), None)
        np.testing.assert_allclose(ours[name].to_numpy()[settled], values[settled], rtol=1e-7, atol=1e-8, err_msg=name)


def test_a_market_that_stands_still_has_oscillators_in_the_middle(bars: pd.DataFrame) -> None:
    still = bars.copy()
    still[["open", "high", "low", "close"]] = 100.0
    still["volume"] = 0.0
    last = tuned_features(still, DEFAULT_PARAMETERS, timeframe=HOUR).iloc[-1]
    middles = {"tuned_stochastic": 50, "tuned_williams": -50, "tuned_mfi": 50, "tuned_cci": 0, "tuned_obv_change": 0}
    assert last[list(middles)].to_dict() == pytest.approx(middles)


def test_lengths_of_an_older_version_are_refused_with_what_to_do() -> None:
    older = dict.fromkeys(("rsi_length", "adx_length", "atr_length"), 14)
    with pytest.raises(MissingInputError, match=r"another version \(bollinger_length.*tune that month again"):
        IndicatorParameters.from_dict(older)
    with pytest.raises(MissingInputError, match=r"\(rsi_length\): tune that month again"):
        IndicatorParameters.from_dict(LONGEST.to_dict() | {"rsi_length": 400})


def test_every_default_lies_within_its_range_and_fits_the_warm_up() -> None:
    assert [one.parameter for one in INDICATORS] == list(DEFAULT_PARAMETERS.to_dict())
    for one in INDICATORS:
        assert one.shortest <= one.default <= one.longest
        assert one.settled(one.longest) <= tuned_settled_bars() < tuned_warm_up_bars()
