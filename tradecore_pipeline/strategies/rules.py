"""Rules of a configuration by instrument, timeframe and regime, as one value per bar."""

from collections.abc import Mapping
from datetime import timedelta

import numpy as np

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.keys import DIRECTIONS, MOST_STATES, REGIMES
from tradecore_pipeline.strategies.market import Flags, Floats, Market
from tradecore_pipeline.strategies.schema import RegimeRule, StrategyConfig, SymbolRule

MEAN_BARS = 20
"""Bars of the mean that volumes are compared with."""
EXIT_SPEEDS = {"slow": 1.5, "normal": 1.0, "fast": 0.5}
"""What stop, target, trailing and holding limits are multiplied by."""


def by_name(overrides: Mapping[str, float], market: Market, default: float) -> float:
    """The value for this instrument or, if there is none, for its timeframe; else ``default``."""
    return overrides.get(market.instrument, overrides.get(market.timeframe.name, default))


def by_regime(overrides: Mapping[str, float], market: Market, default: float | None) -> Floats:
    """A value per bar: of the held state (`regime_0` ...), else of the instrument, the timeframe, or ``default``."""
    whole = by_name(overrides, market, np.nan if default is None else default)
    values = np.full(len(market), whole)
    for state in range(market.probabilities.shape[1]):
        own = overrides.get(f"regime_{state}")
        if own is not None:
            values[market.held == state] = own
    return values


def regime_rules(market: Market, config: StrategyConfig) -> list[tuple[RegimeRule, Flags]]:
    """Each rule with the bars it is for: those of the state called ``name`` or, without one, of the key's."""
    return [(rule, _held(market, rule.name or key)) for key, rule in config.regime_specific_rules.items()]


def _held(market: Market, name: str) -> Flags:
    """Bars that hold the state of an index (`regime_0`), or of a name by mean return or by volatility.

    States of equal volatility have no name by it.
    """
    if name in REGIMES:
        return market.held == REGIMES.index(name)
    if name in DIRECTIONS:
        return market.regime == name
    from tradecore_pipeline.models.direction import volatility_regime_names  # noqa: PLC0415 (slow to import)

    states, found = np.where(market.equal_states, 0, market.states), np.zeros(len(market), dtype=np.bool_)
    for count in range(2, MOST_STATES + 1):
        names = volatility_regime_names(count, equal=False)
        if name in names:
            found |= (states == count) & (market.held == names.index(name))
    return found


def allowed(market: Market, config: StrategyConfig) -> tuple[Flags, Flags]:
    """Bars on which regime rules allow a long and a short position."""
    long, short = np.ones(len(market), dtype=np.bool_), np.ones(len(market), dtype=np.bool_)
    for rule, bars in regime_rules(market, config):
        long &= ~bars | rule.allow_long
        short &= ~bars | rule.allow_short
    return long, short


def multipliers(market: Market, config: StrategyConfig) -> tuple[Floats, Floats]:
    """What each bar's regime multiplies sizes and limits by."""
    sizes, limits = np.ones(len(market)), np.ones(len(market))
    for rule, bars in regime_rules(market, config):
        sizes *= np.where(bars, rule.position_multiplier, 1.0)
        limits *= np.where(bars, EXIT_SPEEDS[rule.exit_speed], 1.0)
    return sizes, limits


def symbol_rule(market: Market, config: StrategyConfig) -> SymbolRule:
    """The instrument's rule, or one that changes nothing.

    Raises:
        UsageError: others have a weight below 1, and it has none: it would be the heaviest of all.
    """
    own = config.symbol_specific_rules.get(market.instrument, SymbolRule())
    weighted = [name for name, rule in config.symbol_specific_rules.items() if rule.weight < 1]
    if weighted and "weight" not in own.model_fields_set:
        raise UsageError(
            f"{config.name}: symbol_specific_rules give {weighted[0]} a weight and {market.instrument} none: give it "
            "one, or leave it out"
        )
    return own


def recent_mean(values: Floats) -> Floats:
    """Mean of the last ``MEAN_BARS`` values up to each, NaN before there are so many.

    Each window is summed by itself: a mean that is carried along would depend on where the rows begin.
    """
    if len(values) < MEAN_BARS:
        return np.full(len(values), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, MEAN_BARS)
    return np.concatenate((np.full(MEAN_BARS - 1, np.nan), windows.mean(axis=1)))


def liquid(market: Market, config: StrategyConfig) -> Flags:
    """Bars whose volume meets ``min_volume_ratio`` and the instrument's ``liquidity_requirement``."""
    least_ratio = config.entry_criteria.min_volume_ratio
    least_quote = symbol_rule(market, config).liquidity_requirement
    enough = np.ones(len(market), dtype=np.bool_)
    if least_ratio > 0:
        enough &= market.column("volume") >= least_ratio * recent_mean(market.column("volume"))
    if least_quote > 0:
        enough &= recent_mean(market.quote_volume) >= least_quote
    return enough


def bars_per_year(market: Market) -> float:
    """Of a market that never closes."""
    return timedelta(days=365) / market.timeframe.duration
