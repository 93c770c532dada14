"""Ten indicators everybody knows, over bars of any length, one minute included; computed where they are used."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import MINUTES_PER_DAY
from tradecore_pipeline.features.bars import milliseconds, moments_index
from tradecore_pipeline.features.prices import (
    adx,
    as_values,
    indicators,
    log_returns,
    rsi,
    volatility,
    volume_zscore,
)
from tradecore_pipeline.features.registry import WILDER_SETTLED, WILDER_WARM_UP
from tradecore_pipeline.features.windows import rows_since, window_moments, window_sums

Floats = npt.NDArray[np.float64]

TECHNICAL_WARM_UP_BARS = 14 * WILDER_WARM_UP
"""The bar lengths before a row that its indicators may read."""
_SMOOTHED = 14 * WILDER_SETTLED
"""By then the start of MACD's 26 and 9 bars has faded as far as that of Wilder's 14: 25/27 is below 13/14."""
_BAND_DEVIATIONS = 2.0
_CHUNK_ROWS = 200_000
"""Rows computed together, with their warm-up: what an indicator needs meanwhile then stays near the processor."""


@dataclass(frozen=True, slots=True)
class Technical:
    """Columns of one indicator, known at each bar's close."""

    columns: tuple[str, ...]
    needed_bars: int
    """How many bars must exist in the warm-up before the row, or the value is NaN."""
    unit: str
    meaning: str
    compute: Callable[[pd.DataFrame], tuple[Floats, ...]]


def _macd(bars: pd.DataFrame) -> tuple[Floats, ...]:
    lines = indicators().macd(bars["close"], fast=12, slow=26, signal=9, talib=True)
    names = ("MACD_12_26_9", "MACDs_12_26_9", "MACDh_12_26_9")
    return tuple(as_values(None if lines is None else lines[name], len(bars)) for name in names)


def _bollinger(bars: pd.DataFrame) -> tuple[Floats, ...]:
    mean, deviation = window_moments(bars["close"].to_numpy(dtype=np.float64), 20, least=20)
    half = _BAND_DEVIATIONS * np.sqrt(19 / 20) * deviation  # Bollinger divides by n
    return mean - half, mean, mean + half


def _atr(bars: pd.DataFrame) -> Floats:
    return as_values(indicators().atr(bars["high"], bars["low"], bars["close"], length=14, talib=True), len(bars))


def _ema(bars: pd.DataFrame) -> Floats:
    return as_values(indicators().ema(bars["close"], length=20, talib=True), len(bars))


def _obv_change(bars: pd.DataFrame) -> Floats:
    signs = np.sign(np.diff(bars["close"].to_numpy(dtype=np.float64), prepend=np.nan))
    signs[:1] = 0.0
    return window_sums(signs * bars["volume"].to_numpy(dtype=np.float64), 20)


TECHNICAL: tuple[Technical, ...] = (
    Technical(("log_return",), 1, "log return", "as in the stored features", lambda bars: (log_returns(bars),)),
    Technical(("volatility_14",), 14, "log return", "as in the stored features", lambda bars: (volatility(bars, 14),)),
    Technical(
        ("volume_zscore_20",),
        19,
        "standard deviations",
        "as in the stored features",
        lambda bars: (volume_zscore(bars, 20),),
    ),
    Technical(("adx_14",), _SMOOTHED, "0 to 100", "as in the stored features", lambda bars: (adx(bars, 14),)),
    Technical(("rsi_14",), _SMOOTHED, "0 to 100", "as in the stored features", lambda bars: (rsi(bars, 14),)),
    Technical(
        ("macd_12_26", "macd_signal_9", "macd_histogram"),
        _SMOOTHED,
        "price",
        "exponential mean of 12 closes less that of 26; its own exponential mean over 9; the first less the second",
        _macd,
    ),
    Technical(
        ("bollinger_lower_20", "bollinger_middle_20", "bollinger_upper_20"),
        19,
        "price",
        "mean of the last 20 closes, and two standard deviations (n) below and above it",
        _bollinger,
    ),
    Technical(("atr_14",), _SMOOTHED, "price", "average true range over 14 bars, Wilder's", lambda bars: (_atr(bars),)),
    Technical(("ema_20",), _SMOOTHED, "price", "exponential mean of 20 closes", lambda bars: (_ema(bars),)),
    Technical(
        ("obv_change_20",),
        20,
        "volume",
        "change of on-balance volume over 20 bars: volume of those that closed higher less of those that closed lower "
        "(on-balance volume itself depends on where it starts)",
        lambda bars: (_obv_change(bars),),
    ),
)

TECHNICAL_NAMES: tuple[str, ...] = tuple(name for indicator in TECHNICAL for name in indicator.columns)
"""The columns of ``technical_indicators`` after ``ts_close``, in order."""


def technical_indicators(bars: pd.DataFrame, *, bar_minutes: int) -> pd.DataFrame:
    """One row per bar, indexed by ``ts_open``: ``ts_close``, then ``TECHNICAL_NAMES`` as known at that moment.

    ``bars`` need high, low, close and volume; ``load_bars(instrument, "1m")`` gives them with ``bar_minutes=1``. Rows
    that have ``TECHNICAL_WARM_UP_BARS`` bar lengths of history equal the full history's within 1e-9. NaN where fewer
    bars exist in that time before the row than the indicator needs: at the start, and after a long outage.

    Raises:
        UsageError: ``bar_minutes`` is not a bar length.
        InvalidDataError: the bars are not indexed by sorted, unique, UTC-aware times.
    """
    if not 1 <= bar_minutes <= MINUTES_PER_DAY:
        raise UsageError(f"bars of {bar_minutes} minutes: give a bar length from 1 to {MINUTES_PER_DAY} minutes")
    opened = milliseconds(bars.index)
    length = bar_minutes * 60_000
    before = rows_since(opened, TECHNICAL_WARM_UP_BARS * length)
    values = np.empty((len(TECHNICAL_NAMES), opened.size))
    for start in range(0, opened.size, _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        given = bars.iloc[max(0, start - TECHNICAL_WARM_UP_BARS) : start + _CHUNK_ROWS]
        _fill(values[:, rows], given, before[rows])
    frame = pd.DataFrame(values.T, index=bars.index, columns=list(TECHNICAL_NAMES), copy=False)
    frame.insert(0, "ts_close", moments_index(opened + length, "ts_close"))
    return frame


def _fill(values: Floats, bars: pd.DataFrame, before: npt.NDArray[np.int64]) -> None:
    """The values of the last of ``bars``, as many as ``values`` has columns."""
    columns = iter(values)
    for indicator in TECHNICAL:
        unsettled = before < indicator.needed_bars
        for computed, column in zip(indicator.compute(bars), columns, strict=False):
            column[:] = computed[-before.size :]
            column[unsettled] = np.nan
