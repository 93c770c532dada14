"""A tiny seeded market for the feature tests."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

START = datetime(2024, 1, 1, tzinfo=UTC)


def _minutes(days: int, *, seed: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = days * 1440
    scale = 4e-4 * np.exp(0.4 * np.sin(np.arange(rows) / 900))
    close = 30_000 * np.exp(np.cumsum(rng.standard_t(5, rows) * scale))
    opened = np.concatenate([[30_000.0], close[:-1]])
    spread = np.exp(np.abs(rng.normal(0, 2e-4, (2, rows))))
    volume = rng.gamma(2.0, 5.0, rows)
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * spread[0],
            "low": np.minimum(opened, close) / spread[1],
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trades": rng.integers(1, 200, rows),
            "taker_buy_volume": volume * 0.5,
            "taker_buy_quote_volume": volume * close * 0.5,
        },
        index=pd.date_range(START, periods=rows, freq="min", name="ts_open", unit="ms"),
    )
    return frame.round({"open": 2, "high": 2, "low": 2, "close": 2})


def _funding(days: int, *, seed: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range(START, periods=days * 3, freq="8h", name="ts_settle", unit="ms")
    return pd.DataFrame({"funding_rate": rng.normal(1e-4, 5e-5, len(index))}, index=index)


def _open_interest(days: int, *, seed: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range(START, periods=days * 288, freq="5min", name="ts_event", unit="ms")
    return pd.DataFrame({"open_interest_base": 9e4 * np.exp(np.cumsum(rng.normal(0, 1e-3, len(index))))}, index=index)


@pytest.fixture(scope="session")
def minutes() -> Callable[[int], pd.DataFrame]:
    """Builds so many days of 1-minute bars from 2024-01-01."""
    return _minutes


@pytest.fixture(scope="session")
def funding() -> Callable[[int], pd.DataFrame]:
    """Builds so many days of settlements, every eight hours."""
    return _funding


@pytest.fixture(scope="session")
def open_interest() -> Callable[[int], pd.DataFrame]:
    """Builds so many days of snapshots, every five minutes."""
    return _open_interest
