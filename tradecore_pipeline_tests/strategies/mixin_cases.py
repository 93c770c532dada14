"""Small markets for the tests of entries and exits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.schema import StrategyConfig

CONFIG = StrategyConfig(name="tested")
HOUR = Timeframe("1h")
REGIMES = np.array(["Bear", "Chop", "Bull"])


def market_of(rows: Sequence[tuple[float, float, float]], **columns: Any) -> Market:
    """Hourly bars of the given high, low and close in one calm, certain state; ``columns`` replace what is said."""
    count = len(rows)
    prices = np.array(rows, dtype=np.float64).reshape(count, 3)
    index = pd.date_range("2024-01-01", periods=count, freq="1h", tz="UTC", name="ts_open")
    bars = pd.DataFrame(
        {
            "ts_close": index + HOUR.duration,
            "open": prices[:, 2],
            "high": prices[:, 0],
            "low": prices[:, 1],
            "close": prices[:, 2],
            "volume": 10.0,
        },
        index=index,
    )
    market = Market(
        "binance:BTC/USDT:USDT", HOUR, bars,
        probabilities=np.tile([1.0, 0.0, 0.0], (count, 1)),
        held=np.zeros(count, dtype=np.int64),
        regime=np.full(count, "Chop"),
        direction_significant=np.zeros(count, dtype=np.bool_),
        trend=np.zeros(count, dtype=np.int64),
        forecast=np.full(count, 1e-4),
        volatility=np.full(count, 0.01),
        funding_rate=np.full(count, np.nan),
    )  # fmt: skip
    return replace(market, **columns)


def closes(values: Sequence[float]) -> Market:
    """Bars of the given closes, one unit wide above and below."""
    return market_of([(value + 1, value - 1, value) for value in values])


def random_market(seed: int, count: int) -> Market:
    """A walk with calm and wild stretches, states that come and go, and bars that no model covers."""
    random = np.random.default_rng(seed)
    scale = np.where(np.arange(count) // 40 % 2, 0.02, 0.004)
    close = 100 * np.exp(np.cumsum(random.normal(0, scale)))
    high, low = close * (1 + random.exponential(scale)), close * (1 - np.minimum(random.exponential(scale), 0.5))
    held = np.repeat(random.integers(-1, 3, count // 7 + 1), 7)[:count]
    probabilities = random.dirichlet((1.0, 1.0, 1.0), count)
    probabilities[held < 0] = np.nan
    regime = np.where(held < 0, "", REGIMES[np.maximum(held, 0)])
    return market_of(
        list(zip(high, low, close, strict=True)),
        probabilities=probabilities,
        held=held.astype(np.int64),
        regime=regime,
        trend=random.integers(-1, 2, count),
        forecast=random.normal(0, 1e-3, count),
    )


def average_true_range(market: Market, period: int) -> list[float]:
    """Wilder's, written out: the mean of the first ranges, then a share of 1 / period of each new one."""
    high, low, close = (market.column(name) for name in ("high", "low", "close"))
    ranges = [
        max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1])) for t in range(1, len(market))
    ]
    found = [float("nan")] * len(market)
    for t in range(period, len(market)):
        fresh = sum(ranges[:period]) / period
        found[t] = fresh if t == period else (found[t - 1] * (period - 1) + ranges[t - 1]) / period
    return found


def strength_index(market: Market, period: int) -> list[float]:
    """Wilder's relative strength index, written out."""
    moves = np.diff(market.column("close"))
    gain, loss = moves[:period].clip(0).mean(), (-moves[:period]).clip(0).mean()
    found = [float("nan")] * len(market)
    for t in range(period, len(market)):
        if t > period:
            gain = (gain * (period - 1) + max(moves[t - 1], 0)) / period
            loss = (loss * (period - 1) + max(-moves[t - 1], 0)) / period
        found[t] = 100 * gain / (gain + loss)
    return found
