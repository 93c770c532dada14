"""A key that nobody reads with the chosen entry and exit is refused where it is set."""

from typing import Any, ClassVar

import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.entries.rsi_bb import RSIBBEntryMixin
from tradecore_pipeline.strategies.exits.no_exit import NoExitMixin
from tradecore_pipeline.strategies.reading import variant, variants
from tradecore_pipeline.strategies.registry import ENTRIES, EXITS, Registry
from tradecore_pipeline.strategies.rules import symbol_rule
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline.strategies.unread import BY_MIXINS
from tradecore_pipeline_tests.strategies.mixin_cases import closes

BTC, ETH = "binance:BTC/USDT:USDT", "binance:ETH/USDT:USDT"
RSI, VOLATILITY = {"entry_logic": {"name": "RSIBBEntryMixin"}}, {"entry_logic": {"name": "VolatilityTargetEntryMixin"}}
ATR, NONE = {"exit_logic": {"name": "ATRExitMixin"}}, {"exit_logic": {"name": "NoExitMixin"}}


def config_of(**sections: Any) -> StrategyConfig:
    return StrategyConfig.model_validate({"name": "x", **sections})


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (ATR | {"risk_management": {"stop_loss": 0.01}}, "risk_management.stop_loss is set, but neither HMMLSTMEntry"),
        (NONE | {"risk_management": {"max_holding_periods": {"regime_0": 3}}}, "risk_management.max_holding_periods"),
        (NONE | {"exit_criteria": {"exit_on_low_confidence": True}}, "or choose for example HMMLSTMExitMixin"),
        (RSI | {"entry_criteria": {"prediction_threshold": 0.01}}, "nor HMMLSTMExitMixin reads it: remove it, or"),
        (RSI | {"entry_criteria": {"regime_confidence_threshold": 0.8}}, "entry_criteria.regime_confidence_threshold"),
        (VOLATILITY | {"entry_criteria": {"min_prediction_consensus": 0.5}}, "entry_criteria.min_prediction_consensus"),
        ({"portfolio_management": {"rebalance_frequency": 24}}, "for example VolatilityTargetEntryMixin"),
        ({"backtesting_parameters": {"rebalance_band": 0.1}}, "backtesting_parameters.rebalance_band"),
        (NONE | {"regime_specific_rules": {"regime_2": {"exit_speed": "fast"}}}, "rules.regime_2.exit_speed is set"),
        (NONE | {"symbol_specific_rules": {BTC: {"volatility_multiplier": 2}}}, "volatility_multiplier is set"),
    ],
)
def test_a_key_that_nobody_reads_is_refused_in_one_line(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        Strategy.of(config_of(**sections), Registry())
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "sections",
    [
        ATR | {"risk_management": {"portfolio_max_drawdown": 0.2, "position_correlation_limit": 0.9}},
        ATR | {"entry_criteria": {"prediction_threshold": 0.01, "require_portfolio_diversification": True}},
        RSI | {"entry_criteria": {"prediction_unit": "log_return", "require_trend_alignment": True}},
        VOLATILITY | {"entry_criteria": {"regime_confidence_threshold": 0.8}},
        VOLATILITY | {"portfolio_management": {"rebalance_frequency": 3}},
        NONE | {"regime_specific_rules": {"regime_2": {"allow_long": False, "position_multiplier": 0.5}}},
    ],
)
def test_a_key_that_one_of_them_or_the_account_reads_is_not(sections: dict[str, Any]) -> None:
    assert Strategy.of(config_of(**sections), Registry())


@pytest.mark.parametrize("name", variants())
def test_shipped_configurations_pass_as_written_and_as_a_run_stores_them(name: str) -> None:
    assert Strategy.of(variant(name), Registry())
    assert Strategy.of(StrategyConfig.model_validate(variant(name).model_dump(mode="json")), Registry())


def test_a_mixin_that_does_not_say_what_it_reads_is_taken_to_read_everything() -> None:
    class Silent(NoExitMixin):
        reads: ClassVar[Any] = None

    registry = Registry(ENTRIES, {**EXITS, "Silent": Silent})
    config = config_of(exit_logic={"name": "Silent"}, risk_management={"stop_loss": 0.01})
    assert isinstance(Strategy.of(config, registry).exit, Silent)


def test_mixins_of_the_package_say_what_they_read_in_keys_that_exist() -> None:
    for cls in (*ENTRIES.values(), *EXITS.values()):
        told = vars(cls)["reads"]
        assert all(key in BY_MIXINS or key.partition(".")[0] in BY_MIXINS for key in told), cls
    assert "entry_criteria.prediction_threshold" not in RSIBBEntryMixin.reads


def test_an_instrument_without_a_weight_is_refused_where_another_has_one() -> None:
    market = closes([100.0])
    assert market.instrument == BTC
    assert symbol_rule(market, config_of(symbol_specific_rules={BTC: {"weight": 0.3}})).weight == 0.3
    assert symbol_rule(market, config_of(symbol_specific_rules={ETH: {"volatility_multiplier": 2.0}})).weight == 1.0
    for rules in ({ETH: {"weight": 0.3}}, {ETH: {"weight": 0.3}, BTC: {"liquidity_requirement": 1.0}}):
        with pytest.raises(UsageError, match=f"give {ETH} a weight and {BTC} none: give it one"):
            symbol_rule(market, config_of(symbol_specific_rules=rules))
