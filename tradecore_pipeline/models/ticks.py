"""Prices move in ticks: the least step of a market, and scores that take each return for the interval it stands for.

A continuous density can be made to score anything on returns that repeat (zero above all): a state with a tiny scale
is enough. The probability of a tick's interval cannot exceed one.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import PERCENT, Floats, StudentMixture
from tradecore_pipeline.models.returns import next_percent_returns

_UNITS = 10**8
"""Prices are stored with eight decimals: in these units they are whole numbers, and steps are exact."""
_PRICES = ("open", "high", "low", "close")
_ODD_SHARE = 0.01
"""Share of the steps between prices that may be off the grid."""

Integers = NDArray[np.int64]


def price_tick(bars: pd.DataFrame) -> float:
    """The market's price step in quote units; 0 where ``bars`` have only one price.

    It is the largest number of which nearly all differences between neighbouring distinct prices are multiples: a few
    odd prices (a bad print, a liquidation) must not pass for a finer grid.

    Give a training window: its tick is known when the window ends, and one for all that is scored by it.
    """
    units = np.rint(bars.loc[:, list(_PRICES)].to_numpy(dtype=np.float64) * _UNITS).astype(np.int64)
    steps = np.sort(np.asarray(np.diff(np.unique(units)), dtype=np.int64))
    if not len(steps):
        return 0.0
    odd = _ODD_SHARE * len(steps)
    # Multiples of the tick are no smaller than it, so that at most the odd steps are.
    candidates = _common_divisors(steps)
    candidates = candidates[candidates <= steps[int(odd)]]
    return next(float(step / _UNITS) for step in candidates[::-1] if np.count_nonzero(steps % step) <= odd)


def _common_divisors(steps: Integers) -> Integers:
    """Greatest common divisors, ascending, of sets of ``steps`` (sorted) that hold one of their quartiles.

    The tick is among them unless all three quartiles are odd, and the divisor of all steps is in any case.
    """
    found: list[Integers] = []
    for quarter in (1, 2, 3):
        divisors = np.unique(np.gcd(steps[quarter * len(steps) // 4], steps))
        count = 0
        while count < len(divisors):
            count = len(divisors)
            divisors = np.unique(np.gcd.outer(divisors, divisors))
        found.append(divisors)
    return np.unique(np.concatenate(found))


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
