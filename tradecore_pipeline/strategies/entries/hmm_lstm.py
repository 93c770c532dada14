"""The entry by regimes and forecast, and its configuration's criteria, which the exit of the same name reads, too."""

import numpy as np

from tradecore_pipeline.strategies import rules, timeframes
from tradecore_pipeline.strategies.contracts import Signals
from tradecore_pipeline.strategies.market import Flags, Floats, Market
from tradecore_pipeline.strategies.schema import Section, StrategyConfig


class HMMLSTMEntryMixin(Section):
    """In the direction of the published forecast, where its size and the regime's confidence pass their thresholds.

    Everything comes from ``entry_criteria``, ``regime_specific_rules``, ``timeframe_analysis`` and
    ``regime_timeframe_rules`` of the configuration. The strength grows from 0 at both thresholds to 1: the mean of how
    far the confidence is from its threshold to certainty, and of how much of the forecast lies beyond its own.
    """

    @property
    def warm_up_bars(self) -> int:
        """The bars that volumes are averaged over."""
        return rules.MEAN_BARS

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        """Signals of every bar, each from rows up to it alone."""
        prediction = predictions(market, config)
        least, certain = _thresholds(market, config)
        side = np.where(market.known & (np.abs(prediction) >= least) & (prediction != 0), np.sign(prediction), 0)
        confidence = market.confidence
        side = np.where((confidence >= certain) & _permitted(market, config, side.astype(np.int64)), side, 0).astype(
            np.int8
        )
        sure = np.clip((confidence - certain) / max(1 - certain, 1e-12), 0, 1)
        beyond = 1 - least / np.maximum(np.abs(np.nan_to_num(prediction)), max(least, 1e-300))
        return Signals(side, np.where(side == 0, 0.0, (sure + beyond) / 2))


def predictions(market: Market, config: StrategyConfig) -> Floats:
    """The forecast mean in ``prediction_unit``: deviations of the forecast, or log return."""
    if config.entry_criteria.prediction_unit == "log_return":
        return market.forecast
    return market.forecast / np.where(market.known, market.volatility, np.nan)


def _thresholds(market: Market, config: StrategyConfig) -> tuple[float, float]:
    criteria = config.entry_criteria
    return (
        rules.by_name(criteria.prediction_thresholds, market, criteria.prediction_threshold),
        rules.by_name(criteria.regime_confidence_thresholds, market, criteria.regime_confidence_threshold),
    )


def _permitted(market: Market, config: StrategyConfig, side: np.ndarray) -> Flags:
    criteria = config.entry_criteria
    long, short = rules.allowed(market, config)
    long_together, short_together, _ = timeframes.regime_limits(market, config)
    fine = np.where(side > 0, long & long_together, short & short_together)
    fine &= rules.liquid(market, config) & timeframes.agreed(market, config, side)
    if criteria.require_trend_alignment:
        fine &= market.trend == side
    if criteria.require_direction_significant:
        fine &= market.direction_significant
    if criteria.min_prediction_consensus > 0:
        together = timeframes.share_in_direction(market, config, side, own=True)
        fine &= timeframes.reached(together, criteria.min_prediction_consensus)
        if market.consensus is not None:
            fine &= timeframes.reached(market.consensus, criteria.min_prediction_consensus)
    return fine


def reversed_forecast(market: Market, config: StrategyConfig, side: int) -> Flags:
    """Bars whose forecast speaks against a position of ``side`` by the reversal threshold."""
    against = -side * predictions(market, config)
    return market.known & (against >= config.exit_criteria.prediction_reversal_threshold) & (against > 0)
