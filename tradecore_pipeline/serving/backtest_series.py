"""Long series cut down to what a screen shows: thinned lines, coarser candles, bands of regimes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.results import utc
from tradecore_pipeline.backtest.state import Floats, Integers
from tradecore_pipeline.strategies.market import NO_STATE, Market

_BINS, _FEW_BINS = 40, 10

MOST_POINTS = 2_000
"""More in a line do not show on a screen."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Spans of one state each: span i lies between ``edges`` i and i + 1."""

    edges: pd.DatetimeIndex
    states: Floats
    """NaN where there is none."""


def groups(bars: int, most: int) -> Integers:
    """Where each of at most ``most`` equally long runs of bars begins."""
    return np.arange(0, bars, -(-bars // most) or 1)


def lasts(begins: Integers, bars: int) -> Integers:
    """The last bar of each run."""
    return np.append(begins[1:], bars) - 1


def last_of(values: "np.ndarray", begins: Integers) -> "np.ndarray":
    """The last value of each run."""
    return values[lasts(begins, len(values))]


def chosen(frame: pd.DataFrame, flags: ArrayLike) -> pd.DataFrame:
    """Rows of ``frame`` where ``flags`` is true."""
    return frame.iloc[np.flatnonzero(np.asarray(flags, dtype=np.bool_))]


def column(frame: pd.DataFrame, name: str) -> Floats:
    """A column as doubles."""
    return np.asarray(frame[name], dtype=np.float64)


def clock(times: pd.DatetimeIndex) -> Any:
    """Moments as charts take them, UTC."""
    return times.strftime("%Y-%m-%d %H:%M").to_numpy(dtype=object)


def extreme_of(values: Floats, begins: Integers) -> Floats:
    """The value furthest from 0 of each run."""
    low, high = np.minimum.reduceat(values, begins), np.maximum.reduceat(values, begins)
    return np.where(-low > high, low, high)


def candles(bars: BarArrays, most: int) -> pd.DataFrame:
    """``open``, ``high``, ``low``, ``close`` by ``ts_open``, of several bars where there are more than ``most``."""
    begins = groups(len(bars), most)
    return pd.DataFrame(
        {
            "open": bars.open[begins],
            "high": np.maximum.reduceat(bars.high, begins),
            "low": np.minimum.reduceat(bars.low, begins),
            "close": last_of(bars.close, begins),
        },
        index=pd.DatetimeIndex(utc(bars.ts_open[begins]), name="ts_open"),
    )


def bands(market: Market, bars: BarArrays) -> Bands:
    """The state that was known in each bar (that of the bar before), as spans; thinned where they change too often."""
    known = np.concatenate(([NO_STATE], market.held[:-1]))
    begins = np.concatenate(([0], np.flatnonzero(np.diff(known)) + 1))
    if len(begins) > MOST_POINTS:
        begins = groups(len(known), MOST_POINTS)
    edges = np.append(bars.ts_open[begins], bars.ts_close[-1])
    states = known[begins].astype(np.float64)
    return Bands(pd.DatetimeIndex(utc(edges)), np.where(states == NO_STATE, np.nan, states))


def histogram(values: Floats) -> tuple[Floats, Floats]:
    """Edges and counts of a histogram, with an edge at 0 where values lie on both sides of it."""
    edges = np.histogram_bin_edges(values, bins=_BINS if len(values) > _BINS else _FEW_BINS)
    if edges[0] < 0 < edges[-1]:
        edges = np.unique(np.append(edges, 0.0))
    return edges, np.histogram(values, edges)[0].astype(np.float64)
