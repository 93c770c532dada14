"""A data feed with lines for regime, probabilities, forecast and funding."""

import functools
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import MINUTES_PER_DAY, Timeframe
from tradecore_pipeline.integrations.backtrader.library import bt
from tradecore_pipeline.strategies.market import Floats, Market

_LINES = ("regime", "direction", "direction_significant", "trend", "forecast", "volatility", "funding_rate")


def feed_of(market: Market, bars: BarArrays) -> Any:
    """The feed of one instrument: its bars, and what was known when each closed.

    A bar's ``datetime`` is its ``ts_close`` (UTC), as Backtrader's own resampling has it: every line of it is known
    then. Beside open, high, low, close and volume there are the lines ``regime`` (the held state, calmest 0; -1 for
    none), ``direction`` (the sign of its name: Bear -1, Bull 1), ``direction_significant``, ``trend``,
    ``probability_0`` ... (filtered), ``forecast`` and ``volatility`` (mean and deviation of the next bar's log return)
    and ``funding_rate`` (the newest that was settled). NaN where no model covers the bar.

    Raises:
        UsageError: ``bars`` are not those of ``market``, or have finer ones inside.
    """
    opens = pd.DatetimeIndex(market.bars.index).as_unit("ns").asi8
    if not np.array_equal(opens, bars.ts_open):
        raise UsageError(f"{market.instrument}: market and bars differ in their rows: give the bars the market has")
    if bars.inner is not None:
        raise UsageError(
            'backtrader: finer bars inside a bar are not followed here: set backtesting_parameters.intrabar to "bars", '
            "or use `tradecore backtest`"
        )
    unit, count = _compression(market.timeframe)
    return _feed_class(market.probabilities.shape[1])(
        market=market, bars=bars, timeframe=unit, compression=count, name=market.instrument
    )


@functools.cache
def _feed_class(states: int) -> Any:
    """The class of feeds of models with so many states: lines belong to classes in Backtrader."""
    names = tuple(f"probability_{state}" for state in range(states))

    class RegimeFeed(bt.feed.DataBase):
        lines = (*_LINES, *names)
        params = (("market", None), ("bars", None))

        def start(self) -> None:
            super().start()
            values = _columns(self.p.market)
            self._columns = [(getattr(self.lines, name), values[name]) for name in values]
            self._row = 0

        def _load(self) -> bool:
            row = self._row
            if row >= len(self.p.bars):
                return False
            for line, values in self._columns:
                line[0] = values[row]
            self._row += 1
            return True

    return RegimeFeed


def _columns(market: Market) -> dict[str, Floats]:
    closes = market.bars["ts_close"]
    numbers = [bt.date2num(moment) for moment in closes.dt.tz_convert("UTC").dt.tz_localize(None).dt.to_pydatetime()]
    bars = {name: market.column(name) for name in ("open", "high", "low", "close", "volume")}
    states = {f"probability_{state}": values for state, values in enumerate(market.probabilities.T)}
    told: dict[str, Any] = {
        "regime": market.held,
        "direction": market.direction,
        "direction_significant": market.direction_significant,
        "trend": market.trend,
        "forecast": market.forecast,
        "volatility": market.volatility,
        "funding_rate": market.funding_rate,
    }
    return {
        "datetime": np.array(numbers),
        **bars,
        **{k: np.asarray(v, dtype=np.float64) for k, v in told.items()},
        **states,
    }


def _compression(timeframe: Timeframe) -> tuple[int, int]:
    minutes = timeframe.minutes
    whole_days = minutes % MINUTES_PER_DAY == 0
    return (bt.TimeFrame.Days, minutes // MINUTES_PER_DAY) if whole_days else (bt.TimeFrame.Minutes, minutes)
