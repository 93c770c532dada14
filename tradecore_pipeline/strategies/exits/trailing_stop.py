"""A stop that follows the best price."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.exits.limits import limit_scale, refused
from tradecore_pipeline.strategies.indicators import WILDER_BARS, Period, relative_atr
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Move, Positive, Section, StrategyConfig
from tradecore_pipeline.strategies.unread import LIMIT_SCALE_KEYS


class TrailingStopExitMixin(Section):
    """A stop that trails the best price of closed bars by a percentage, or by average true ranges.

    Without an activation it is there from the fill on, as far from the entry as it trails; with one there is no stop
    at all before the gain is reached. The distance is that of the bar that decides the entry; with ``use_atr`` nothing
    is opened before there is a range.
    """

    reads: ClassVar[AbstractSet[str]] = LIMIT_SCALE_KEYS

    trail_pct: Move = 0.02
    """How far it trails, as a fraction of the best price; .02 is 2%."""
    activation_pct: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Gain as a fraction of the entry price from which it trails; 0 at once."""
    use_atr: bool = False
    """Trail by ``atr_multiplier`` average true ranges instead of ``trail_pct``."""
    atr_multiplier: Positive = 2.0
    """How far it trails then."""
    atr_period: Period = 14
    """Bars of Wilder's average true range."""

    @property
    def warm_up_bars(self) -> int:
        """The range's, if it is read."""
        return WILDER_BARS * self.atr_period if self.use_atr else 0

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        behind = np.full(len(side), self.trail_pct)
        if self.use_atr:
            behind = self.atr_multiplier * relative_atr(market, self.atr_period)
        trail, closed = limit_scale(market, config) * behind, refused(np.isnan(behind))
        limits = replace(
            Exits.none(len(side)),
            trail=trail,
            trail_activation=np.full(len(side), self.activation_pct),
            exit_long=closed,
            exit_short=closed,
        )
        return replace(limits, stop=trail) if self.activation_pct == 0 else limits
