from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.features.tuned import (
    DEFAULT_PARAMETERS,
    PARAMETER_RANGES,
    TUNED_NAMES,
    IndicatorParameters,
    tuned_features,
    tuned_settled_bars,
    tuned_warm_up_bars,
)

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
