"""Holding as much as keeps the forecast volatility of the position at a target."""

from typing import Literal

import numpy as np

from tradecore_pipeline.strategies.contracts import Signals
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import Section, StrategyConfig
from tradecore_pipeline.strategies.sizing import annual_volatility


class VolatilityTargetEntryMixin(Section):
    """Long always, or in the direction of the 30-day return's sign, sized to ``target_volatility``.

    The position follows its target while it is open, inside the band of ``rebalance_band``. This is what regimes and
    forecasts have been shown to be good for: they know the size of the next move, not its sign. The trend's sign is a
    plain rule, and unproven.
    """

    direction: Literal["long_only", "trend"] = "long_only"

    @property
    def warm_up_bars(self) -> int:
        """It reads its own bar alone."""
        return 0

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        """Signals of every bar, each from rows up to it alone."""
        wished = np.ones(len(market)) if self.direction == "long_only" else market.trend
        side = np.where(market.known, wished, 0).astype(np.int8)
        size = config.position_sizing.target_volatility / annual_volatility(market)
        return Signals(side, np.ones(len(market)), size=np.where(side == 0, 0.0, size), rebalance=True)
