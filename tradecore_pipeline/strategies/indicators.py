"""Indicators that entries and exits read, over a market's bars; every value is known at its bar's ts_close.

Wilder's and exponential means begin somewhere: ``WILDER_BARS`` and ``EXPONENTIAL_BARS`` times their length later their
start has faded to the last bit. All others read their own window and nothing else.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tradecore_pipeline.features.registry import WILDER_WARM_UP
from tradecore_pipeline.features.windows import window_moments, window_sums
from tradecore_pipeline.strategies.market import Flags, Floats, Market

Period = Annotated[int, Field(ge=2, le=1000)]
"""The length of an indicator, in bars."""
Mean = Literal["SMA", "EMA"]

WILDER_BARS = WILDER_WARM_UP
EXPONENTIAL_BARS = 20
_FLAT = 1e-12
"""A deviation below this share of the price is rounding."""


def atr(market: Market, period: int) -> Floats:
    """Wilder's average true range in quote units; NaN before there is one, and while no price has ever moved."""
    import talib  # noqa: PLC0415 (only when something is computed)

    high, low, close = (market.column(name) for name in ("high", "low", "close"))
    found = np.asarray(talib.ATR(high, low, close, timeperiod=period), dtype=np.float64)
    return np.where(found > _FLAT * close, found, np.nan)


def relative_atr(market: Market, period: int) -> Floats:
    """``atr`` as a fraction of the close."""
    return atr(market, period) / market.column("close")


def long_bar_atr(market: Market, period: int, *, bars: int) -> Floats:
    """Mean true range, a fraction of the close, of the last ``period`` stretches of ``bars`` bars, NaN before those.

    The stretches end with each row: what one says does not depend on where the rows or a clock's hours begin.
    """
    close = market.column("close")
    before = delayed(close, bars)
    top = np.maximum(-lowest(-market.column("high"), bars), before)
    ranges = top - np.minimum(lowest(market.column("low"), bars), before)
    total = np.zeros(len(market))
    for stretch in range(period):
        total += delayed(ranges, stretch * bars)
    return np.where(total > _FLAT * close, total / period, np.nan) / close


def rsi(market: Market, period: int) -> Floats:
    """Relative strength index, 0 to 100; NaN before there is one, and where the last ``period`` moves are all zero."""
    import talib  # noqa: PLC0415 (only when something is computed)

    close = market.column("close")
    moved = window_sums(np.abs(np.diff(close, prepend=close[:1])), period)
    return np.where(moved > 0, np.asarray(talib.RSI(close, timeperiod=period), dtype=np.float64), np.nan)


def bollinger(market: Market, period: int, *, deviations: float) -> tuple[Floats, Floats]:
    """Mean of the last closes, and how far the bands lie from it; NaN before there are any, and while prices stand."""
    mean, deviation = window_moments(market.column("close"), period, least=period)
    half = deviations * np.sqrt((period - 1) / period) * deviation  # Bollinger divides by n
    return mean, np.where(deviation > _FLAT * mean, half, np.nan)


def moving_average(market: Market, period: int, *, kind: Mean) -> Floats:
    """Simple or exponential mean of the last closes in quote units, NaN before there is one."""
    close = market.column("close")
    if kind == "SMA":
        return window_moments(close, period, least=period)[0]
    import talib  # noqa: PLC0415 (only when something is computed)

    return np.asarray(talib.EMA(close, timeperiod=period), dtype=np.float64)


def crossings(fast: Floats, slow: Floats) -> tuple[Flags, Flags]:
    """Bars at which ``fast`` comes to lie above ``slow``, not having been above, and those at which below.

    Equal but for rounding is neither above nor below. Without both values, now and before, nothing has crossed.
    """
    apart = (fast - slow) / np.abs(slow)
    apart = np.where(np.abs(apart) <= _FLAT, 0.0, apart)
    before = delayed(apart, 1)
    return (apart > 0) & (before <= 0), (apart < 0) & (before >= 0)


def lowest(values: Floats, bars: int) -> Floats:
    """The least of each row and the ``bars`` - 1 before it, NaN before there are so many."""
    if len(values) < bars:
        return np.full(len(values), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, bars)
    return np.concatenate((np.full(bars - 1, np.nan), windows.min(axis=1)))


def delayed(values: Floats, bars: int) -> Floats:
    """What each row's value was ``bars`` bars before, NaN at the beginning."""
    if bars == 0:
        return values
    return np.concatenate((np.full(min(bars, len(values)), np.nan), values[: max(0, len(values) - bars)]))
