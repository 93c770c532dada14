"""A plain indicator entry to compare models with: relative strength index and Bollinger bands."""

from collections.abc import Set as AbstractSet
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tradecore_pipeline.strategies import rules
from tradecore_pipeline.strategies.contracts import Signals
from tradecore_pipeline.strategies.indicators import WILDER_BARS, Period, bollinger, rsi
from tradecore_pipeline.strategies.market import Flags, Market
from tradecore_pipeline.strategies.permission import PERMISSION_KEYS, permitted
from tradecore_pipeline.strategies.schema import Positive, Section, StrategyConfig

Level = Annotated[float, Field(ge=0, le=100)]
"""A value of the relative strength index."""
Both = Literal["and", "or"]


class RSIBBEntryMixin(Section):
    """Long at a close below the lower band with an index under ``oversold``, short at one above with ``overbought``.

    It reads no model. Of the configuration it heeds what needs no forecast: regime rules, the timeframes' agreement,
    volumes, ``require_trend_alignment`` and
    ``require_direction_significant``. The strength grows from 0 at level and band to 1: the mean of how far the
    index is from its level to its end, and of how many band widths the close lies outside. With ``combine`` "or" one
    of both is enough. Where prices stand still there is no signal.
    """

    reads: ClassVar[AbstractSet[str]] = PERMISSION_KEYS

    rsi_period: Period = 14
    """Bars of Wilder's relative strength index."""
    oversold: Level = 30.0
    """The index down to which long positions are opened."""
    overbought: Level = 70.0
    """The index from which short ones are."""
    bb_period: Period = 20
    """Bars of the bands."""
    bb_deviations: Positive = 2.0
    """Their distance from the mean in standard deviations."""
    combine: Both = "and"
    """Whether index and bands must agree."""
    direction: Literal["both", "long_only", "short_only"] = "both"
    """Which positions are opened at all."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.oversold >= self.overbought:
            raise ValueError("oversold < overbought must hold")
        return self

    @property
    def warm_up_bars(self) -> int:
        """The slowest of the index, the bands and the mean volume."""
        return max(WILDER_BARS * self.rsi_period, self.bb_period, rules.MEAN_BARS)

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        """Signals of every bar, each from rows up to it alone."""
        index, close = rsi(market, self.rsi_period), market.column("close")
        mean, half = bollinger(market, self.bb_period, deviations=self.bb_deviations)
        long = overdone(index <= self.oversold, close <= mean - half, self.combine)
        short = overdone(index >= self.overbought, close >= mean + half, self.combine)
        long &= self.direction != "short_only"
        short &= self.direction != "long_only"
        side = np.where(long == short, 0, np.where(long, 1, -1)).astype(np.int8)
        side = np.where(permitted(market, config, side), side, 0).astype(np.int8)
        under, over = self.oversold - index, index - self.overbought
        deep = np.where(side > 0, under / max(self.oversold, 1.0), over / max(100 - self.overbought, 1.0))
        outside = np.abs(close - mean) / half - 1
        strength = (np.clip(np.nan_to_num(deep), 0, 1) + np.clip(np.nan_to_num(outside), 0, 1)) / 2
        return Signals(side, np.where(side == 0, 0.0, strength))


def overdone(by_index: Flags, by_bands: Flags, combine: Both) -> Flags:
    """Bars at which both say so, or one does; comparisons with NaN say no."""
    return by_index & by_bands if combine == "and" else by_index | by_bands
