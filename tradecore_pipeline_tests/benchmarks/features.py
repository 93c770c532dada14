"""Ten indicators over seven years of minutes, against pandas-ta-classic's own Python for the same ones."""

import warnings
from datetime import timedelta
from importlib.metadata import version
from time import perf_counter

import numpy as np
import pandas as pd

from tradecore_pipeline.features.technical import TECHNICAL_NAMES, TECHNICAL_WARM_UP_BARS, technical_indicators
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

ROWS = 3_800_000
DAYS_ALONE = 100
ALONE_TOLERANCE = 1e-9
PEER_TOLERANCE = 1e-6


def seeded_minutes(rows: int) -> pd.DataFrame:
    """Minute bars from 2019-09-08 on, with heavy-tailed returns and a price that stays in sight of its start."""
    random = np.random.default_rng(7)
    returns = random.standard_t(5, rows) * 4e-4
    close = 30_000 * np.exp(np.cumsum(returns - returns.mean()))
    opened = np.concatenate([[30_000.0], close[:-1]])
    wide = np.exp(np.abs(random.normal(0, 2e-4, (2, rows))))
    volume = random.gamma(2.0, 5.0, rows)
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * wide[0],
        "low": np.minimum(opened, close) / wide[1],
        "close": close,
        "volume": volume,
        "quote_volume": volume * close,
        "trades": random.integers(1, 200, rows),
        "taker_buy_volume": volume / 2,
        "taker_buy_quote_volume": volume * close / 2,
    }
    index = pd.date_range("2019-09-08", periods=rows, freq="min", tz="UTC", name="ts_open", unit="ms")
    return pd.DataFrame(columns, index=index)


def _ours(minutes: pd.DataFrame) -> pd.DataFrame:
    return technical_indicators(minutes, bar_minutes=1)


def _peer(minutes: pd.DataFrame) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer warns at import
        import pandas_ta_classic as ta  # noqa: PLC0415 (inside the filter)
    high, low, close, volume = (minutes[name] for name in ("high", "low", "close", "volume"))
    returns = ta.log_return(close)
    macd = ta.macd(close, fast=12, slow=26, signal=9, talib=False)
    bands = ta.bbands(close, length=20, std=2.0, ddof=0, talib=False)
    columns = {
        "log_return": returns,
        "volatility_14": ta.stdev(returns, length=14, ddof=1, talib=False),
        "volume_zscore_20": ta.zscore(volume, length=20, ddof=1, talib=False),
        "adx_14": ta.adx(high, low, close, length=14, talib=False)["ADX_14"],
        "rsi_14": ta.rsi(close, length=14, talib=False),
        "macd_12_26": macd["MACD_12_26_9"],
        "macd_signal_9": macd["MACDs_12_26_9"],
        "macd_histogram": macd["MACDh_12_26_9"],
        "bollinger_lower_20": bands["BBL_20_2.0"],
        "bollinger_middle_20": bands["BBM_20_2.0"],
        "bollinger_upper_20": bands["BBU_20_2.0"],
        "atr_14": ta.atr(high, low, close, length=14, talib=False),
        "ema_20": ta.ema(close, length=20, talib=False),
        "obv_change_20": ta.obv(close, volume, talib=False).diff(20),
    }
    return pd.DataFrame(columns, index=minutes.index, copy=False)


def _apart(mine: pd.DataFrame, other: pd.DataFrame) -> float:
    """The largest difference, relative where the value is above 1; infinite where only one of both has a value."""
    worst = 0.0
    for name in TECHNICAL_NAMES:
        left, right = mine[name].to_numpy(), other[name].to_numpy()
        if not np.array_equal(np.isnan(left), np.isnan(right)):
            return float("inf")
        known = ~np.isnan(left)
        apart = np.abs(left[known] - right[known]) / np.maximum(1.0, np.abs(right[known]))
        worst = max(worst, float(apart.max(initial=0.0)))
    return worst


def _days_apart(minutes: pd.DataFrame, whole: pd.DataFrame) -> float:
    """The largest difference of days that are computed alone, each from itself and its warm-up."""
    days = np.random.default_rng(7).choice(ROWS // 1440, DAYS_ALONE, replace=False)
    worst = 0.0
    for first in sorted(days * 1440):
        start = minutes.index[first]
        since = minutes.index.searchsorted(start - timedelta(minutes=TECHNICAL_WARM_UP_BARS))
        alone = _ours(minutes.iloc[since : first + 1440]).loc[start:]
        worst = max(worst, _apart(alone, whole.iloc[first : first + 1440]))
    return worst


def main() -> None:
    minutes = seeded_minutes(ROWS)
    begin = perf_counter()
    whole = _ours(minutes)
    first_seconds = perf_counter() - begin
    alone = _days_apart(minutes, whole)
    theirs = _apart(whole.iloc[TECHNICAL_WARM_UP_BARS:], _peer(minutes).iloc[TECHNICAL_WARM_UP_BARS:])
    del whole
    our_seconds, peer_seconds = interleaved(lambda: _ours(minutes), lambda: _peer(minutes), repeats=3)
    print_report(
        name="features",
        ours=our_seconds,
        peer=peer_seconds,
        peer_name=f"pandas-ta-classic {version('pandas-ta-classic')} with talib=False",
        unit="s",
        ratio=peer_seconds / our_seconds,
        equal=alone <= ALONE_TOLERANCE and theirs <= PEER_TOLERANCE,
        n=ROWS,
        note=f"seeded minutes; {DAYS_ALONE} days computed alone differ by {alone:.0e} at most from the full history, "
        f"the peer by {theirs:.0e} once settled; the first call, imports included, took {first_seconds:.1f} s",
    )


if __name__ == "__main__":
    main()
