"""Prices move in ticks: the least step of a market, and scores that take each return for the interval it stands for.

A continuous density can be made to score anything on returns that repeat (zero above all): a state with a tiny scale
is enough. The probability of a tick's interval cannot exceed one.
"""

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import PERCENT, Floats, StudentMixture
from tradecore_pipeline.models.returns import next_percent_returns

_UNITS = 10**8
"""Prices are stored with eight decimals: in these units they are whole numbers, and steps are exact."""
_PRICES = ("open", "high", "low", "close")


def price_tick(bars: pd.DataFrame) -> float:
    """The least step between two prices of ``bars``, in quote units; 0 where there is only one price.

    Give a training window: its tick is known when the window ends, and one for all that is scored by it.
    """
    units = np.rint(bars.loc[:, list(_PRICES)].to_numpy(dtype=np.float64) * _UNITS)
    steps = np.diff(np.unique(units))
    return float(steps.min() / _UNITS) if len(steps) else 0.0


def next_log_scores(forecast: StudentMixture, bars: pd.DataFrame, *, timeframe: Timeframe, tick: float) -> Floats:
    """Log score in nats that row t's density gave to the bar after it; not known before that bar closes.

    Where half a tick either side of a close is wide against the density, it is the log probability of that interval
    over its width, else the log density: the two agree where both make sense, so that they compare and add up.

    Args:
        forecast: densities in percent of the bar after each of ``bars``.
        bars: consecutive bars.
        timeframe: their length.
        tick: the market's price step in quote units; 0 takes the log density throughout.
    """
    returns = next_percent_returns(bars, timeframe)
    if tick == 0:
        return forecast.log_density(returns)
    close = bars["close"].to_numpy(dtype=np.float64)
    following = np.append(close[1:], np.nan)
    down, up = (np.log1p(side * tick / 2 / following) for side in (-1, 1))
    return forecast.interval_log_density(returns, lower=returns + PERCENT * down, upper=returns + PERCENT * up)
