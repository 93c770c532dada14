"""Leaving in parts: targets in units of one range, a stop in those of longer bars, breakeven between them."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.exits.limits import limit_scale, refused
from tradecore_pipeline.strategies.indicators import WILDER_BARS, Period, long_bar_atr, relative_atr
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Positive, Section, StrategyConfig
from tradecore_pipeline.strategies.unread import LIMIT_SCALE_KEYS

Part = Annotated[float, Field(gt=0, le=1)]
_MOST_PARTS = 4
_ROUNDING = 1e-9


class MultiLevelATRExitMixin(Section):
    """A wide first stop, parts taken off on the way, breakeven after the first gain, and a trailing stop for the rest.

    The wide stop counts in ranges of longer bars (``htf``), all else in ranges of the strategy's own (``ltf``). All
    distances are those of the bar that decides the entry; before there are both ranges nothing is opened.
    """

    reads: ClassVar[AbstractSet[str]] = LIMIT_SCALE_KEYS

    htf_compression: Annotated[int, Field(ge=1, le=288)] = 4
    """Bars of the strategy that make one longer bar; 1 for none."""
    htf_period: Annotated[int, Field(ge=2, le=200)] = 14
    """Longer bars of their mean true range."""
    htf_multiplier: Positive = 2.5
    """The first stop's distance in it."""
    ltf_period: Period = 14
    """Bars of Wilder's average true range."""
    ltf_multiplier: Positive = 2.0
    """How far the trailing stop follows in it."""
    partial_atr: Annotated[tuple[Positive, ...], Field(max_length=_MOST_PARTS)] = (1.0, 2.0, 3.0)
    """Gains in it at which a part is taken off, increasing."""
    partial_fraction: Annotated[tuple[Part, ...], Field(max_length=_MOST_PARTS)] = (0.25, 0.25, 0.25)
    """Those parts of the first size; they sum to 1 at most, and what is left trails."""
    be_activation_atr: Positive = 1.0
    """Gain in it from which the stop is at the entry and ``be_buffer``, and begins to trail."""
    be_buffer: Annotated[float, Field(ge=0)] = 0.3
    """How far beyond the entry that is; less than ``be_activation_atr``."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if len(self.partial_atr) != len(self.partial_fraction):
            raise ValueError("partial_atr and partial_fraction must be equally long")
        if any(later <= earlier for earlier, later in zip(self.partial_atr, self.partial_atr[1:], strict=False)):
            raise ValueError("partial_atr must increase")
        if sum(self.partial_fraction) > 1 + _ROUNDING:
            raise ValueError("partial_fraction must sum to 1 at most")
        if self.be_buffer >= self.be_activation_atr:
            raise ValueError("be_buffer < be_activation_atr must hold")
        return self

    @property
    def warm_up_bars(self) -> int:
        """The slower of both ranges'."""
        return max(self.htf_compression * self.htf_period, WILDER_BARS * self.ltf_period)

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        scale = limit_scale(market, config)
        unit = scale * relative_atr(market, self.ltf_period)
        stop = scale * self.htf_multiplier * long_bar_atr(market, self.htf_period, bars=self.htf_compression)
        closed = refused(np.isnan(unit) | np.isnan(stop))
        return replace(
            Exits.none(len(side)),
            stop=stop,
            trail=self.ltf_multiplier * unit,
            trail_activation=self.be_activation_atr * np.nan_to_num(unit),
            breakeven=self.be_activation_atr * unit,
            breakeven_offset=self.be_buffer * np.nan_to_num(unit),
            exit_long=closed,
            exit_short=closed,
            partial_distance=np.outer(unit, self.partial_atr),
            partial_fraction=np.tile(self.partial_fraction, (len(side), 1)),
        )
