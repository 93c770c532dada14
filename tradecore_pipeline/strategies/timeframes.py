"""What several timeframes say together about a direction; a higher one speaks only through bars that have closed."""

import numpy as np

from tradecore_pipeline.strategies.market import Flags, Floats, Integers, Market
from tradecore_pipeline.strategies.schema import RegimeTimeframeRule, StrategyConfig, TimeframeCase

_ROUNDING = 1e-9
"""Sums of weights such as .6 + .1 are short of .7 by less."""


def voters(market: Market, config: StrategyConfig) -> list[tuple[Market | None, float]]:
    """The timeframes with their weights, None for one that is not there; the strategy's alone where none are named."""
    named = {market.timeframe.name: market} | {timeframe.name: other for timeframe, other in market.higher.items()}
    weights = config.timeframe_analysis.weights
    return [(named.get(name), weight) for name, weight in weights.items() if weight > 0] or [(market, 1.0)]


def share_in_direction(market: Market, config: StrategyConfig, side: Integers, *, own: bool) -> Floats:
    """Share of the timeframes' weight whose forecast has the sign of ``side``; without ``own``, of the others alone.

    A timeframe that is not there, or that no model covers at a bar, agrees with nothing and keeps its weight.
    """
    votes = [(other, weight) for other, weight in voters(market, config) if own or other is not market]
    total = sum(weight for _, weight in votes)
    agreeing = np.zeros(len(market))
    for other, weight in votes:
        if other is not None:
            agreeing += weight * (np.where(other.known, np.sign(other.forecast), 0) == side)
    return agreeing / total if total > 0 else agreeing


def size_multiplier(market: Market, config: StrategyConfig, side: Integers) -> Floats:
    """Aligned, partial or conflicted, by the share of weight in the side's direction; 1 for a single timeframe."""
    if len(voters(market, config)) == 1:
        return np.ones(len(market))
    share = share_in_direction(market, config, side, own=True)
    multipliers = config.position_sizing.timeframe_multipliers
    partial = np.where(share > 0.5 + _ROUNDING, multipliers.partial, multipliers.conflicted)
    return np.where(reached(share, config.timeframe_analysis.alignment_threshold), multipliers.aligned, partial)


def reached(share: Floats, least: float) -> Flags:
    """Bars whose share is no less than ``least``, but for rounding."""
    return share >= least - _ROUNDING


def agreed(market: Market, config: StrategyConfig, side: Integers) -> Flags:
    """Bars on which the timeframes confirm ``side`` as far as the configuration asks for it."""
    fine = np.ones(len(market), dtype=np.bool_)
    if config.timeframe_analysis.require_alignment:
        share = share_in_direction(market, config, side, own=True)
        fine &= reached(share, config.timeframe_analysis.alignment_threshold)
    if config.entry_criteria.require_timeframe_confirmation:
        share = share_in_direction(market, config, side, own=False)
        fine &= reached(share, config.entry_criteria.min_confirmation_ratio)
    return fine


def regime_case(market: Market, config: StrategyConfig) -> dict[TimeframeCase, Flags]:
    """Which of the four cases each bar is: by the share of weight whose held state's name points up, or down."""
    up, down, total = np.zeros(len(market)), np.zeros(len(market)), 0.0
    for other, weight in voters(market, config):
        total += weight
        if other is not None:
            direction = other.direction
            up += weight * (direction > 0)
            down += weight * (direction < 0)
    all_up, all_down = up >= total, down >= total
    mixed_up = ~all_up & (up > down)
    return {
        "all_bullish": all_up,
        "mixed_bullish": mixed_up,
        "mixed_neutral": ~(all_up | all_down | mixed_up),
        "all_bearish": all_down,
    }


def regime_limits(market: Market, config: StrategyConfig) -> tuple[Flags, Flags, Floats]:
    """Bars on which the timeframes' regimes allow long and short positions, and what they multiply sizes by."""
    long, short = np.ones(len(market), dtype=np.bool_), np.ones(len(market), dtype=np.bool_)
    sizes = np.ones(len(market))
    if not config.regime_timeframe_rules:
        return long, short, sizes
    for case, bars in regime_case(market, config).items():
        rule = config.regime_timeframe_rules.get(case, RegimeTimeframeRule())
        long &= ~bars | rule.allow_long
        short &= ~bars | rule.allow_short
        sizes[bars] *= rule.position_multiplier
    return long, short, sizes
