"""No exit: the entry alone decides, as one that rebalances does."""

from collections.abc import Set as AbstractSet
from typing import ClassVar

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Section, StrategyConfig


class NoExitMixin(Section):
    """Nothing is closed but by the entry's own change of mind."""

    reads: ClassVar[AbstractSet[str]] = frozenset()

    @property
    def warm_up_bars(self) -> int:
        """It reads nothing."""
        return 0

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """No limit anywhere."""
        _ = (market, config)
        return Exits.none(len(side))
