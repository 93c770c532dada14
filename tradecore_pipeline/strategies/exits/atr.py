"""Exits in units of the average true range: what a bar usually moves decides how far a stop is away."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.exits.limits import limit_scale, refused
from tradecore_pipeline.strategies.indicators import WILDER_BARS, Period, lowest, relative_atr
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Positive, Section, StrategyConfig
from tradecore_pipeline.strategies.unread import LIMIT_SCALE_KEYS


class ATRExitMixin(Section):
    """A stop some average true ranges from the entry, and a target if one is asked for.

    Both are those of the bar that decides the entry. Before there is a range nothing is opened.
    """

    reads: ClassVar[AbstractSet[str]] = LIMIT_SCALE_KEYS

    atr_period: Period = 14
    """Bars of Wilder's average true range."""
    sl_multiplier: Positive = 2.0
    """The stop's distance in average true ranges."""
    tp_multiplier: Positive | None = None
    """The target's, null for none."""

    @property
    def warm_up_bars(self) -> int:
        """The range's."""
        return WILDER_BARS * self.atr_period

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        unit = limit_scale(market, config) * relative_atr(market, self.atr_period)
        closed = refused(np.isnan(unit))
        limits = replace(Exits.none(len(side)), stop=self.sl_multiplier * unit, exit_long=closed, exit_short=closed)
        return limits if self.tp_multiplier is None else replace(limits, profit=self.tp_multiplier * unit)


class SimpleATRExitMixin(Section):
    """A stop some average true ranges from the entry that moves to the entry once the gain is large enough.

    Both are those of the bar that decides the entry. Before there is a range nothing is opened.
    """

    reads: ClassVar[AbstractSet[str]] = LIMIT_SCALE_KEYS

    atr_period: Period = 14
    """Bars of Wilder's average true range."""
    sl_multiplier: Positive = 2.0
    """The stop's distance in average true ranges."""
    breakeven_atr: Positive = 1.0
    """Gain in average true ranges, by the best price of a closed bar, from which the stop is at the entry."""

    @property
    def warm_up_bars(self) -> int:
        """The range's."""
        return WILDER_BARS * self.atr_period

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        unit = limit_scale(market, config) * relative_atr(market, self.atr_period)
        closed = refused(np.isnan(unit))
        return replace(
            Exits.none(len(side)),
            stop=self.sl_multiplier * unit,
            breakeven=self.breakeven_atr * unit,
            exit_long=closed,
            exit_short=closed,
        )


class AdvancedATRExitMixin(Section):
    """A stop behind the last swing that trails, tighter, once the gain has paid for the risk.

    The range is the larger of a fast and a slow average: it widens with the first large bars and narrows slowly. The
    stop lies at the lowest low (for short positions, the highest high) of the last bars, but no nearer than ``k_run``
    and no further than ``k_init`` ranges from the close. From a gain of ``arm_at_R`` times that distance on it trails
    ``k_run`` ranges behind the best price. All distances are those of the bar that decides the entry; before there is
    a range nothing is opened.
    """

    reads: ClassVar[AbstractSet[str]] = LIMIT_SCALE_KEYS

    k_init: Positive = 2.5
    """Furthest distance of the first stop in average true ranges."""
    k_run: Positive = 2.0
    """Its nearest distance, and that of the trailing stop; at most ``k_init``."""
    p_fast: Period = 7
    """Bars of the fast range."""
    p_slow: Period = 21
    """Bars of the slow range; more than ``p_fast``."""
    swing_lookback: Period = 10
    """Bars that the swing is looked for in, the deciding one among them."""
    arm_at_R: Positive = 1.0  # noqa: N815 (traders write R for the first risk)
    """Gain in multiples of the first stop's distance from which the stop trails."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.k_run > self.k_init:
            raise ValueError("k_run <= k_init must hold")
        if self.p_fast >= self.p_slow:
            raise ValueError("p_fast < p_slow must hold")
        return self

    @property
    def warm_up_bars(self) -> int:
        """The slow range's, and the swing's."""
        return max(WILDER_BARS * self.p_slow, self.swing_lookback)

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions of the ``side`` that each bar's decision opens, each from rows up to that bar alone."""
        slow = relative_atr(market, self.p_slow)
        unit = np.where(np.isnan(slow), np.nan, np.fmax(relative_atr(market, self.p_fast), slow))
        close = market.column("close")
        below = 1 - lowest(market.column("low"), self.swing_lookback) / close
        above = -lowest(-market.column("high"), self.swing_lookback) / close - 1
        stop = np.clip(np.where(side < 0, above, below), self.k_run * unit, self.k_init * unit)
        scale, closed = limit_scale(market, config), refused(np.isnan(stop))
        return replace(
            Exits.none(len(side)),
            stop=scale * stop,
            trail=scale * self.k_run * unit,
            trail_activation=scale * self.arm_at_R * np.nan_to_num(stop),
            exit_long=closed,
            exit_short=closed,
        )
