"""What each feature of the bars themselves computes."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import milliseconds
from tradecore_pipeline.features.windows import window_moments, window_sums, window_zscore

Floats = npt.NDArray[np.float64]

VARIANCE_FLOOR = 1e-12
"""Mean realized variance is taken to be at least this (a move of a ten-thousandth of a percent) before its log."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The rows a feature may read; perpetuals only have funding and open interest."""

    bars: pd.DataFrame
    funding: pd.DataFrame | None
    open_interest: pd.DataFrame | None
    timeframe: Timeframe


def indicators() -> ModuleType:
    """pandas-ta-classic, imported when first needed: it is slow to import and warns on the way."""
    import pandas_ta_classic  # noqa: PLC0415 (definitions must load without it)

    return pandas_ta_classic


def as_values(series: Any, rows: int) -> Floats:
    """An indicator's values; all NaN where it answers None, as it does when the history is too short for it."""
    return np.full(rows, np.nan) if series is None else np.asarray(series, dtype=np.float64)


def log_returns(bars: pd.DataFrame) -> Floats:
    """Log return of each close over the close of the bar before it, across gaps; NaN at the first row."""
    returns = np.full(len(bars), np.nan)
    returns[1:] = np.diff(np.log(bars["close"].to_numpy(dtype=np.float64)))
    return returns


def log_return(sources: Sources) -> Floats:
    """Feature ``log_return``."""
    return log_returns(sources.bars)


def volatility_14(sources: Sources) -> Floats:
    """Feature ``volatility_14``."""
    return volatility(sources.bars, 14)


def volume_zscore_20(sources: Sources) -> Floats:
    """Feature ``volume_zscore_20``."""
    return volume_zscore(sources.bars, 20)


def adx_14(sources: Sources) -> Floats:
    """Feature ``adx_14``."""
    return adx(sources.bars, 14)


def rsi_14(sources: Sources) -> Floats:
    """Feature ``rsi_14``."""
    return rsi(sources.bars, 14)


def volatility(bars: pd.DataFrame, length: int) -> Floats:
    """Standard deviation (n - 1) of the last ``length`` log returns."""
    return window_moments(log_returns(bars), length, least=length)[1]


def volume_zscore(bars: pd.DataFrame, length: int) -> Floats:
    """Volume less the mean of the last ``length`` bars', over their standard deviation (n - 1); NaN where all equal."""
    return window_zscore(bars["volume"].to_numpy(dtype=np.float64), length, least=length)


def adx(bars: pd.DataFrame, length: int) -> Floats:
    """Average directional index, 0 to 100, by TA-Lib."""
    result = indicators().adx(bars["high"], bars["low"], bars["close"], length=length, talib=True)
    return as_values(None if result is None else result[f"ADX_{length}"], len(bars))


def rsi(bars: pd.DataFrame, length: int) -> Floats:
    """Relative strength index, 0 to 100, by TA-Lib."""
    return as_values(indicators().rsi(bars["close"], length=length, talib=True), len(bars))


def log_mean_variance(bars: pd.DataFrame, timeframe: Timeframe, *, hours: int) -> Floats:
    """Log of the mean realized variance of the bars in the last ``hours`` (at least one bar), floored.

    The window is one of time: absent bars are left out of the mean. NaN where more than a third of it is absent.
    """
    length = max(1, hours * 60 // timeframe.minutes)
    if bars.empty:
        return np.empty(0)
    opened = milliseconds(bars.index)
    slots = (opened - opened[0]) // (timeframe.minutes * 60_000)
    variance, present = np.zeros(slots[-1] + 1), np.zeros(slots[-1] + 1)
    variance[slots] = bars["realized_variance"].to_numpy(dtype=np.float64)
    present[slots] = 1.0
    count = window_sums(present, length)[slots]
    mean = window_sums(variance, length)[slots] / count
    return np.where(3 * count >= 2 * length, np.log(np.maximum(mean, VARIANCE_FLOOR)), np.nan)
