"""What exits have in common: limits that a configuration's rules scale, and refusing what no limit is known for."""

import numpy as np

from tradecore_pipeline.strategies import rules
from tradecore_pipeline.strategies.contracts import Reasons
from tradecore_pipeline.strategies.market import Flags, Floats, Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import StrategyConfig


def limit_scale(market: Market, config: StrategyConfig) -> Floats:
    """What each bar's ``exit_speed`` and the instrument's ``volatility_multiplier`` multiply distances by."""
    return rules.multipliers(market, config)[1] * rules.symbol_rule(market, config).volatility_multiplier


def refused(unknown: Flags) -> Reasons:
    """As ``exit_long`` and ``exit_short``: nothing is opened or kept where ``unknown``, it would have no limit."""
    return reasons(unknown, Reason.OTHER_RULE)


def reasons(bars: Flags, reason: Reason) -> Reasons:
    """``reason`` on these bars, none on the others."""
    return np.where(bars, int(reason), 0).astype(np.int8)
