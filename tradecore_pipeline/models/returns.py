"""Returns of bars, and the moments around them; gaps in the bars give NaN, never a return over several bars."""

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import PERCENT, Floats


def percent_returns(bars: pd.DataFrame, timeframe: Timeframe) -> Floats:
    """Close-to-close log return of each bar in percent, known at its ts_close.

    NaN in the first row and after a missing bar.
    """
    close = bars["close"].to_numpy(dtype=np.float64)
    result = np.full(len(bars), np.nan)
    if len(bars) > 1:
        result[1:] = np.where(follows(bars, timeframe)[1:], PERCENT * np.diff(np.log(close)), np.nan)
    return result


def next_percent_returns(bars: pd.DataFrame, timeframe: Timeframe) -> Floats:
    """The label: the return in percent of the bar after each one; not known before that bar closes.

    NaN in the last row and before a missing bar.
    """
    result = np.full(len(bars), np.nan)
    result[:-1] = percent_returns(bars, timeframe)[1:]
    return result


def follows(bars: pd.DataFrame, timeframe: Timeframe) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each bar opens where the one before it closed."""
    result = np.zeros(len(bars), dtype=np.bool_)
    result[1:] = np.asarray(bars.index[1:] - bars.index[:-1] == timeframe.duration)
    return result


def next_open(bars: pd.DataFrame, timeframe: Timeframe) -> pd.DatetimeIndex:
    """The opening moment of the bar after each one."""
    return pd.DatetimeIndex(bars.index) + pd.Timedelta(timeframe.duration)
