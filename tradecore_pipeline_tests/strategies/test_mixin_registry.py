"""Mixins by name: made with checked parameters, listed, and refused in one line that says what to do."""

import json
from typing import Any

import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.listing import listed_mixins, listed_variants
from tradecore_pipeline.strategies.reading import parse, variant, variants
from tradecore_pipeline.strategies.registry import ENTRIES, EXITS, Registry
from tradecore_pipeline.strategies.schema import Logic
from tradecore_pipeline_tests.strategies.mixin_cases import CONFIG


def exit_of(name: str, **parameters: Any) -> object:
    return Registry().exit(CONFIG.model_copy(update={"exit_logic": Logic(name=name, params=parameters)}))


def complaint(name: str, **parameters: Any) -> str:
    with pytest.raises(UsageError) as error:
        exit_of(name, **parameters)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_shipped_variant_names_mixins_that_exist() -> None:
    for name in variants():
        assert Registry().entry(variant(name))
        assert Registry().exit(variant(name))


def test_parameters_are_those_of_the_configuration() -> None:
    assert exit_of("ATRExitMixin", atr_period=21) == EXITS["ATRExitMixin"](atr_period=21)
    levels = exit_of("MultiLevelATRExitMixin", partial_atr=[1, 4], partial_fraction=[0.5, 0.5])
    assert levels == EXITS["MultiLevelATRExitMixin"](partial_atr=(1.0, 4.0), partial_fraction=(0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("ATRBasedExitMixin", {}, "exit_logic.name: there is no 'ATRBasedExitMixin'; did you mean TimeBasedExitMixin?"),
        ("RSIBBEntryMixin", {}, "did you mean RSIBBExitMixin?"),
        ("TrailingStopExitMixin", {"trail_percent": 0.1}, "there is no such key; did you mean trail_pct?"),
        ("FixedRatioExitMixin", {"zzz": 1}, "choose one of take_profit, stop_loss"),
        ("FixedRatioExitMixin", {"take_profit": 10}, "take_profit: input should be less than 1, not 10"),
        ("FixedRatioExitMixin", {"take_profit": "0.1"}, "take_profit: input should be a valid number, not '0.1'"),
        ("FixedRatioExitMixin", {"take_profit": float("nan")}, "take_profit: input should be a finite number, not nan"),
        ("FixedRatioExitMixin", {"take_profit": object()}, "take_profit: input should be a valid number"),
        ("ATRExitMixin", {"atr_period": 14.5}, "atr_period: input should be a valid integer"),
        ("ATRExitMixin", {"atr_period": True}, "atr_period: input should be a valid integer, not True"),
        ("ATRExitMixin", {"atr_period": 1}, "greater than or equal to 2, not 1"),
        (
            "MACrossoverExitMixin",
            {"fast_period": 20},
            "exit_logic.params: fast_period < slow_period must hold, but fast_period is 20 and slow_period is 20",
        ),
        ("AdvancedATRExitMixin", {"k_run": 3.0}, "k_run <= k_init must hold, but k_run is 3.0 and k_init is 2.5"),
        ("TimeBasedExitMixin", {"max_bars": None}, "must be a number, but max_bars is None and max_minutes is None"),
        ("MultiLevelATRExitMixin", {"partial_atr": [2, 1, 3]}, "partial_atr must increase, but partial_atr is [2, 1"),
        ("MultiLevelATRExitMixin", {"partial_fraction": [0.5, 0.5, 0.5]}, "sum to 1 at most"),
        ("MultiLevelATRExitMixin", {"partial_atr": [1, -2, 3]}, "partial_atr.1: input should be greater than 0, not"),
        ("RSIBBExitMixin", {"oversold": 80}, "oversold < overbought must hold"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(name: str, parameters: dict[str, Any], words: str) -> None:
    assert words in complaint(name, **parameters)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"regime_specific_rules": {"regime_0": {"alow_long": True}}},
            "regime_specific_rules.regime_0.alow_long: there is no such key; did you mean allow_long?",
        ),
        ({"regime_timeframe_rules": {"all_bulish": {}}}, "all_bulish: there is no such key; did you mean all_bullish?"),
        (
            {"timeframe_analysis": {"weights": {"2h": 0.5}}},
            "timeframe_analysis.weights.2h: there is no such key; choose one of 5m, 15m, 30m, 1h, 4h, 1d",
        ),
        (
            {"position_sizing": {"timeframe_multipliers": {"aligne": 1}}},
            "timeframe_multipliers.aligne: there is no such key; did you mean aligned?",
        ),
        ({"positon_sizing": {}}, "f.json: positon_sizing: there is no such key; did you mean position_sizing?"),
        ({"entry_logic": {"nam": "X"}}, "entry_logic.name: must be given"),
        (
            {"position_sizing": {"base_position_size": 2.0}},
            "must hold, but min_position_size is 0.05 and base_position_size is 2.0 and max_position_size is 1.0",
        ),
        ({"symbol_specific_rules": {"a": {"weight": 2}}}, "symbol_specific_rules.a.weight: input should be less than"),
        ({"position_sizing": 3}, "position_sizing: input should be an object, not 3"),
        ({"risk_management": {"profit_target": "no"}}, "risk_management.profit_target: input should be a valid number"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(json.dumps({"name": "mine"} | section), where="f.json")
    assert words in str(error.value)
    assert "{" not in str(error.value)


def test_the_list_has_every_mixin_and_says_what_each_parameter_is() -> None:
    entries, exits = listed_mixins(Registry())
    assert [one.name for one in entries] == list(ENTRIES)
    assert [one.name for one in exits] == list(EXITS)
    assert all(one.meaning.endswith(".") for one in (*entries, *exits))
    for mixin in (*exits, *(one for one in entries if one.name == "RSIBBEntryMixin")):
        assert all(parameter.meaning for parameter in mixin.parameters), mixin.name
    (trailing,) = (one for one in exits if one.name == "TrailingStopExitMixin")
    first = trailing.parameters[0]
    assert (first.name, first.kind, first.default) == ("trail_pct", "number over 0 below 1", 0.02)
    assert [one.name for one in listed_variants()] == list(variants())
