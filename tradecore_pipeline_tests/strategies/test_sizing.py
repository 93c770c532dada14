"""How large positions are, and what changes that."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.reading import variant
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.strategies.mixin_cases import closes
from tradecore_pipeline_tests.strategies.worlds import FOUR_HOURS, HOUR, QUARTER, changed, seen, shipped, world

PLAIN = changed(
    StrategyConfig(name="tested"),
    backtesting_parameters={"warmup": 0, "leverage": 100.0},
    entry_criteria={"prediction_threshold": 0.0, "regime_confidence_threshold": 0.5},
    position_sizing={"use_confidence": False, "base_position_size": 0.4, "max_position_size": 3.0},
)


def one_bar(config: StrategyConfig, **columns: Any) -> float:
    """The signed size at a bar in state 0 (Chop), forecast +.0001, volatility .01."""
    market = replace(closes([100.0]), **{name: np.array([value]) for name, value in columns.items()})
    plan = Strategy.of(config, Registry()).plan(market)
    return float(plan.side[0] * plan.size[0])


def sized(**values: Any) -> StrategyConfig:
    return changed(PLAIN, position_sizing=values)


@pytest.mark.parametrize("name", ["simple", "balanced", "conservative", "aggressive", "pipeline", "multi_symbol"])
def test_sizes_really_vary(name: str) -> None:
    sizes = shipped(name, warmup=0).plan(seen(world(5, 1500))).size
    sizes = sizes[sizes > 0]
    low, high = np.quantile(sizes, [0.1, 0.9])
    assert len(np.unique(sizes)) > 0.5 * len(sizes)
    assert high / low > 1.3


def test_size_grows_with_confidence_and_with_the_forecast() -> None:
    config = changed(sized(use_confidence=True), entry_criteria={"prediction_threshold": 0.005})

    def at(confidence: float, forecast: float) -> float:
        return one_bar(config, probabilities=[confidence, 1 - confidence, 0.0], forecast=forecast)

    by_confidence = [at(confidence, 1e-4) for confidence in (0.5, 0.6, 0.8, 1.0)]
    assert by_confidence == pytest.approx([0.05 + 0.35 * (sure + 0.5) / 2 for sure in (0.0, 0.2, 0.6, 1.0)])
    by_forecast = [at(0.5, forecast) for forecast in (5e-5, 1e-4, 5e-4)]
    assert by_forecast == pytest.approx([0.05 + 0.35 * beyond / 2 for beyond in (0.0, 0.5, 0.9)])
    assert at(0.49, 1e-4) == at(0.9, 4.9e-5) == 0


def test_short_positions_are_sized_as_long_ones() -> None:
    assert one_bar(PLAIN) == 0.4
    assert one_bar(PLAIN, forecast=-1e-4) == -0.4


def test_volatility_adjustment_divides_by_the_annual_forecast() -> None:
    config = sized(use_volatility_adjustment=True, target_volatility=0.5)
    assert one_bar(config) == pytest.approx(0.4 * 0.5 / (0.01 * np.sqrt(8760)))
    assert one_bar(config, volatility=0.02, forecast=2e-4) == pytest.approx(0.4 * 0.5 / (0.02 * np.sqrt(8760)))


def test_kelly_bounds_the_size_by_mean_over_variance() -> None:
    config = sized(use_kelly_criterion=True, kelly_fraction=0.25)
    assert one_bar(config, forecast=4e-5) == pytest.approx(0.25 * 4e-5 / 1e-4)
    assert one_bar(config, forecast=-4e-5) == pytest.approx(-0.25 * 4e-5 / 1e-4)
    assert one_bar(config, forecast=1e-3) == 0.4


def test_sizes_are_cut_at_the_largest_and_dropped_under_the_least() -> None:
    assert one_bar(changed(PLAIN, regime_specific_rules={"regime_0": {"position_multiplier": 9}})) == 3.0
    assert one_bar(changed(PLAIN, regime_specific_rules={"regime_0": {"position_multiplier": 0.1}})) == 0.0
    assert one_bar(changed(PLAIN, symbol_specific_rules={"binance:BTC/USDT:USDT": {"weight": 0.5}})) == 0.2


def test_a_rule_with_a_name_is_for_the_state_of_that_name_wherever_it_stands() -> None:
    def named(name: str, **columns: Any) -> float:
        rule = {"regime_2": {"name": name, "position_multiplier": 0.5}}
        return one_bar(changed(PLAIN, regime_specific_rules=rule), **columns)

    assert named("Chop") == named("Calm") == 0.2
    assert named("Bull") == named("Turbulent") == named("Normal") == 0.4
    turbulent = {"held": 1, "probabilities": [0.1, 0.9, np.nan]}
    assert named("Turbulent", **turbulent) == 0.2  # the second of two
    assert named("Normal", **turbulent) == 0.4
    assert one_bar(changed(PLAIN, regime_specific_rules={"Chop": {"position_multiplier": 0.5}})) == 0.2


def test_a_rule_by_volatility_is_for_no_state_of_equal_volatility() -> None:
    equal = {"equal_scales": True}
    assert one_bar(changed(PLAIN, regime_specific_rules={"Calm": {"position_multiplier": 0.5}}), **equal) == 0.4
    for key in ("regime_0", "Chop"):
        assert one_bar(changed(PLAIN, regime_specific_rules={key: {"position_multiplier": 0.5}}), **equal) == 0.2


def voted(quarter: float, four_hours: float, **sections: Any) -> float:
    """The size where the other timeframes forecast so."""
    weights = {"timeframe_analysis": {"weights": {"1h": 0.6, "4h": 0.3, "15m": 0.1}}}
    config = changed(PLAIN, **(weights | sections))
    market = closes([100.0])
    others = {
        length: replace(market, timeframe=length, forecast=np.array([forecast]))
        for length, forecast in ((QUARTER, quarter), (FOUR_HOURS, four_hours))
    }
    plan = Strategy.of(config, Registry()).plan(replace(market, higher=others))
    return float(plan.size[0])


def test_timeframes_that_agree_multiply_the_size() -> None:
    multipliers = {"timeframe_multipliers": {"aligned": 2.0, "partial": 0.5, "conflicted": 0.25}}
    assert voted(1, 1, position_sizing=multipliers) == 0.8
    assert voted(1, -1, position_sizing=multipliers) == 0.8  # .6 + .1 reaches .7
    assert voted(-1, -1, position_sizing=multipliers) == 0.2
    heavy = {"weights": {"1h": 0.4, "4h": 0.5, "15m": 0.1}}
    assert voted(1, -1, position_sizing=multipliers, timeframe_analysis=heavy) == 0.1


def test_a_timeframe_that_says_nothing_agrees_with_nothing() -> None:
    confirmed = {"require_timeframe_confirmation": True, "min_confirmation_ratio": 0.75}
    assert voted(-1, 1, entry_criteria=confirmed) == 0.4
    assert voted(1, -1, entry_criteria=confirmed) == 0
    assert voted(1, np.nan, entry_criteria=confirmed) == 0
    config = changed(PLAIN, timeframe_analysis={"weights": {"1h": 0.6, "4h": 0.4}}, entry_criteria=confirmed)
    assert one_bar(config) == 0  # no rows of 4h at all


def test_consensus_counts_timeframes_and_the_ensembles_models() -> None:
    half = {"min_prediction_consensus": 0.5}
    assert voted(-1, -1, entry_criteria=half) > 0
    assert voted(-1, -1, entry_criteria={"min_prediction_consensus": 0.65}) == 0
    assert one_bar(changed(PLAIN, entry_criteria=half), consensus=0.4) == 0
    assert one_bar(changed(PLAIN, entry_criteria=half), consensus=0.5) == 0.4


def test_the_regimes_of_all_timeframes_together_allow_and_multiply() -> None:
    def together(own: str, other: str, **rule: Any) -> float:
        config = changed(
            PLAIN,
            timeframe_analysis={"weights": {"1h": 0.6, "4h": 0.4}},
            regime_timeframe_rules={"all_bullish": rule},
        )
        market = replace(closes([100.0]), regime=np.array([own]))
        higher = replace(market, timeframe=FOUR_HOURS, regime=np.array([other]))
        return float(Strategy.of(config, Registry()).plan(replace(market, higher={FOUR_HOURS: higher})).size[0])

    assert together("Bull", "Strong Bull", allow_long=False) == 0
    assert together("Bull", "Chop", allow_long=False) == 0.4
    assert together("Bull", "Bull", position_multiplier=0.5) == 0.2
    assert together("Chop", "Bull", position_multiplier=0.5) == 0.4


def target(direction: str, **columns: Any) -> float:
    config = changed(
        variant("vol_target" if direction == "long_only" else "vol_target_trend"),
        backtesting_parameters={"warmup": 0, "leverage": 100.0},
        position_sizing={"max_position_size": 5.0},
    )
    return one_bar(config, **columns)


def test_the_volatility_target_holds_the_target_over_the_forecast() -> None:
    expected = 0.4 / (0.01 * np.sqrt(8760))
    assert target("long_only") == target("long_only", forecast=-1.0) == pytest.approx(expected)
    assert target("long_only", volatility=0.02) == pytest.approx(expected / 2)
    assert target("trend", trend=-1) == pytest.approx(-expected)
    assert target("trend", trend=0) == 0


def test_the_volatility_target_is_not_adjusted_to_volatility_twice() -> None:
    config = changed(variant("vol_target"), backtesting_parameters={"warmup": 0})
    twice = changed(config, position_sizing={"use_volatility_adjustment": True})
    assert one_bar(twice) == one_bar(config) > 0


def test_the_realised_volatility_of_the_volatility_target_is_the_target() -> None:
    market = world(5, 3000)[HOUR]
    config = changed(
        variant("vol_target"), position_sizing={"max_position_size": 50.0}, backtesting_parameters={"leverage": 100.0}
    )
    plan = Strategy.of(config, Registry()).plan(market)
    held = plan.size[:-1] > 0
    moves = plan.size[:-1] * np.diff(np.log(market.column("close")))
    assert np.std(moves[held]) * np.sqrt(8760) == pytest.approx(
        0.4, rel=0.15
    )  # the test's forecasts are .2 off, and late
