"""How large a position is: by the signal's strength, the forecast's volatility, the regime and the timeframes."""

import numpy as np

from tradecore_pipeline.strategies import rules, timeframes
from tradecore_pipeline.strategies.contracts import Sides, Signals
from tradecore_pipeline.strategies.market import Floats, Market
from tradecore_pipeline.strategies.schema import StrategyConfig


def sizes(market: Market, config: StrategyConfig, signals: Signals) -> Floats:
    """Multiples of equity (N,), 0 where there is no side or the size falls under the least one.

    What an entry asks for itself, or strength and volatility give, is multiplied by the rules of regime, instrument and
    timeframes, and bounded.
    """
    sizing, side = config.position_sizing, signals.side.astype(np.int64)
    size = _wished(market, config, signals) if signals.size is None else signals.size
    size = size * rules.multipliers(market, config)[0] * rules.symbol_rule(market, config).weight
    size = size * timeframes.size_multiplier(market, config, side) * timeframes.regime_limits(market, config)[2]
    if sizing.use_kelly_criterion:
        size = np.minimum(size, sizing.kelly_fraction * kelly(market, signals.side))
    size = np.minimum(size, sizing.max_position_size)
    return np.where((side != 0) & (size >= sizing.min_position_size) & (size > 0), size, 0.0)


def annual_volatility(market: Market) -> Floats:
    """The forecast's deviation over a year of independent bars like the next one; NaN where no model covers it."""
    return np.where(market.known, market.volatility, np.nan) * np.sqrt(rules.bars_per_year(market))


def kelly(market: Market, side: Sides) -> Floats:
    """Mean over variance of the forecast in the side's direction: the size that grows fastest if it is true."""
    return np.maximum(side * market.forecast, 0.0) / np.square(np.where(market.known, market.volatility, np.nan))


def _wished(market: Market, config: StrategyConfig, signals: Signals) -> Floats:
    sizing = config.position_sizing
    size = np.full(len(signals.side), sizing.base_position_size)
    if sizing.use_confidence:
        least = sizing.min_position_size
        size = least + (sizing.base_position_size - least) * signals.strength
    if sizing.use_volatility_adjustment:
        size = size * sizing.target_volatility / annual_volatility(market)
    return size
