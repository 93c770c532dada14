"""The complete strategy's exits: target, stop, trailing stop, regime change, reversal, low confidence, age."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import ClassVar

import numpy as np

from tradecore_pipeline.strategies import rules
from tradecore_pipeline.strategies.contracts import Exits, Reasons, Sides
from tradecore_pipeline.strategies.entries.hmm_lstm import reversed_forecast
from tradecore_pipeline.strategies.market import NO_STATE, Flags, Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import Section, StrategyConfig
from tradecore_pipeline.strategies.unread import LIMIT_SCALE_KEYS

CONFIRMED_WITHIN_BARS = 24
"""A change of regime whose confidence comes later than this closes nothing any more."""


class HMMLSTMExitMixin(Section):
    """Limits of ``risk_management`` and rules of ``exit_criteria``, scaled by the regime in which a position is opened.

    At a close the first of these counts: a change of regime, a reversed forecast, low confidence, no model at all
    (nobody knows anything about the next bar then). Target, stop and trailing stop have been looked for inside the bar
    before that; the longest holding comes last.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset({
        "risk_management",
        "exit_criteria",
        "entry_criteria.prediction_unit",
        *LIMIT_SCALE_KEYS,
    })  # fmt: skip

    @property
    def warm_up_bars(self) -> int:
        """How long a change of regime waits for its confirmation."""
        return CONFIRMED_WITHIN_BARS + 1

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions that each bar's decision opens, each from rows up to that bar alone."""
        risk = config.risk_management
        speed = rules.multipliers(market, config)[1]
        scale = speed * rules.symbol_rule(market, config).volatility_multiplier
        bars = {name: float(bars) for name, bars in risk.max_holding_periods.items()}
        holding = rules.by_regime(bars, market, None)
        long, short = _reasons(market, config)
        return replace(
            Exits.none(len(side)),
            profit=scale * rules.by_regime(risk.profit_targets, market, risk.profit_target),
            stop=scale * rules.by_regime(risk.stop_losses, market, risk.stop_loss),
            trail=scale * rules.by_regime(risk.trailing_stops, market, risk.trailing_stop),
            trail_activation=np.full(len(side), risk.trailing_activation),
            max_holding_bars=np.maximum(np.round(holding * speed), 1.0),
            exit_long=long,
            exit_short=short,
        )


def regime_changes(market: Market, confidence: float) -> Flags:
    """Bars at which a change from one held state to another is first as certain as ``confidence``."""
    held, rows = market.held, np.arange(len(market))
    changed = np.zeros(len(held), dtype=np.bool_)
    changed[1:] = (held[1:] != held[:-1]) & (held[1:] != NO_STATE) & (held[:-1] != NO_STATE)
    newest = np.maximum.accumulate(np.where(changed, rows, -1)) if len(held) else rows
    waiting = (newest >= 0) & (rows - newest <= CONFIRMED_WITHIN_BARS) & (held != NO_STATE)
    certain = waiting & (market.confidence >= confidence)
    told = np.concatenate(([0], np.cumsum(certain)))
    return certain & (told[:-1] == told[np.maximum(newest, 0)])


def _reasons(market: Market, config: StrategyConfig) -> tuple[Reasons, Reasons]:
    """Why long and short positions are closed: of several reasons the one that is set last, in the stated order."""
    criteria, known = config.exit_criteria, market.known
    whole = np.where(known, 0, int(Reason.OTHER_RULE)).astype(np.int8)
    if criteria.exit_on_low_confidence:
        whole[known & (market.confidence < criteria.low_confidence_threshold)] = Reason.LOW_CONFIDENCE
    found = (whole, whole.copy())
    for side, reasons in zip((1, -1), found, strict=True):
        if criteria.exit_on_prediction_reversal:
            reasons[reversed_forecast(market, config, side)] = Reason.PREDICTION_REVERSAL
    if criteria.exit_on_regime_change:
        changed = regime_changes(market, criteria.regime_change_confidence)
        for reasons in found:
            reasons[changed] = Reason.REGIME_CHANGE
    return found
