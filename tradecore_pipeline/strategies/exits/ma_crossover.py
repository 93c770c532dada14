"""Leaving when a fast mean crosses a slow one."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar, Self

from pydantic import model_validator

from tradecore_pipeline.strategies.contracts import Exits, Sides
from tradecore_pipeline.strategies.exits.limits import reasons
from tradecore_pipeline.strategies.indicators import EXPONENTIAL_BARS, Mean, Period, crossings, moving_average
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import Section, StrategyConfig


class MACrossoverExitMixin(Section):
    """Closes long positions when the fast mean of closes comes to lie below the slow one, short ones when above.

    The crossing closes, not the state: a position that is opened while the means stand against it waits for the next.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset()

    fast_period: Period = 10
    """Bars of the fast mean; fewer than ``slow_period``."""
    slow_period: Period = 20
    """Bars of the slow one."""
    ma_type: Mean = "SMA"
    """Simple or exponential means."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.fast_period >= self.slow_period:
            raise ValueError("fast_period < slow_period must hold")
        return self

    @property
    def warm_up_bars(self) -> int:
        """The slow mean's, and the bar before."""
        return (self.slow_period if self.ma_type == "SMA" else EXPONENTIAL_BARS * self.slow_period) + 1

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Reasons to close at each bar, from rows up to it alone."""
        _ = config
        fast, slow = (moving_average(market, bars, kind=self.ma_type) for bars in (self.fast_period, self.slow_period))
        above, below = crossings(fast, slow)
        return replace(
            Exits.none(len(side)),
            exit_long=reasons(below, Reason.INDICATOR),
            exit_short=reasons(above, Reason.INDICATOR),
        )
