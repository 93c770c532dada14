"""Leaving when the regime changes."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from tradecore_pipeline.strategies.contracts import Exits, Reasons, Sides
from tradecore_pipeline.strategies.exits.hmm_lstm import CONFIRMED_WITHIN_BARS, regime_changes
from tradecore_pipeline.strategies.market import NO_STATE, Integers, Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import Section, Share, StrategyConfig


class RegimeChangeExitMixin(Section):
    """Closes a position when the held state has changed and its filtered probability is high enough.

    A change whose confidence comes more than 24 bars later closes nothing. Where no model covers a bar what is open is
    closed: nobody knows its regime. States are known to differ in volatility; that Bear and Bull differ in what comes
    next is not shown on real data, so that ``against`` rests on a name.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset()

    confidence: Share = 0.6
    """Least filtered probability of the new state."""
    when: Literal["any", "riskier", "against"] = "any"
    """At any change, at one to a more volatile state, or at one to a state whose name is against the position."""

    @property
    def warm_up_bars(self) -> int:
        """How long a change waits for its confirmation."""
        return CONFIRMED_WITHIN_BARS + 1

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Reasons to close at each bar, from rows up to it alone."""
        _ = config
        long, short = (self._reasons(market, each) for each in (1, -1))
        return replace(Exits.none(len(side)), exit_long=long, exit_short=short)

    def _reasons(self, market: Market, side: int) -> Reasons:
        changed = regime_changes(market, self.confidence)
        if self.when == "riskier":
            changed &= market.held > _state_before(market.held)
        if self.when == "against":
            changed &= market.direction == -side
        found = np.where(changed, int(Reason.REGIME_CHANGE), 0)
        return np.where(market.held == NO_STATE, int(Reason.OTHER_RULE), found).astype(np.int8)


def _state_before(held: Integers) -> Integers:
    """The state before the newest change up to each bar, ``NO_STATE`` before the first."""
    rows = np.arange(len(held))
    changed = np.concatenate((np.zeros(min(1, len(held)), dtype=np.bool_), held[1:] != held[:-1]))
    newest = np.maximum.accumulate(np.where(changed, rows, 0)) if len(held) else rows
    return np.where(newest > 0, held[np.maximum(newest - 1, 0)], NO_STATE)
