"""Which way the price went: a plain rule beside the regimes, by no hidden Markov model."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TREND_DAYS = 30
"""The lookback; on BTC the sign of the 30-day return said more about the next bar than any state's mean."""


def trend_signs(bars: pd.DataFrame) -> NDArray[np.int32]:
    """Sign of each bar's return over ``TREND_DAYS`` days, known at ts_close: 1, -1, or 0 without so much history.

    After a gap the last bar before the lookback counts.
    """
    index = pd.DatetimeIndex(bars.index)
    close = bars["close"].to_numpy(dtype=np.float64)
    before = index.searchsorted(index - pd.Timedelta(days=TREND_DAYS), side="right") - 1
    moved = np.sign(close - close[np.maximum(before, 0)])
    return np.where(before >= 0, moved, 0).astype(np.int32)
