"""Every key of the configuration changes something, or is known to be read elsewhere, and says what it means."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args, get_origin

import numpy as np
import pytest
from pydantic import BaseModel

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.strategies import lots_of, run_plan
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.reading import variant
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.strategies.worlds import PERPETUAL, changed, columns_of, seen, world

MONITORED = {
    f"{section}.{key}"
    for section in ("monitoring", "retraining_triggers")
    for key in StrategyConfig.model_fields[section].annotation.model_fields
}
"""Read by monitoring alone."""
OF_A_PORTFOLIO = {
    "entry_criteria.require_portfolio_diversification",
    "risk_management.position_correlation_limit",
    "portfolio_management.total_capital_allocation",
    "portfolio_management.max_total_positions",
    "portfolio_management.correlation_threshold",
}
"""Read where several instruments share an account (``run_plans``), and tested there."""
GATHERED = {
    "timeframe",
    "instruments",
    "ensemble.months",
    "ensemble.timeframes",
    "model_requirements.max_hmm_age_days",
    "model_requirements.max_lstm_age_days",
    "model_requirements.max_indicator_age_days",
    "model_requirements.min_training_samples",
    "backtesting_parameters.intrabar",
}
"""Decide what a strategy is run on: read where its inputs are gathered, and tested there."""
WORDS = {"name", "description", "portfolio_management.max_positions_per_symbol", "backtesting_parameters.benchmark"}
"""Names, and keys that have one value."""

EAGER = {
    "entry_criteria": {"prediction_threshold": 0.002, "regime_confidence_threshold": 0.5},
    "backtesting_parameters": {"warmup": 5},
    "timeframe_analysis": {"weights": {"1h": 0.5, "4h": 0.3, "15m": 0.2}},
    "exit_criteria": {"exit_on_regime_change": False},
}
"""What every flip begins with: it trades often, at all three timeframes."""

UNREAD: dict[str, Mapping[str, Any]] = {
    "RSIBBEntryMixin": {"entry_criteria": {"prediction_threshold": 0.005, "regime_confidence_threshold": 0.6}},
    "NoExitMixin": {"exit_criteria": {"exit_on_regime_change": True}},
}
"""The defaults of what ``EAGER`` sets and other mixins refuse, by mixin."""
VOLATILITY_TARGET = {
    "entry_logic": {"name": "VolatilityTargetEntryMixin"},
    "entry_criteria": {"prediction_threshold": 0.005},
}

FLIPS: dict[str, tuple[Mapping[str, Any], Any]] = {
    "entry_logic.name": (UNREAD["RSIBBEntryMixin"], "RSIBBEntryMixin"),
    "entry_logic.params": (VOLATILITY_TARGET, {"direction": "trend"}),
    "exit_logic.name": (UNREAD["NoExitMixin"], "NoExitMixin"),
    "exit_logic.params": ({"exit_logic": {"name": "ATRExitMixin"}, **UNREAD["NoExitMixin"]}, {"sl_multiplier": 3.0}),
    "position_sizing.base_position_size": ({}, 0.8),
    "position_sizing.min_position_size": ({}, 0.2),
    "position_sizing.max_position_size": ({"position_sizing": {"use_volatility_adjustment": True}}, 0.6),
    "position_sizing.use_confidence": ({}, False),
    "position_sizing.use_kelly_criterion": ({"position_sizing": {"kelly_fraction": 0.1}}, True),
    "position_sizing.kelly_fraction": ({"position_sizing": {"use_kelly_criterion": True}}, 0.1),
    "position_sizing.use_volatility_adjustment": ({}, True),
    "position_sizing.target_volatility": ({"position_sizing": {"use_volatility_adjustment": True}}, 0.2),
    "position_sizing.timeframe_multipliers.aligned": ({}, 0.5),
    "position_sizing.timeframe_multipliers.partial": ({"timeframe_analysis": {"alignment_threshold": 0.9}}, 0.3),
    "position_sizing.timeframe_multipliers.conflicted": ({}, 0.5),
    "entry_criteria.prediction_threshold": ({}, 0.01),
    "entry_criteria.prediction_thresholds": ({}, {"1h": 0.01}),
    "entry_criteria.prediction_unit": ({}, "log_return"),
    "entry_criteria.regime_confidence_threshold": ({}, 0.8),
    "entry_criteria.regime_confidence_thresholds": ({}, {PERPETUAL: 0.8}),
    "entry_criteria.require_trend_alignment": ({}, True),
    "entry_criteria.require_direction_significant": ({}, True),
    "entry_criteria.min_volume_ratio": ({}, 0.9),
    "entry_criteria.min_prediction_consensus": ({}, 0.75),
    "entry_criteria.require_timeframe_confirmation": ({}, True),
    "entry_criteria.min_confirmation_ratio": ({"entry_criteria": {"require_timeframe_confirmation": True}}, 0.9),
    "risk_management.profit_target": ({}, 0.03),
    "risk_management.profit_targets": ({}, {"regime_1": 0.03}),
    "risk_management.stop_loss": ({}, None),
    "risk_management.stop_losses": ({}, {"1h": 0.02}),
    "risk_management.trailing_stop": ({}, 0.01),
    "risk_management.trailing_stops": ({}, {PERPETUAL: 0.01}),
    "risk_management.trailing_activation": ({"risk_management": {"trailing_stop": 0.01}}, 0.005),
    "risk_management.max_holding_periods": ({}, {"regime_0": 3}),
    "risk_management.portfolio_max_drawdown": ({}, 0.005),
    "exit_criteria.exit_on_regime_change": ({}, True),
    "exit_criteria.regime_change_confidence": ({"exit_criteria": {"exit_on_regime_change": True}}, 0.9),
    "exit_criteria.exit_on_prediction_reversal": ({}, False),
    "exit_criteria.prediction_reversal_threshold": ({}, 0.01),
    "exit_criteria.exit_on_low_confidence": ({}, True),
    "exit_criteria.low_confidence_threshold": ({"exit_criteria": {"exit_on_low_confidence": True}}, 0.8),
    "regime_specific_rules.regime_0.name": ({"regime_specific_rules": {"regime_0": {"allow_long": False}}}, "Chop"),
    "regime_specific_rules.regime_0.allow_long": ({}, False),
    "regime_specific_rules.regime_0.allow_short": ({}, False),
    "regime_specific_rules.regime_0.position_multiplier": ({}, 0.5),
    "regime_specific_rules.regime_0.exit_speed": ({}, "fast"),
    "portfolio_management.rebalance_frequency": (VOLATILITY_TARGET, 3),
    f"symbol_specific_rules.{PERPETUAL}.weight": ({}, 0.5),
    f"symbol_specific_rules.{PERPETUAL}.volatility_multiplier": ({}, 2.0),
    f"symbol_specific_rules.{PERPETUAL}.liquidity_requirement": ({}, 4e5),
    "timeframe_analysis.weights": ({}, {"1h": 1.0}),
    "timeframe_analysis.require_alignment": ({"timeframe_analysis": {"alignment_threshold": 0.9}}, True),
    "timeframe_analysis.alignment_threshold": ({"timeframe_analysis": {"require_alignment": True}}, 0.9),
    "regime_timeframe_rules.mixed_neutral.allow_long": ({}, False),
    "regime_timeframe_rules.mixed_neutral.allow_short": ({}, False),
    "regime_timeframe_rules.mixed_neutral.position_multiplier": ({}, 0.5),
    "backtesting_parameters.initial_capital": ({}, 5000.0),
    "backtesting_parameters.commission": ({}, 0.002),
    "backtesting_parameters.maker_commission": ({}, 0.0),
    "backtesting_parameters.slippage": ({}, 0.001),
    "backtesting_parameters.warmup": ({}, 150),
    "backtesting_parameters.leverage": (
        {
            "position_sizing": {"max_position_size": 5.0, "base_position_size": 5.0, "use_confidence": False},
            "backtesting_parameters": {"leverage": 5.0},
        },
        50.0,
    ),
    "backtesting_parameters.maintenance_margin": (
        {"backtesting_parameters": {"leverage": 40.0}, "risk_management": {"stop_loss": None}},
        0.02,
    ),
    "backtesting_parameters.lot_size": ({}, 0.5),
    "backtesting_parameters.minimum_notional": ({}, 20_000.0),
    "backtesting_parameters.stop_first": ({"risk_management": {"profit_target": 0.001, "stop_loss": 0.001}}, False),
    "backtesting_parameters.rebalance_band": (VOLATILITY_TARGET, 0.3),
}
"""By key: what else is set, and the other value."""


def leaves(model: type[BaseModel], where: str) -> Iterator[str]:
    """Every key of the schema; mappings of sections by one of their keys."""
    for name, field in model.model_fields.items():
        kind, path = field.annotation, f"{where}{name}"
        if (
            get_origin(kind) is dict
            and isinstance(get_args(kind)[1], type)
            and issubclass(get_args(kind)[1], BaseModel)
        ):
            key = {"regime_specific_rules": "regime_0", "symbol_specific_rules": PERPETUAL}.get(name, "mixed_neutral")
            yield from leaves(get_args(kind)[1], f"{path}.{key}.")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{path}.")
        else:
            yield path


def with_key(config: StrategyConfig, path: str, value: Any) -> StrategyConfig:
    """``config`` with another value at one place."""
    document = config.model_dump(mode="json")
    place, keys = document, path.split(".")
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    return StrategyConfig.model_validate(document)


@pytest.fixture(scope="module")
def market() -> Market:
    found = seen(world(21, 400, holes=0.1))
    return replace(found, consensus=np.random.default_rng(3).random(len(found)))


def said(config: StrategyConfig, market: Market) -> str:
    """A digest of the plan, and of the fills and equity that come of it."""
    plan = Strategy.of(config, Registry()).plan(market)
    bars = BarArrays.of(market.bars, funding=Funding.none(), inner=None)
    result = run_plan(bars, plan, config, lots=lots_of(config))
    parts = {name: column.tolist() for name, column in columns_of(plan).items()}
    text = json.dumps([parts, result.fills.to_csv(), result.equity.tolist()])
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_key_is_flipped_or_said_to_be_read_elsewhere() -> None:
    elsewhere = [MONITORED, OF_A_PORTFOLIO, GATHERED, WORDS, set(FLIPS)]
    assert sorted(leaves(StrategyConfig, "")) == sorted(key for keys in elsewhere for key in keys)


@pytest.mark.parametrize("path", FLIPS)
def test_every_key_changes_decisions_or_their_result(path: str, market: Market) -> None:
    others, value = FLIPS[path]
    start = changed(changed(StrategyConfig(name="tested"), **EAGER), **others)
    assert said(start, market) != said(with_key(start, path, value), market)


@pytest.mark.parametrize("path", sorted(MONITORED))
def test_what_monitoring_reads_changes_no_decision(path: str, market: Market) -> None:
    config = variant("pipeline")
    other = with_key(config, path, 0.5 if path.startswith("monitoring.m") and "losses" not in path else 1)
    assert said(config, market) == said(other, market)


def test_every_key_says_what_it_means() -> None:
    def silent(model: type[BaseModel]) -> list[str]:
        return [name for name, field in model.model_fields.items() if not field.description and not _section(field)]

    def _section(field: Any) -> bool:
        return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)

    sections = [field.annotation for field in StrategyConfig.model_fields.values() if _section(field)]
    for model in (StrategyConfig, *sections):
        unsaid = [name for name in silent(model) if not name.endswith("_rules")]
        assert not unsaid, (model, unsaid)
