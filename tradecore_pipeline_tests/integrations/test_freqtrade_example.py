import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.tables import REGIMES

FILE = Path(__file__).parents[2] / "examples" / "freqtrade_regimes.py"
HOUR = pd.Timedelta("1h")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The strategy file, with the one name that it takes from freqtrade."""
    strategy = ModuleType("freqtrade.strategy")
    strategy.IStrategy = type("IStrategy", (), {"__init__": lambda self, config: setattr(self, "config", config)})
    monkeypatch.setitem(sys.modules, "freqtrade", ModuleType("freqtrade"))
    monkeypatch.setitem(sys.modules, "freqtrade.strategy", strategy)
    spec = importlib.util.spec_from_file_location("freqtrade_regimes", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hours(count: int, *, seed: int) -> pd.DataFrame:
    """Exported rows; some hours are missing."""
    random = np.random.default_rng(seed)
    opens = pd.date_range("2025-01-01", periods=count, freq="1h", tz="UTC", unit="us")
    rows = pd.DataFrame({
        "ts_open": opens, "ts_close": opens + HOUR, "held_index": random.integers(0, 3, count).astype(np.float64),
        "volatility_regime": "Calm", "regime_index": random.integers(0, 2, count), "confidence": random.random(count),
        "forecast_log_return": random.normal(size=count), "forecast_volatility": 0.01, "trend": 0.0,
    })  # fmt: skip
    return rows.loc[random.random(count) < 0.8].reset_index(drop=True)


def candles(count: int, length: str) -> pd.DataFrame:
    """Candles as freqtrade has them, some missing; their index is not that of a fresh frame."""
    opens = pd.date_range("2025-01-01", periods=count, freq=length, tz="UTC", unit="ms")
    return pd.DataFrame({"date": opens, "close": np.arange(count)})[np.arange(count) % 7 != 3]


@pytest.mark.parametrize("length", ["5min", "1h", "4h"])
def test_a_candle_gets_the_newest_row_known_at_its_close_and_no_later_one(example: Any, length: str) -> None:
    rows, given = hours(240, seed=1), candles(100, length)
    joined = example.join_regimes(given, rows, pd.Timedelta(length))
    assert joined.index.equals(given.index)
    found = 0
    for moment, confidence in zip(given["date"] + pd.Timedelta(length), joined["known_confidence"], strict=True):
        known = rows[(rows["ts_close"] <= moment) & (rows["ts_close"] > moment - HOUR)]
        assert np.isnan(confidence) if known.empty else confidence == known["confidence"].iloc[-1]
        found += not known.empty
    assert 10 < found < len(given)


@pytest.mark.parametrize("cut", range(1, 48, 5))
def test_no_later_row_changes_what_an_earlier_candle_reads(example: Any, cut: int) -> None:
    rows, given, candle = hours(48, seed=2), candles(500, "5min"), pd.Timedelta("5min")
    moment = rows["ts_open"].iloc[0] + cut * HOUR
    other = rows[rows["ts_close"] <= moment]
    early = given["date"] + candle <= moment
    whole, part = (example.join_regimes(given, each, candle)[early] for each in (rows, other))
    pd.testing.assert_frame_equal(whole, part)


def test_joined_by_its_open_time_a_candle_would_read_an_hour_that_is_not_over(example: Any) -> None:
    rows, given = hours(48, seed=2), candles(500, "5min")
    joined = example.join_regimes(given, rows, pd.Timedelta("5min"))
    opens = rows.assign(date=rows["ts_open"].dt.as_unit("ms"))
    naive = pd.merge_asof(given, opens, on="date")
    known_too_early = naive["ts_close"].to_numpy() > (given["date"] + pd.Timedelta("5min")).to_numpy()
    assert known_too_early.mean() > 0.5
    assert (naive["confidence"].to_numpy() != joined["known_confidence"].to_numpy())[known_too_early].all()


def test_it_reads_the_exported_file_and_leaves_where_nothing_is_known(example: Any, tmp_path: Path) -> None:
    rows, given = hours(48, seed=3), candles(60, "1h")
    (tmp_path / "regimes").mkdir()
    rows.to_feather(tmp_path / "regimes" / "BTC_USDT_USDT.feather")
    strategy, pair = example.RegimeStrategy({"user_data_dir": str(tmp_path)}), {"pair": "BTC/USDT:USDT"}
    frame = strategy.populate_indicators(given, pair)
    frame = strategy.populate_exit_trend(strategy.populate_entry_trend(frame, pair), pair)
    calm = frame["known_held_index"] == 0
    certain = (frame["known_regime_index"] == 0) & (frame["known_confidence"] >= strategy.least_confidence)
    assert (frame["enter_long"] == 1).equals(calm & certain)
    assert (frame["exit_long"] == 1).equals(~calm)
    assert frame["enter_long"].sum() > 1
    assert (frame.loc[frame["date"] >= rows["ts_close"].iloc[-1] + HOUR, "exit_long"] == 1).all()


def test_the_columns_it_reads_are_those_that_are_exported(example: Any) -> None:
    exported = SimpleNamespace(names={column.name for column in REGIMES.columns})
    assert {*example.COLUMNS, "ts_open", "ts_close"} <= exported.names
