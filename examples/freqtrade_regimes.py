# ruff: noqa: INP001 (a strategy file for freqtrade's folder, no package)
r"""A freqtrade strategy that trades exported regimes. Copy it to ``user_data/strategies`` and change what it trades.

Write the regimes where it looks for them, one file per pair (``/`` and ``:`` become ``_``):

    tradecore export regimes --instrument binance:BTC/USDT:USDT --timeframe 1h --from 2025-01-01 --to 2025-03-31 \
        --format feather --out user_data/regimes/BTC_USDT_USDT.feather

**The trap.** freqtrade's ``date`` is the moment a candle *opens*; what it knows of the candle, it knows when it closes.
A regime's row is known at its ``ts_close``. So the two meet at the candle's close: the newest row with ``ts_close`` up
to ``date`` + the candle's length. Joined by ``date`` and ``ts_open``, candles of 5 minutes would read an hour's regime
up to 55 minutes before that hour is over; joined by ``date`` and ``ts_close``, each decision is one candle late.
"""

from pathlib import Path

import pandas as pd
from freqtrade.strategy import IStrategy

COLUMNS = (
    "held_index", "regime_index", "confidence", "volatility_regime", "trend", "forecast_log_return",
    "forecast_volatility",
)  # fmt: skip


def join_regimes(candles: pd.DataFrame, regimes: pd.DataFrame, candle: pd.Timedelta) -> pd.DataFrame:
    """``candles`` with what was known of the regime when each of them closed, in columns ``known_...``.

    Args:
        candles: freqtrade's frame, sorted: ``date`` is the UTC moment at which a candle opens.
        regimes: exported rows, with ``ts_open`` and ``ts_close``.
        candle: length of a candle.

    Returns:
        A new frame with the rows of ``candles``; NaN where no row is known, or the newest is older than its bar's
        length: the regime of a gap, or of the end of the file, does not go on for ever.
    """
    rows = regimes.sort_values("ts_close")
    length = (rows["ts_close"] - rows["ts_open"]).median()
    known = rows[list(COLUMNS)].add_prefix("known_").assign(known_at=rows["ts_close"].dt.as_unit("ns"))
    closes = candles.assign(known_at=(candles["date"] + candle).dt.as_unit("ns"))
    oldest = pd.Timedelta(length) - pd.Timedelta(1, unit="ns")
    joined = pd.merge_asof(closes, known, on="known_at", direction="backward", tolerance=oldest)
    return joined.drop(columns="known_at").set_index(candles.index)


class RegimeStrategy(IStrategy):
    """Long in the calmest regime, out in any other: on real data regimes tell volatility, hardly direction."""

    INTERFACE_VERSION = 3
    timeframe = "1h"
    can_short = False
    process_only_new_candles = True
    startup_candle_count = 0
    minimal_roi = {"0": 100.0}  # noqa: RUF012 (freqtrade reads the attribute): no target
    stoploss = -0.05
    least_confidence = 0.6

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict) -> pd.DataFrame:
        """Candles with the regime that was known at their close."""
        name = metadata["pair"].replace("/", "_").replace(":", "_")
        regimes = pd.read_feather(Path(self.config["user_data_dir"]) / "regimes" / f"{name}.feather")
        return join_regimes(dataframe, regimes, pd.Timedelta(self.timeframe))

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict) -> pd.DataFrame:  # noqa: ARG002 (freqtrade's)
        """Enters at the next candle's open where the calmest state is held, most probable and certain enough."""
        calm = (dataframe["known_held_index"] == 0) & (dataframe["known_regime_index"] == 0)
        dataframe.loc[calm & (dataframe["known_confidence"] >= self.least_confidence), "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict) -> pd.DataFrame:  # noqa: ARG002 (freqtrade's)
        """Leaves where another state is held, and where nothing is known any more."""
        dataframe.loc[~(dataframe["known_held_index"] == 0), "exit_long"] = 1
        return dataframe
