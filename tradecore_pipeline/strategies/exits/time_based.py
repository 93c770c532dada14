"""A longest holding."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from pydantic import model_validator

from tradecore_pipeline.strategies import rules
from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Bars, Section, StrategyConfig


class TimeBasedExitMixin(Section):
    """Closes a position after so many bars, or so many minutes, whichever is sooner.

    It is closed at the open of the bar that lies so many after the one it was opened in. Minutes are rounded up to
    whole bars. ``exit_speed`` of the regime it was opened in multiplies both.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset({"regime_specific_rules.exit_speed"})

    max_bars: Bars | None = 20
    """Most bars, null for no limit."""
    max_minutes: Bars | None = None
    """Most minutes, null for no limit."""

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.max_bars is None and self.max_minutes is None:
            raise ValueError("max_bars or max_minutes must be a number")
        return self

    @property
    def warm_up_bars(self) -> int:
        """It reads its own bar alone."""
        return 0

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        bars = math.inf if self.max_bars is None else self.max_bars
        if self.max_minutes is not None:
            bars = min(bars, math.ceil(self.max_minutes / market.timeframe.minutes))
        speed = rules.multipliers(market, config)[1]
        return replace(Exits.none(len(side)), max_holding_bars=np.maximum(np.round(bars * speed), 1.0))
