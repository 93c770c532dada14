"""The entry by regimes and forecast, and its configuration's criteria, which the exit of the same name reads, too."""

from collections.abc import Set as AbstractSet
from typing import ClassVar

import numpy as np

from tradecore_pipeline.strategies import rules, timeframes
from tradecore_pipeline.strategies.contracts import Sides, Signals
from tradecore_pipeline.strategies.market import Flags, Floats, Market
from tradecore_pipeline.strategies.permission import PERMISSION_KEYS, least_confidence, permitted
from tradecore_pipeline.strategies.schema import Section, StrategyConfig


class HMMLSTMEntryMixin(Section):
    """In the direction of the published forecast, where its size and the regime's confidence pass their thresholds.

    Everything comes from ``entry_criteria``, ``regime_specific_rules``, ``timeframe_analysis`` and
    ``regime_timeframe_rules`` of the configuration. The strength grows from 0 at both thresholds to 1: the mean of how
    far the confidence is from its threshold to certainty, and of how much of the forecast lies beyond its own.
    """

    reads: ClassVar[AbstractSet[str]] = frozenset({"entry_criteria", *PERMISSION_KEYS})

    @property
    def warm_up_bars(self) -> int:
        """The bars that volumes are averaged over."""
        return rules.MEAN_BARS

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        """Signals of every bar, each from rows up to it alone."""
        prediction = predictions(market, config)
        criteria = config.entry_criteria
        least = rules.by_name(criteria.prediction_thresholds, market, criteria.prediction_threshold)
        certain = least_confidence(market, config)
        wished = market.known & (np.abs(prediction) >= least) & (prediction != 0)
        side = np.where(wished, np.sign(prediction), 0).astype(np.int8)
        confidence = market.confidence
        side = np.where((confidence >= certain) & _consented(market, config, side), side, 0).astype(np.int8)
        sure = np.clip((confidence - certain) / max(1 - certain, 1e-12), 0, 1)
        beyond = 1 - least / np.maximum(np.abs(np.nan_to_num(prediction)), max(least, 1e-300))
        return Signals(side, np.where(side == 0, 0.0, (sure + beyond) / 2))


def predictions(market: Market, config: StrategyConfig) -> Floats:
    """The forecast mean in ``prediction_unit``: deviations of the forecast, or log return."""
    if config.entry_criteria.prediction_unit == "log_return":
        return market.forecast
    return market.forecast / np.where(market.known, market.volatility, np.nan)


def _consented(market: Market, config: StrategyConfig, side: Sides) -> Flags:
    """Bars on which enough of the timeframes' and of the ensemble's forecasts have the entry's sign."""
    least = config.entry_criteria.min_prediction_consensus
    fine = permitted(market, config, side)
    if least > 0:
        together = timeframes.share_in_direction(market, config, side.astype(np.int64), own=True)
        fine &= timeframes.reached(together, least)
        if market.consensus is not None:
            fine &= timeframes.reached(market.consensus, least)
    return fine


def reversed_forecast(market: Market, config: StrategyConfig, side: int) -> Flags:
    """Bars whose forecast speaks against a position of ``side`` by the reversal threshold."""
    against = -side * predictions(market, config)
    return market.known & (against >= config.exit_criteria.prediction_reversal_threshold) & (against > 0)
