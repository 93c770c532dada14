"""Recorded markets as bars of one timeframe: a year of BTC/USDT spot, and months of perpetuals."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline_tests.benchmarks.bars import recorded_day, recorded_root, recorded_zips
from tradecore_pipeline_tests.recorded import read_klines

_PERPETUALS = "data/futures/um/monthly/klines"
_FREQTRADE = "freqtrade_binance_usdm_perp"
_COUNTED = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


def spot_year(timeframe: Timeframe) -> pd.DataFrame | None:
    """The bars of 2022 of Binance's BTC/USDT spot; None where they were not recorded."""
    zips = recorded_zips(365)
    if not zips:
        return None
    days = pa.concat_tables([recorded_day(path)[1] for path in zips])
    prices = [field.name for field in BARS_1M.schema if pa.types.is_decimal(field.type)]
    minutes = days.to_pandas().astype(dict.fromkeys(prices, np.float64)).set_index("ts_open")
    return aggregate_bars(minutes, timeframe, start=minutes.index[0], end=day_start(date(2023, 1, 1)))


def perpetual_months(timeframe: Timeframe) -> dict[str, pd.DataFrame]:
    """A month or so of bars of each recorded perpetual, by a name that says which; empty where there are none."""
    root = recorded_root()
    if root is None:
        return {}
    found = {
        f"{folder.parent.name} {path.stem[-7:]}": read_klines(folder)
        for folder in sorted((root / _PERPETUALS).glob("*/1m"))
        for path in sorted(folder.glob("*.zip"))
    }
    for path in sorted((root.parent / _FREQTRADE).glob("*-1m-futures.feather")):
        minutes = _freqtrade_minutes(path)
        found[f"{path.name.partition('_')[0]}USDT {minutes.index[0]:%Y-%m}"] = minutes
    return {name: _aggregated(minutes, timeframe) for name, minutes in found.items()}


def _freqtrade_minutes(path: Path) -> pd.DataFrame:
    return pyarrow.feather.read_feather(path).set_index("date").assign(**dict.fromkeys(_COUNTED, np.nan))


def _aggregated(minutes: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    minutes.index = pd.DatetimeIndex(minutes.index).as_unit("ms").rename("ts_open")
    end = minutes.index[-1] + timedelta(minutes=1)
    return aggregate_bars(minutes, timeframe, start=minutes.index[0].to_pydatetime(), end=end.to_pydatetime())
