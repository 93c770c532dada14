"""Other timeframes' rows beside a strategy's own bars: each bar sees the newest one that had closed by its close."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tradecore_pipeline.strategies.market import NO_STATE, Market


def beside(other: Market, bars: pd.DataFrame) -> Market:
    """``other`` on the index of ``bars``, N rows: what its newest bar closed by each ts_close said.

    Where its next bar should have closed by then, too, and is missing, the newest one is old: nothing is known then,
    as before its first bar.
    """
    closes = pd.DatetimeIndex(other.bars["ts_close"])
    now = pd.DatetimeIndex(bars["ts_close"])
    row = np.asarray(closes.searchsorted(now, side="right")) - 1
    seen = np.maximum(row, 0)
    fresh = (row >= 0) & np.asarray(closes[seen] + other.timeframe.duration > now)
    picked = other.bars.iloc[seen].set_axis(bars.index)
    picked = picked.assign(**{
        name: np.where(fresh, picked[name].to_numpy(dtype=np.float64), np.nan)
        for name in picked.columns
        if name != "ts_close"
    })  # fmt: skip
    floats = {
        name: np.where(fresh, getattr(other, name)[seen], np.nan) for name in ("forecast", "volatility", "funding_rate")
    }
    return replace(
        other,
        bars=picked,
        probabilities=np.where(fresh[:, None], other.probabilities[seen], np.nan),
        held=np.where(fresh, other.held[seen], NO_STATE),
        regime=np.where(fresh, other.regime[seen], ""),
        direction_significant=fresh & other.direction_significant[seen],
        trend=np.where(fresh, other.trend[seen], 0),
        equal_scales=fresh & other.equal_states[seen],
        consensus=None if other.consensus is None else np.where(fresh, other.consensus[seen], np.nan),
        **floats,
    )
