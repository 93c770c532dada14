"""Minutes of a seeded walk, and a crossing of two averages over them, for the benchmarks of the backtest engine."""

import numpy as np

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.state import Floats

START = 1_640_995_200 * 10**9
MINUTE = 60 * 10**9
FAST, SLOW = 20, 100


def minutes(count: int, *, funding: Funding) -> BarArrays:
    random = np.random.default_rng(11)
    close = 20_000 * np.exp(np.cumsum(random.normal(0, 0.0007, count)))
    opened = np.concatenate(([20_000.0], close[:-1]))
    high = np.maximum(opened, close) * (1 + random.exponential(0.0003, count))
    low = np.minimum(opened, close) * (1 - random.exponential(0.0003, count))
    times = START + MINUTE * np.arange(count)
    return BarArrays(
        ts_open=times, ts_close=times + MINUTE, open=opened, high=high, low=low, close=close, funding=funding,
        inner=None,
    )  # fmt: skip


def crossing(close: Floats) -> Floats:
    """1 where the fast average lies above the slow one, else -1; NaN where that is as before, or not known yet."""
    total = np.concatenate(([0.0], np.cumsum(close)))
    fast, slow = (np.full(len(close), np.nan) for _ in range(2))
    fast[FAST - 1 :] = (total[FAST:] - total[:-FAST]) / FAST
    slow[SLOW - 1 :] = (total[SLOW:] - total[:-SLOW]) / SLOW
    side = np.where(np.isnan(slow), np.nan, np.where(fast > slow, 1.0, -1.0))
    return np.where(np.concatenate(([False], side[1:] == side[:-1])), np.nan, side)
