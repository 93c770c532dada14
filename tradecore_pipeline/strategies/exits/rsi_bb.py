"""Leaving when the move is overdone by the relative strength index and the Bollinger bands."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar, Self

from pydantic import model_validator

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.entries.rsi_bb import Both, Level, overdone
from tradecore_pipeline.strategies.exits.limits import reasons
from tradecore_pipeline.strategies.indicators import WILDER_BARS, Period, bollinger, rsi
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import Positive, Section, StrategyConfig


class RSIBBExitMixin(Section):
    """Closes long positions at a close above the upper band with an index over ``overbought``, short ones mirrored.

    With ``combine`` "or" one of both is enough. Where prices stand still there is neither.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset()

    rsi_period: Period = 14
    """Bars of Wilder's relative strength index."""
    overbought: Level = 70.0
    """The index from which long positions are closed."""
    oversold: Level = 30.0
    """The index down to which short ones are."""
    bb_period: Period = 20
    """Bars of the bands."""
    bb_deviations: Positive = 2.0
    """Their distance from the mean in standard deviations."""
    combine: Both = "and"
    """Whether index and bands must agree."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.oversold >= self.overbought:
            raise ValueError("oversold < overbought must hold")
        return self

    @property
    def warm_up_bars(self) -> int:
        """The slower of both."""
        return max(WILDER_BARS * self.rsi_period, self.bb_period)

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Reasons to close at each bar, from rows up to it alone."""
        _ = config
        index, close = rsi(market, self.rsi_period), market.column("close")
        mean, half = bollinger(market, self.bb_period, deviations=self.bb_deviations)
        high = overdone(index >= self.overbought, close >= mean + half, self.combine)
        low = overdone(index <= self.oversold, close <= mean - half, self.combine)
        return replace(
            Exits.none(len(side)),
            exit_long=reasons(high, Reason.INDICATOR),
            exit_short=reasons(low, Reason.INDICATOR),
        )
