"""The indicators whose lengths are tuned: their ranges, defaults and warm-ups in one place, and what they compute.

None depends on the level of price or volume. Those of funding and open interest are a perpetual's only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.features import perpetuals
from tradecore_pipeline.features.prices import Sources, adx, as_values, indicators, log_returns, rsi
from tradecore_pipeline.features.registry import WILDER_SETTLED
from tradecore_pipeline.features.windows import window_moments, window_sums, window_zscore

Floats = npt.NDArray[np.float64]
Source = Literal["bars", "funding", "open_interest"]

LONG_BARS = 168
"""The window that short volatility is compared with."""
EMA_SETTLED, MACD_SETTLED = 13, 15
"""Times their (slow) length: by then the start has faded below 1e-11."""
_FLOOR = 1e-8
"""Ranges and deviations are taken to be at least this share of the price before their log."""
_BAND_DEVIATIONS = 2.0
"""Half the bands' width. Not tuned: it only scales the two columns, which every reader standardizes."""
_STOCHASTIC_SMOOTHING = 3
_CCI_SCALE = 0.015
"""Lambert's: most values then lie within 100 of zero."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """Columns that one length, in bars, decides."""

    parameter: str
    shortest: int
    longest: int
    default: int
    """What everybody uses; every study is reported against it."""
    columns: tuple[str, ...]
    settled: Callable[[int], int]
    """Bars that must exist before a row, given the length."""
    compute: Callable[[Sources, int], tuple[Floats, ...]]
    source: Source
    """What an instrument must have for it."""


def _rsi(sources: Sources, length: int) -> tuple[Floats, ...]:
    return (rsi(sources.bars, length),)


def _adx(sources: Sources, length: int) -> tuple[Floats, ...]:
    return (adx(sources.bars, length),)


def _natr(sources: Sources, length: int) -> tuple[Floats, ...]:
    bars = sources.bars
    percent = indicators().natr(bars["high"], bars["low"], bars["close"], length=length, talib=True)
    return (np.log(np.maximum(as_values(percent, len(bars)) / 100, _FLOOR)),)


def _bollinger(sources: Sources, length: int) -> tuple[Floats, ...]:
    close = _column(sources, "close")
    mean, deviation = window_moments(close, length, least=length)
    half = _BAND_DEVIATIONS * np.maximum(deviation, _FLOOR * mean)
    return np.log(2 * half / mean), (close - mean) / half


def _volume(sources: Sources, length: int) -> tuple[Floats, ...]:
    root = np.sqrt(_column(sources, "volume"))  # tames the tail; a logarithm would need a floor with a unit
    return (window_zscore(root, length, least=length),)


def _volatility(sources: Sources, length: int) -> tuple[Floats, ...]:
    returns = log_returns(sources.bars)
    short = np.maximum(window_moments(returns, length, least=length)[1], _FLOOR)
    long = np.maximum(window_moments(returns, LONG_BARS, least=LONG_BARS)[1], _FLOOR)
    return (np.log(short / long),)


def _macd(sources: Sources, length: int) -> tuple[Floats, ...]:
    """Of log prices, so that it is a return; the usual 12, 26 and 9 keep their proportions."""
    line = _ema(_log_close(sources), round(length * 12 / 26)) - _ema(_log_close(sources), length)
    known = np.flatnonzero(~np.isnan(line))
    signal = np.full(line.size, np.nan)
    if known.size:
        signal[known[0] :] = _ema(line[known[0] :], max(2, round(length * 9 / 26)))
    return line, line - signal


def _ema_distance(sources: Sources, length: int) -> tuple[Floats, ...]:
    close = _log_close(sources)
    return (close - _ema(close, length),)


def _sma_distance(sources: Sources, length: int) -> tuple[Floats, ...]:
    close = _log_close(sources)
    return (close - window_moments(close, length, least=length)[0],)


def _stochastic(sources: Sources, length: int) -> tuple[Floats, ...]:
    place = window_sums(100 * _place_in_range(sources, length), _STOCHASTIC_SMOOTHING)
    return (place / _STOCHASTIC_SMOOTHING,)


def _williams(sources: Sources, length: int) -> tuple[Floats, ...]:
    return (100 * (_place_in_range(sources, length) - 1),)


def _mfi(sources: Sources, length: int) -> tuple[Floats, ...]:
    typical = _typical(sources)
    flow = typical * _column(sources, "volume")
    rose = np.diff(typical, prepend=typical[:1])
    gained = window_sums(np.where(rose > 0, flow, 0.0), length)
    moved = window_sums(np.where(rose != 0, flow, 0.0), length)
    return (np.where(moved > 0, 100 * gained / np.where(moved > 0, moved, 1.0), 50.0),)


def _obv_change(sources: Sources, length: int) -> tuple[Floats, ...]:
    close, volume = _column(sources, "close"), _column(sources, "volume")
    signed = window_sums(np.sign(np.diff(close, prepend=close[:1])) * volume, length)
    traded = window_sums(volume, length)
    return (np.where(traded > 0, signed / np.where(traded > 0, traded, 1.0), 0.0),)


def _cci(sources: Sources, length: int) -> tuple[Floats, ...]:
    typical = _typical(sources)
    mean = window_moments(typical, length, least=length)[0]
    apart = np.zeros(typical.size)
    for back in range(min(length, typical.size)):
        apart[back:] += np.abs(typical[: typical.size - back] - mean[back:])
    varied = apart > _FLOOR * mean * length
    return (np.where(varied, (typical - mean) / np.where(varied, _CCI_SCALE * apart / length, 1.0), 0.0),)


def _funding(sources: Sources, length: int) -> tuple[Floats, ...]:
    rates = perpetuals.funding_rate(sources)
    least = length * 2 // 3
    return window_moments(rates, length, least=least)[0], window_zscore(rates, length, least=least)


def _open_interest(sources: Sources, length: int) -> tuple[Floats, ...]:
    changes = perpetuals.open_interest_change_1(sources)
    known = ~np.isnan(changes)
    total = window_sums(np.where(known, changes, 0.0), length)
    return (np.where(3 * window_sums(known.astype(np.float64), length) >= 2 * length, total, np.nan),)


def _column(sources: Sources, name: str) -> Floats:
    return sources.bars[name].to_numpy(dtype=np.float64)


def _log_close(sources: Sources) -> Floats:
    return np.log(_column(sources, "close"))


def _typical(sources: Sources) -> Floats:
    return (_column(sources, "high") + _column(sources, "low") + _column(sources, "close")) / 3


def _ema(values: Floats, length: int) -> Floats:
    return as_values(indicators().ema(pd.Series(values), length=length, talib=True), values.size)


def _place_in_range(sources: Sources, length: int) -> Floats:
    """Where the close lies between the lowest low (0) and the highest high (1) of the window; .5 where it is flat."""
    high = _highest(_column(sources, "high"), length)
    low = -_highest(-_column(sources, "low"), length)
    varied = high - low > _FLOOR * high
    return np.where(varied, (_column(sources, "close") - low) / np.where(varied, high - low, 1.0), 0.5)


def _highest(values: Floats, length: int) -> Floats:
    """The greatest of each row and the ``length`` - 1 before it: two windows of a power of two cover any other."""
    block, size = values, 1
    while 2 * size <= length:
        block = np.maximum(block, _delayed(block, size))
        size *= 2
    return np.maximum(block, _delayed(block, length - size))


def _delayed(values: Floats, rows: int) -> Floats:
    return np.concatenate([np.full(min(rows, values.size), -np.inf), values[: max(0, values.size - rows)]])


def _wilder(length: int) -> int:
    return WILDER_SETTLED * length


def _before(length: int) -> int:
    return length - 1


INDICATORS: tuple[Indicator, ...] = (
    Indicator("rsi_length", 5, 21, 14, ("tuned_rsi",), _wilder, _rsi, "bars"),
    Indicator("adx_length", 5, 21, 14, ("tuned_adx",), _wilder, _adx, "bars"),
    Indicator("atr_length", 5, 21, 14, ("tuned_log_natr",), _wilder, _natr, "bars"),
    Indicator(
        "bollinger_length", 8, 96, 20, ("tuned_log_band_width", "tuned_band_position"), _before, _bollinger, "bars"
    ),
    Indicator("volume_length", 8, 168, 20, ("tuned_volume_zscore",), _before, _volume, "bars"),
    Indicator(
        "volatility_length", 4, 96, 14, ("tuned_log_volatility_ratio",), lambda length: max(length, LONG_BARS),
        _volatility, "bars",
    ),
    Indicator(
        "macd_length", 12, 40, 26, ("tuned_macd", "tuned_macd_histogram"), lambda length: MACD_SETTLED * length, _macd,
        "bars",
    ),
    Indicator(
        "ema_length", 5, 48, 20, ("tuned_ema_distance",), lambda length: EMA_SETTLED * length, _ema_distance, "bars"
    ),
    Indicator("sma_length", 8, 168, 50, ("tuned_sma_distance",), _before, _sma_distance, "bars"),
    Indicator(
        "stochastic_length", 5, 96, 14, ("tuned_stochastic",), lambda length: length - 2 + _STOCHASTIC_SMOOTHING,
        _stochastic, "bars",
    ),
    Indicator("mfi_length", 5, 96, 14, ("tuned_mfi",), lambda length: length, _mfi, "bars"),
    Indicator("obv_length", 5, 168, 20, ("tuned_obv_change",), lambda length: length, _obv_change, "bars"),
    Indicator("cci_length", 5, 96, 20, ("tuned_cci",), _before, _cci, "bars"),
    Indicator("williams_length", 5, 96, 14, ("tuned_williams",), _before, _williams, "bars"),
    Indicator(
        "funding_length", 24, 504, 168, ("tuned_funding_mean", "tuned_funding_zscore"), _before, _funding, "funding"
    ),
    Indicator(
        "open_interest_length", 4, 168, 24, ("tuned_open_interest_change",), lambda length: length, _open_interest,
        "open_interest",
    ),
)  # fmt: skip
