"""A run as metrics read it, whether it traded one instrument or several."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.engine import RUINED
from tradecore_pipeline.backtest.portfolio import PortfolioBacktest
from tradecore_pipeline.backtest.results import Backtest, Ledger, utc
from tradecore_pipeline.backtest.state import Floats, Integers

_YEAR = 365 * 86_400 * 10**9
ONLY = ""
"""The name of the instrument of a run that has one."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Equity of N bars, with the fills and trades behind it."""

    run: Backtest | PortfolioBacktest
    ts_open: Integers
    ts_close: Integers
    ledgers: Mapping[str, Ledger]

    @classmethod
    def of(cls, run: Backtest | PortfolioBacktest) -> "Account":
        """What metrics read of ``run``."""
        if isinstance(run, Backtest):
            return cls(run=run, ts_open=run.bars.ts_open, ts_close=run.bars.ts_close, ledgers={ONLY: run})
        ends = np.zeros(len(run.ts_open), np.int64)
        for ledger in run.ledgers.values():
            at = np.searchsorted(run.ts_open, ledger.bars.ts_open)
            ends[at] = np.maximum(ends[at], ledger.bars.ts_close)
        return cls(run=run, ts_open=run.ts_open, ts_close=ends, ledgers=run.ledgers)

    def __len__(self) -> int:
        return len(self.ts_open)

    @property
    def capital(self) -> float:
        """Equity to begin with, quote currency."""
        return self.run.capital

    @property
    def equity(self) -> Floats:
        """(N,) quote currency, at each close."""
        return self.run.equity

    @property
    def years(self) -> float:
        """Of 365 days, from the first open to the last close."""
        return len(self) / self.periods_per_year

    @property
    def periods_per_year(self) -> float:
        """Bars there were per year: 8760 at 1h without gaps."""
        return periods_per_year(self.ts_open, self.ts_close)

    @cached_property
    def ruined_at(self) -> int | None:
        """The first bar at whose close nothing was left to trade with; None for an account that lived."""
        gone = np.flatnonzero(self.equity <= self.capital * RUINED)
        return int(gone[0]) if len(gone) else None

    @cached_property
    def value(self) -> Floats:
        """Equity that returns can be made of: 0 from ruin on, whatever is owed."""
        held = self.equity.copy()
        if self.ruined_at is not None:
            held[self.ruined_at :] = 0.0
        return held

    @cached_property
    def returns(self) -> Floats:
        """Simple return of each bar; the first on the capital, -1 on the bar of ruin and 0 after it."""
        return changes(self.value, self.capital)

    @cached_property
    def leverage(self) -> Floats:
        """Value held at each close, long and short added, in multiples of equity; 0 from ruin on."""
        gross = np.zeros(len(self))
        for ledger in self.ledgers.values():
            held = np.abs(ledger.position) * ledger.bars.close
            # An instrument without a bar at a moment is held as at its last one.
            at = np.searchsorted(ledger.bars.ts_open, self.ts_open, side="right")
            gross += np.concatenate(([0.0], held))[at]
        return np.divide(gross, self.value, out=np.zeros(len(self)), where=self.value > 0)

    @cached_property
    def daily(self) -> pd.Series:
        """Simple return of each UTC day that has bars, by day; a day's bars are those that open in it."""
        days = self.ts_open // (86_400 * 10**9)
        last = np.flatnonzero(np.diff(days, append=days[-1] + 1) > 0)
        index = pd.DatetimeIndex(utc(days[last] * 86_400 * 10**9), name="day")
        return pd.Series(changes(self.value[last], self.capital), index=index, name="return")


def periods_per_year(ts_open: Integers, ts_close: Integers) -> float:
    """Bars per 365 days, those that are missing not counted."""
    return len(ts_open) * _YEAR / float(ts_close[-1] - ts_open[0])


def changes(value: Floats, start: float) -> Floats:
    """Simple returns of a value that was ``start`` before; 0 where it was nothing."""
    before = np.concatenate(([start], value[:-1]))
    return np.divide(value, before, out=np.ones(len(value)), where=before > 0) - 1.0
