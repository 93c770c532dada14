"""A target and a stop at fixed distances."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.exits.limits import limit_scale
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Move, Section, StrategyConfig
from tradecore_pipeline.strategies.unread import LIMIT_SCALE_KEYS


class FixedRatioExitMixin(Section):
    """A target and a stop at fixed fractions of the entry price."""

    reads: ClassVar[AbstractSet[str]] = LIMIT_SCALE_KEYS

    take_profit: Move = 0.1
    """The target's distance; .1 is 10%."""
    stop_loss: Move = 0.05
    """The stop's."""

    @property
    def warm_up_bars(self) -> int:
        """It reads its own bar alone."""
        return 0

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        scale = limit_scale(market, config)
        return replace(Exits.none(len(side)), profit=self.take_profit * scale, stop=self.stop_loss * scale)
