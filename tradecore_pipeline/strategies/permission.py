"""What a configuration permits any entry: by regime, by what timeframes say together, by volume and by trend."""

from collections.abc import Set as AbstractSet

import numpy as np

from tradecore_pipeline.strategies import rules, timeframes
from tradecore_pipeline.strategies.contracts import Sides
from tradecore_pipeline.strategies.market import Flags, Market
from tradecore_pipeline.strategies.schema import StrategyConfig

PERMISSION_KEYS: AbstractSet[str] = frozenset({
    "entry_criteria.require_trend_alignment",
    "entry_criteria.require_direction_significant",
    "entry_criteria.min_volume_ratio",
    "entry_criteria.require_timeframe_confirmation",
    "entry_criteria.min_confirmation_ratio",
    "regime_specific_rules.allow_long",
    "regime_specific_rules.allow_short",
    "regime_timeframe_rules.allow_long",
    "regime_timeframe_rules.allow_short",
    "symbol_specific_rules.liquidity_requirement",
    "timeframe_analysis.require_alignment",
})  # fmt: skip
"""The keys that ``permitted`` reads."""
CONFIDENCE_KEYS: AbstractSet[str] = frozenset({
    "entry_criteria.regime_confidence_threshold",
    "entry_criteria.regime_confidence_thresholds",
})  # fmt: skip
"""The keys that ``least_confidence`` reads."""


def permitted(market: Market, config: StrategyConfig, side: Sides) -> Flags:
    """Bars on which a position of ``side`` may be opened, each from rows up to it alone."""
    whole, criteria = side.astype(np.int64), config.entry_criteria
    long, short = rules.allowed(market, config)
    long_together, short_together, _ = timeframes.regime_limits(market, config)
    fine = np.where(whole > 0, long & long_together, short & short_together)
    fine &= rules.liquid(market, config) & timeframes.agreed(market, config, whole)
    if criteria.require_trend_alignment:
        fine &= market.trend == whole
    if criteria.require_direction_significant:
        fine &= market.direction_significant
    return fine


def least_confidence(market: Market, config: StrategyConfig) -> float:
    """The held state's filtered probability from which entries that read regimes open, for this instrument."""
    criteria = config.entry_criteria
    return rules.by_name(criteria.regime_confidence_thresholds, market, criteria.regime_confidence_threshold)
