"""Indicators whose lengths are tuned month by month; computed where they are used, never stored."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import milliseconds
from tradecore_pipeline.features.prices import adx, as_values, indicators, log_returns, rsi
from tradecore_pipeline.features.registry import WILDER_SETTLED, WILDER_WARM_UP
from tradecore_pipeline.features.windows import rows_since, window_moments, window_zscore

Floats = npt.NDArray[np.float64]

_LONG_BARS = 168
"""The window that short volatility is compared with."""
_FLOOR = 1e-8
"""Ranges and deviations are taken to be at least this share of the price before their log."""
_BAND_DEVIATIONS = 2.0
"""Half the bands' width. Not tuned: it only scales the two columns, which every reader standardizes."""


@dataclass(frozen=True, slots=True)
class IndicatorParameters:
    """The lengths, in bars, of the tuned indicators."""

    rsi_length: int
    adx_length: int
    atr_length: int
    bollinger_length: int
    volume_length: int
    volatility_length: int

    def __post_init__(self) -> None:
        for name, length in asdict(self).items():
            low, high = PARAMETER_RANGES[name]
            if not low <= length <= high:
                raise UsageError(f"{name} is {length}: choose a length from {low} to {high} bars")

    @classmethod
    def from_dict(cls, values: dict[str, int]) -> Self:
        """The parameters that ``to_dict`` wrote."""
        return cls(**{name: int(values[name]) for name in PARAMETER_RANGES})

    def to_dict(self) -> dict[str, int]:
        """Name to length, in a fixed order."""
        return asdict(self)


PARAMETER_RANGES: dict[str, tuple[int, int]] = {
    "rsi_length": (5, 21),
    "adx_length": (5, 21),
    "atr_length": (5, 21),
    "bollinger_length": (8, 96),
    "volume_length": (8, 168),
    "volatility_length": (4, 96),
}
"""Shortest and longest length of each, both included."""

DEFAULT_PARAMETERS = IndicatorParameters(
    rsi_length=14, adx_length=14, atr_length=14, bollinger_length=20, volume_length=20, volatility_length=14
)
"""What everybody uses; every study is reported against it."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """Columns that one length decides."""

    parameter: str
    columns: tuple[str, ...]
    settled: Callable[[int], int]
    """Bars that must exist before a row, given the length."""
    compute: Callable[[pd.DataFrame, int], tuple[Floats, ...]]


def _rsi(bars: pd.DataFrame, length: int) -> tuple[Floats, ...]:
    return (rsi(bars, length),)


def _adx(bars: pd.DataFrame, length: int) -> tuple[Floats, ...]:
    return (adx(bars, length),)


def _natr(bars: pd.DataFrame, length: int) -> tuple[Floats, ...]:
    percent = indicators().natr(bars["high"], bars["low"], bars["close"], length=length, talib=True)
    return (np.log(np.maximum(as_values(percent, len(bars)) / 100, _FLOOR)),)


def _bollinger(bars: pd.DataFrame, length: int) -> tuple[Floats, ...]:
    close = bars["close"].to_numpy(dtype=np.float64)
    mean, deviation = window_moments(close, length, least=length)
    half = _BAND_DEVIATIONS * np.maximum(deviation, _FLOOR * mean)
    return np.log(2 * half / mean), (close - mean) / half


def _volume(bars: pd.DataFrame, length: int) -> tuple[Floats, ...]:
    root = np.sqrt(
        bars["volume"].to_numpy(dtype=np.float64)
    )  # tames the tail; a logarithm would need a floor with a unit
    return (window_zscore(root, length, least=length),)


def _volatility(bars: pd.DataFrame, length: int) -> tuple[Floats, ...]:
    returns = log_returns(bars)
    short = np.maximum(window_moments(returns, length, least=length)[1], _FLOOR)
    long = np.maximum(window_moments(returns, _LONG_BARS, least=_LONG_BARS)[1], _FLOOR)
    return (np.log(short / long),)


def _wilder(length: int) -> int:
    return WILDER_SETTLED * length


INDICATORS: tuple[Indicator, ...] = (
    Indicator("rsi_length", ("tuned_rsi",), _wilder, _rsi),
    Indicator("adx_length", ("tuned_adx",), _wilder, _adx),
    Indicator("atr_length", ("tuned_log_natr",), _wilder, _natr),
    Indicator(
        "bollinger_length", ("tuned_log_band_width", "tuned_band_position"), lambda length: length - 1, _bollinger
    ),
    Indicator("volume_length", ("tuned_volume_zscore",), lambda length: length - 1, _volume),
    Indicator(
        "volatility_length", ("tuned_log_volatility_ratio",), lambda length: max(length, _LONG_BARS), _volatility
    ),
)

TUNED_NAMES: tuple[str, ...] = tuple(name for indicator in INDICATORS for name in indicator.columns)
"""The columns of ``tuned_features``, in order; none depends on the level of price or volume."""


def tuned_warm_up_bars() -> int:
    """The bar lengths before a row that its tuned features may read, whatever the parameters."""
    return max(PARAMETER_RANGES[name][1] for name in ("rsi_length", "adx_length", "atr_length")) * WILDER_WARM_UP


def tuned_settled_bars() -> int:
    """How many bars before a row are enough for every parameter choice to have a value there."""
    return max(indicator.settled(PARAMETER_RANGES[indicator.parameter][1]) for indicator in INDICATORS)


def bars_before(bars: pd.DataFrame, timeframe: Timeframe) -> npt.NDArray[np.int64]:
    """How many bars exist in the tuned warm-up before each row."""
    opened = milliseconds(bars.index)
    reach = tuned_warm_up_bars() * timeframe.minutes * 60_000
    return rows_since(opened, reach)


def indicator_columns(
    bars: pd.DataFrame, indicator: Indicator, *, length: int, before: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    """One indicator's columns at one length; NaN where ``before`` (``bars_before``) is less than it needs."""
    settled = before >= indicator.settled(length)
    values = indicator.compute(bars, length)
    return {name: np.where(settled, column, np.nan) for name, column in zip(indicator.columns, values, strict=True)}


def tuned_features(bars: pd.DataFrame, parameters: IndicatorParameters, *, timeframe: Timeframe) -> pd.DataFrame:
    """``TUNED_NAMES`` per bar, indexed by ``ts_open``, known at the bar's close, free of the level of price and volume.

    Rows that have ``tuned_warm_up_bars`` bar lengths of history equal the full history's within 1e-9. NaN where fewer
    bars exist before the row than the indicator needs (30 times its length for Wilder's).
    """
    before = bars_before(bars, timeframe)
    columns: dict[str, Floats] = {}
    for indicator in INDICATORS:
        length = getattr(parameters, indicator.parameter)
        columns |= indicator_columns(bars, indicator, length=length, before=before)
    return pd.DataFrame(columns, index=bars.index)
