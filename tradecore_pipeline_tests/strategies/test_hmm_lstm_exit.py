"""The complete strategy's exits, by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.strategies.contracts import Exits
from tradecore_pipeline.strategies.decision import Strategy, StrategyStream
from tradecore_pipeline.strategies.exits.hmm_lstm import CONFIRMED_WITHIN_BARS, HMMLSTMExitMixin, regime_changes
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.strategies.mixin_cases import closes
from tradecore_pipeline_tests.strategies.worlds import changed

CONFIG = StrategyConfig(name="tested")
KEPT, LOW = 0, int(Reason.LOW_CONFIDENCE)
CHANGE, REVERSAL, UNKNOWN = int(Reason.REGIME_CHANGE), int(Reason.PREDICTION_REVERSAL), int(Reason.OTHER_RULE)


def held_market(held: list[int], confidence: list[float], **columns: Any) -> Market:
    """Bars that hold these states with these probabilities; forecasts are +.0001 with a volatility of .01."""
    probabilities = np.full((len(held), 3), np.nan)
    for row, (state, sure) in enumerate(zip(held, confidence, strict=True)):
        if state != NO_STATE:
            probabilities[row] = (1 - sure) / 2
            probabilities[row, state] = sure
    market = closes([100.0] * len(held))
    return replace(market, probabilities=probabilities, held=np.array(held), **columns)


def exits(market: Market, config: StrategyConfig = CONFIG) -> Exits:
    return HMMLSTMExitMixin().exits(market, config, np.ones(len(market), dtype=np.int8))


def rules(**values: Any) -> StrategyConfig:
    return changed(CONFIG, exit_criteria=values)


def test_a_change_of_regime_closes_both_sides_once() -> None:
    found = exits(held_market([0, 0, 1, 1, 0], [0.9] * 5, forecast=np.zeros(5)))
    assert found.exit_long.tolist() == found.exit_short.tolist() == [KEPT, KEPT, CHANGE, KEPT, CHANGE]


def test_a_change_waits_for_its_confidence() -> None:
    found = exits(held_market([0, 1, 1, 1, 1], [0.9, 0.5, 0.59, 0.6, 0.9]))
    assert found.exit_long.tolist() == [KEPT, KEPT, KEPT, CHANGE, KEPT]
    found = exits(held_market([0, 1, 1], [0.9, 0.5, 0.5]), rules(regime_change_confidence=0.4))
    assert found.exit_long.tolist() == [KEPT, CHANGE, KEPT]


def test_a_confidence_that_comes_a_day_later_closes_nothing() -> None:
    for wait, expected in ((CONFIRMED_WITHIN_BARS, 1), (CONFIRMED_WITHIN_BARS + 1, 0)):
        market = held_market([0] + [1] * (wait + 1), [0.9] + [0.5] * wait + [0.9])
        assert regime_changes(market, 0.6).sum() == expected


def test_a_stretch_without_a_model_is_no_change_of_regime() -> None:
    gone = held_market([0, NO_STATE, 1, 1], [0.9] * 4, forecast=np.array([1e-4, np.nan, 1e-4, 1e-4]))
    assert exits(gone).exit_long.tolist() == [KEPT, UNKNOWN, KEPT, KEPT]
    assert exits(gone, rules(regime_change_confidence=0.0)).exit_long.tolist() == [KEPT, UNKNOWN, KEPT, KEPT]


def test_an_opposite_forecast_closes_from_its_threshold_on() -> None:
    market = held_market([0] * 4, [0.9] * 4, forecast=np.array([-4.9e-5, -5e-5, 5e-5, 0.0]))
    found = exits(market)
    assert found.exit_long.tolist() == [KEPT, REVERSAL, KEPT, KEPT]
    assert found.exit_short.tolist() == [KEPT, KEPT, REVERSAL, KEPT]
    never = exits(market, rules(exit_on_prediction_reversal=False))
    assert not never.exit_long.any()
    assert not never.exit_short.any()


def test_reversal_thresholds_count_in_the_unit_of_predictions() -> None:
    config = changed(rules(prediction_reversal_threshold=6e-5), entry_criteria={"prediction_unit": "log_return"})
    market = held_market([0] * 2, [0.9] * 2, forecast=np.array([-5e-5, -7e-5]))
    assert exits(market, config).exit_long.tolist() == [KEPT, REVERSAL]


def test_a_threshold_of_nothing_does_not_take_no_forecast_for_a_reversal() -> None:
    market = held_market([0] * 2, [0.9] * 2, forecast=np.array([0.0, -1e-9]))
    assert exits(market, rules(prediction_reversal_threshold=0.0)).exit_long.tolist() == [KEPT, REVERSAL]


def test_low_confidence_closes_where_it_is_asked_for() -> None:
    market = held_market([0] * 3, [0.4, 0.39, 0.9])
    assert not exits(market).exit_long.any()
    assert exits(market, rules(exit_on_low_confidence=True)).exit_long.tolist() == [KEPT, LOW, KEPT]


def test_reasons_come_in_the_stated_order() -> None:
    config = rules(exit_on_low_confidence=True, regime_change_confidence=0.3)
    market = held_market(
        [0, 1, 1, 1, NO_STATE],
        [0.35, 0.35, 0.35, 0.35, 0.0],
        forecast=np.array([1e-4, -1e-4, -1e-4, 1e-4, -1e-4]),
    )
    assert exits(market, config).exit_long.tolist() == [LOW, CHANGE, REVERSAL, LOW, UNKNOWN]
    assert exits(market, config).exit_short.tolist() == [REVERSAL, CHANGE, LOW, REVERSAL, UNKNOWN]


def test_limits_are_those_of_the_regime_that_decides_the_entry() -> None:
    config = changed(
        CONFIG,
        risk_management={
            "profit_target": 0.02,
            "profit_targets": {"regime_1": 0.04, "1h": 0.03},
            "stop_losses": {"binance:BTC/USDT:USDT": 0.005, "1h": 0.5},
            "trailing_stop": None,
            "max_holding_periods": {"regime_0": 10, "regime_1": 1},
            "trailing_activation": 0.015,
        },
        regime_specific_rules={"regime_1": {"exit_speed": "fast"}, "regime_2": {"exit_speed": "slow"}},
        symbol_specific_rules={"binance:BTC/USDT:USDT": {"volatility_multiplier": 2.0}},
    )
    found = exits(held_market([0, 1, 2, NO_STATE], [0.9] * 4), config)
    assert found.profit.tolist() == pytest.approx([0.06, 0.04, 0.09, 0.06])
    assert found.stop.tolist() == pytest.approx([0.01, 0.005, 0.015, 0.01])
    assert np.isnan(found.trail).all()
    assert found.trail_activation.tolist() == [0.015] * 4
    np.testing.assert_array_equal(found.max_holding_bars, [10, 1, np.nan, np.nan])


def test_a_stream_remembers_a_change_as_long_as_it_waits() -> None:
    wait = CONFIRMED_WITHIN_BARS
    market = held_market([0] + [1] * (wait + 2), [0.9] + [0.5] * wait + [0.9] * 2, forecast=np.zeros(wait + 3))
    stream = StrategyStream(Strategy.of(CONFIG, Registry()))
    rows = [stream.update(market.rows(row, row + 1)).exits.exit_long[0] for row in range(len(market))]
    assert rows == [KEPT] * (wait + 1) + [CHANGE, KEPT]
