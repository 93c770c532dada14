"""Holding as much as keeps the forecast volatility of the position at a target."""

from collections.abc import Set as AbstractSet
from typing import ClassVar, Literal

import numpy as np

from tradecore_pipeline.strategies.contracts import Signals
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.permission import CONFIDENCE_KEYS, PERMISSION_KEYS, least_confidence, permitted
from tradecore_pipeline.strategies.schema import Section, StrategyConfig
from tradecore_pipeline.strategies.sizing import annual_volatility
from tradecore_pipeline.strategies.unread import REBALANCE_KEYS


class VolatilityTargetEntryMixin(Section):
    """Long always, or in the direction of the 30-day return's sign, sized to ``target_volatility``.

    The position follows its target while it is open, inside the band of ``rebalance_band``. This is what regimes and
    forecasts have been shown to be good for: they know the size of the next move, not its sign. The trend's sign is a
    plain rule, and unproven. It holds nothing where the configuration does not permit its side, or where the held
    state is less certain than ``regime_confidence_threshold``; thresholds of the forecast's mean are not read.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset({*PERMISSION_KEYS, *CONFIDENCE_KEYS, *REBALANCE_KEYS})

    direction: Literal["long_only", "trend"] = "long_only"

    @property
    def warm_up_bars(self) -> int:
        """It reads its own bar alone."""
        return 0

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        """Signals of every bar, each from rows up to it alone."""
        wished = np.ones(len(market)) if self.direction == "long_only" else market.trend
        side = np.where(market.known, wished, 0).astype(np.int8)
        certain = market.confidence >= least_confidence(market, config)
        side = np.where(certain & permitted(market, config, side), side, 0).astype(np.int8)
        size = config.position_sizing.target_volatility / annual_volatility(market)
        return Signals(side, np.ones(len(market)), size=np.where(side == 0, 0.0, size), rebalance=True)
