import json

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models import bootstrap, direction
from tradecore_pipeline.models.bootstrap import resampled_sums
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.direction import (
    DirectionEvidence,
    difference_of_means,
    direction_evidence,
    direction_names,
    equal_rows,
    legend_names,
    volatility_labels,
    volatility_regime_names,
)
from tradecore_pipeline_tests.models.markets import SimulatedMarket


def test_states_are_named_by_scale_and_numbered_above_three() -> None:
    assert volatility_regime_names(2, equal=False) == ("Calm", "Turbulent")
    assert volatility_regime_names(3, equal=False) == ("Calm", "Normal", "Turbulent")
    assert volatility_regime_names(5, equal=False) == ("Level 1", "Level 2", "Level 3", "Level 4", "Level 5")


def test_names_by_volatility_follow_the_model_of_each_bar() -> None:
    published = np.array(["Calm", "Turbulent", "Equal 2", "Equal 1"], dtype=object)
    equal = equal_rows(published)
    labels = volatility_labels(np.array([1, -1, 1, 0]), equal, states=2)
    assert labels.tolist() == ["Turbulent", "", "Equal 2", "Equal 1"]
    assert legend_names(equal[:2], states=2) == ("Calm", "Turbulent")
    assert legend_names(equal, states=2) == ("Calm / Equal 1", "Turbulent / Equal 2")
    assert legend_names(equal[:0], states=2) == ("Calm", "Turbulent")


def test_states_are_named_by_mean_return() -> None:
    assert direction_names(np.array([2.0, -1.0])) == ("Bull", "Bear")
    assert direction_names(np.array([0.5, -9.0, 0.1])) == ("Bull", "Bear", "Chop")
    assert direction_names(np.array([4.0, 3.0, 2.0, 1.0])) == ("Strong Bull", "Bull", "Bear", "Strong Bear")
    assert direction_names(np.array([1.0, 2, 3, 4, 5]))[2] == "Chop"


def evidence(bars: pd.DataFrame, timeframe: str = "1h") -> DirectionEvidence:
    return direction_evidence(
        bars,
        timeframe=Timeframe(timeframe),
        states=2,
        restarts=4,
        emission="return_variance",
        features=(),
        carry_bars=(1, 3),
        seed=7,
    )


def test_a_market_without_direction_is_not_called_significant(market: SimulatedMarket) -> None:
    found = evidence(market.bars)
    assert not found.significant
    assert found.low_bps < found.difference_bps < found.high_bps


def test_a_real_difference_is_found_and_noise_is_not() -> None:
    random = np.random.default_rng(5)
    top = np.repeat(random.random(200) < 0.5, 20)
    noise = random.normal(0, 50, len(top))
    strong = difference_of_means(noise + 30 * top, top, ~top, block_bars=48, seed=1)
    assert strong.significant
    assert strong.difference_bps == pytest.approx(30, abs=6)
    calls = [
        difference_of_means(random.normal(0, 50, len(top)), top, ~top, block_bars=48, seed=1).significant
        for _ in range(200)
    ]
    assert np.mean(calls) < 0.08


def test_a_first_half_without_an_acceptable_fit_is_no_evidence_and_says_why(market: SimulatedMarket) -> None:
    found = evidence(market.bars.iloc[:60])
    assert not found.significant
    assert "too few" in found.reason
    assert json.loads(json.dumps(found.to_json()))["low_bps"] is None


def test_intervals_of_short_bars_are_resampled_in_whole_days_too(
    market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[int] = []

    def watched(values: Floats, *, block_bars: int, seed: int) -> Floats:
        blocks.append(block_bars)
        return resampled_sums(values, block_bars=block_bars, seed=seed)

    monkeypatch.setattr(bootstrap, "resampled_sums", watched)
    monkeypatch.setattr(direction, "resampled_sums", watched)
    bars = market.bars.set_axis(pd.date_range("2022-01-03", periods=3000, freq="15min", tz="UTC", name="ts_open"))
    evidence(bars.assign(minutes=15.0), "15m")
    assert blocks == [192, 192]


def test_a_state_of_few_bars_is_no_evidence() -> None:
    top = np.arange(4000) < 100
    returns = np.random.default_rng(1).normal(size=4000)
    assert np.isfinite(difference_of_means(returns, top, ~top, block_bars=5, seed=1).difference_bps)
    assert "fewer than 576 bars" in difference_of_means(returns, top, ~top, block_bars=576, seed=1).reason
    assert (
        "fewer than 48 bars"
        in difference_of_means(returns, top[::-1] & (np.arange(4000) < 3940), ~top, block_bars=5, seed=1).reason
    )
