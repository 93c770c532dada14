"""The indicator entry against cases by hand."""

from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.strategies.entries.rsi_bb import RSIBBEntryMixin
from tradecore_pipeline.strategies.entries.volatility_target import VolatilityTargetEntryMixin
from tradecore_pipeline.strategies.schema import EntryCriteria, RegimeRule, RegimeTimeframeRule
from tradecore_pipeline_tests.strategies.mixin_cases import CONFIG, closes, market_of, random_market, strength_index


@pytest.mark.parametrize("combine", ["and", "or"])
def test_it_enters_against_what_is_overdone(combine: str) -> None:
    market = random_market(6, 500)
    signals = RSIBBEntryMixin.model_validate({"combine": combine}).signals(market, CONFIG)
    index, close = strength_index(market, 14), market.column("close")
    side = []
    for t in range(500):
        window = close[t - 19 : t + 1]
        mean, half = (window.mean(), 2 * window.std()) if t >= 19 else (np.nan, np.nan)
        long, short = [index[t] <= 30, close[t] <= mean - half], [index[t] >= 70, close[t] >= mean + half]
        said = (all(long), all(short)) if combine == "and" else (any(long), any(short))
        side.append(said[0] - said[1])
    assert signals.side.tolist() == side
    assert {-1, 1} <= set(side)
    assert (signals.strength[signals.side == 0] == 0).all()


def test_its_strength_grows_with_how_far_it_is_overdone() -> None:
    values = [100.0 + (t % 2) for t in range(40)]
    strengths = []
    for last in (89.0, 84.0, 74.0):
        signals = RSIBBEntryMixin(bb_deviations=3.0).signals(closes([*values, last]), CONFIG)
        assert signals.side[-1] == 1
        assert not signals.side[:-1].any()
        strengths.append(signals.strength[-1])
        window = np.array([*values[-19:], last])
        outside = (window.mean() - last) / (3 * window.std()) - 1
        index = strength_index(closes([*values, last]), 14)[-1]
        assert signals.strength[-1] == pytest.approx(((30 - index) / 30 + outside) / 2)
    assert 0 < strengths[0] < strengths[1] < strengths[2] < 1


def test_prices_that_stand_still_are_no_signal() -> None:
    for combine in ("and", "or"):
        mixin = RSIBBEntryMixin.model_validate({"combine": combine})
        assert not mixin.signals(market_of([(100.1, 100.1, 100.1)] * 60), CONFIG).side.any()


def test_it_heeds_its_direction_and_what_the_configuration_forbids() -> None:
    market, mixin = random_market(6, 500), RSIBBEntryMixin(combine="or")
    free = mixin.signals(market, CONFIG).side
    only = mixin.model_copy(update={"direction": "long_only"}).signals(market, CONFIG).side
    assert (only == np.maximum(free, 0)).all()
    rules = CONFIG.model_copy(update={"regime_specific_rules": {"regime_1": RegimeRule(allow_short=False)}})
    assert (mixin.signals(market, rules).side == np.where((market.held == 1) & (free < 0), 0, free)).all()
    aligned = CONFIG.model_copy(update={"entry_criteria": EntryCriteria(require_trend_alignment=True)})
    assert (mixin.signals(market, aligned).side == np.where(market.trend == free, free, 0)).all()
    quiet = CONFIG.model_copy(update={"entry_criteria": EntryCriteria(min_volume_ratio=1.5)})
    assert not mixin.signals(market, quiet).side.any()


def test_it_needs_no_model() -> None:
    market = random_market(6, 500)
    nothing = market_of(
        list(zip(*(market.column(name) for name in ("high", "low", "close")), strict=True)),
        probabilities=np.full((500, 3), np.nan), held=np.full(500, -1), regime=np.full(500, ""),
        forecast=np.full(500, np.nan), volatility=np.full(500, np.nan),
    )  # fmt: skip
    assert (RSIBBEntryMixin().signals(nothing, CONFIG).side == RSIBBEntryMixin().signals(market, CONFIG).side).all()


def test_volatility_targeting_heeds_what_the_configuration_forbids_and_how_certain_the_regime_is() -> None:
    market, mixin = random_market(6, 500), VolatilityTargetEntryMixin(direction="trend")
    anything = CONFIG.model_copy(update={"entry_criteria": EntryCriteria(regime_confidence_threshold=0.0)})
    free = mixin.signals(market, anything).side
    assert {-1, 0, 1} <= set(free)

    def forbidding(**sections: Any) -> list[int]:
        return mixin.signals(market, anything.model_copy(update=sections)).side.tolist()

    calm = {"regime_1": RegimeRule(allow_short=False)}
    assert forbidding(regime_specific_rules=calm) == np.where((market.held == 1) & (free < 0), 0, free).tolist()
    bears = {"all_bearish": RegimeTimeframeRule(allow_long=False)}
    assert forbidding(regime_timeframe_rules=bears) == np.where((market.direction < 0) & (free > 0), 0, free).tolist()
    sure = EntryCriteria(regime_confidence_threshold=0.5)
    assert forbidding(entry_criteria=sure) == np.where(market.confidence >= 0.5, free, 0).tolist()
    assert not any(forbidding(entry_criteria=EntryCriteria(regime_confidence_threshold=0.0, min_volume_ratio=1.5)))
    aligned = EntryCriteria(regime_confidence_threshold=0.0, require_trend_alignment=True)
    long = VolatilityTargetEntryMixin().signals(market, CONFIG.model_copy(update={"entry_criteria": aligned})).side
    assert long.tolist() == np.where(market.known & (market.trend > 0), 1, 0).tolist()
