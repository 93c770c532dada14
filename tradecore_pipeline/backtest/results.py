"""What a backtest leaves: equity by bar, fills and trades, as arrays and as DataFrames."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.orders import Rules
from tradecore_pipeline.backtest.state import (
    F_BAR,
    F_CASH,
    F_FEE,
    F_HELD,
    F_OPEN,
    F_PRICE,
    F_REASON,
    F_SLIPPAGE,
    F_SUB,
    F_UNITS,
    T_ANCHOR,
    T_BOTTOM,
    T_FIRST,
    T_FUNDING,
    T_LAST,
    T_PNL,
    T_REASON,
    T_TOP,
    Floats,
    Integers,
)  # fmt: skip
from tradecore_pipeline.strategies.reasons import REASON_NAMES


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a run, quote currency; costs are positive where they were paid."""

    final_equity: float
    net_pnl: float
    fees: float
    slippage: float
    funding: float
    trades: int
    liquidations: int
    capped_orders: int
    """Orders cut down, or left undone, because the free equity did not carry them."""
    small_orders: int
    """Orders left undone below one lot or the least notional."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """One instrument's fills and trades, in the engine's rows (``state`` names the columns)."""

    bars: BarArrays
    rules: Rules
    fill_rows: Floats
    trade_rows: Floats

    @cached_property
    def fill_bars(self) -> NDArray[np.intp]:
        return self.fill_rows[:, F_BAR].astype(np.intp)

    @cached_property
    def fill_times(self) -> Integers:
        """ns: a bar's open for fills at it, and the close by which it had happened for those inside it."""
        path, sub = self.bars.path, self.fill_rows[:, F_SUB].astype(np.intp)
        return np.where(self.fill_rows[:, F_OPEN] > 0, path.ts_open[sub], path.ts_close[sub])

    @cached_property
    def position(self) -> Floats:
        """(bars,) coins held at each close; short below zero."""
        return self._by_bar(self.fill_rows[:, F_HELD], 0.0)

    @cached_property
    def margin(self) -> Floats:
        """(bars,) margin posted at each close: what was paid for the position, over the leverage."""
        rows, held, entry = self.fill_rows, 0.0, 0.0
        entries = np.empty(len(rows))
        for number, (units, price) in enumerate(zip(rows[:, F_UNITS].tolist(), rows[:, F_PRICE].tolist(), strict=True)):
            if held * units >= 0:
                entry = (entry * abs(held) + price * abs(units)) / (abs(held) + abs(units))
            held = float(rows[number, F_HELD])
            entries[number] = abs(held) * entry
        return self._by_bar(entries, 0.0) / self.rules.leverage

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row per fill, in the order of time.

        ``time bar reason units`` (signed) ``price fee slippage``, and ``position`` and ``cash`` after it.
        """
        rows = self.fill_rows
        return pd.DataFrame({
            "time": utc(self.fill_times), "bar": self.fill_bars, "reason": _names(rows[:, F_REASON]),
            "units": rows[:, F_UNITS], "price": rows[:, F_PRICE], "fee": rows[:, F_FEE],
            "slippage": rows[:, F_SLIPPAGE], "position": rows[:, F_HELD], "cash": rows[:, F_CASH],
        })  # fmt: skip

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row per trade, from flat to flat; see the package's docstring for the columns."""
        rows, fills = self.trade_rows, self.fill_rows
        first, last = rows[:, T_FIRST].astype(np.intp), rows[:, T_LAST].astype(np.intp)
        still = rows[:, T_REASON] == 0
        side = np.sign(fills[first, F_UNITS])
        units, value = fills[:, F_UNITS], fills[:, F_UNITS] * fills[:, F_PRICE]
        whose = np.repeat(np.arange(len(rows)), last - first + 1)
        adds = units * side[whose] > 0

        def total(values: Floats) -> Any:
            return np.bincount(whose, weights=values, minlength=len(rows))

        entered, left = total(np.abs(np.where(adds, units, 0.0))), total(np.abs(np.where(adds, 0.0, units)))
        with np.errstate(invalid="ignore"):
            exit_price = total(np.abs(np.where(adds, 0.0, value))) / left
        times, close_bar = self.fill_times, len(self.bars) - 1
        best, worst = (
            np.where(side > 0, rows[:, T_TOP], rows[:, T_BOTTOM]),
            np.where(side > 0, rows[:, T_BOTTOM], rows[:, T_TOP]),
        )
        return pd.DataFrame({
            "entry_time": utc(times[first]),
            "exit_time": utc(np.where(still, self.bars.ts_close[close_bar], times[last])),
            "entry_bar": self.fill_bars[first],
            "exit_bar": np.where(still, close_bar, self.fill_bars[last]),
            "side": side.astype(np.int64),
            "units": entered,
            "entry_price": total(np.abs(np.where(adds, value, 0.0))) / entered,
            "exit_price": exit_price,
            "reason": _names(rows[:, T_REASON]),
            "open": still,
            "fees": total(fills[:, F_FEE]),
            "slippage": total(fills[:, F_SLIPPAGE]),
            "funding": rows[:, T_FUNDING],
            "pnl": rows[:, T_PNL],
            "mae": side * (worst / rows[:, T_ANCHOR] - 1),
            "mfe": side * (best / rows[:, T_ANCHOR] - 1),
        })  # fmt: skip

    def _by_bar(self, after_fill: Floats, before: float) -> Floats:
        """What held after the last fill up to each bar."""
        count = np.searchsorted(self.fill_bars, np.arange(len(self.bars)), side="right")
        return np.concatenate(([before], after_fill))[count]


@dataclass(frozen=True, kw_only=True)
class Backtest(Ledger):
    """A run over one instrument."""

    capital: float
    equity: Floats
    """(bars,) quote currency, marked at each close."""
    capped: int
    small: int

    @cached_property
    def cash(self) -> Floats:
        """(bars,) equity less what is held at the close; below zero when more is held than there is money."""
        return self.equity - self.position * self.bars.close

    @cached_property
    def by_bar(self) -> pd.DataFrame:
        """Indexed by ``ts_open``: ``ts_close``, ``equity``, ``cash``, ``position``, ``margin``."""
        index = pd.DatetimeIndex(utc(self.bars.ts_open), name="ts_open")
        columns = {"equity": self.equity, "cash": self.cash, "position": self.position, "margin": self.margin}
        return pd.DataFrame({"ts_close": utc(self.bars.ts_close), **columns}, index=index)

    @property
    def totals(self) -> Totals:
        return sums([self], float(self.equity[-1]), self.capital, capped=self.capped, small=self.small)


def sums(ledgers: list[Ledger], final_equity: float, capital: float, *, capped: int, small: int) -> Totals:
    """Totals over the ledgers of one account."""
    reasons = np.concatenate([ledger.trade_rows[:, T_REASON] for ledger in ledgers])
    return Totals(
        final_equity=final_equity,
        net_pnl=final_equity - capital,
        fees=float(sum(ledger.fill_rows[:, F_FEE].sum() for ledger in ledgers)),
        slippage=float(sum(ledger.fill_rows[:, F_SLIPPAGE].sum() for ledger in ledgers)),
        funding=float(sum(ledger.trade_rows[:, T_FUNDING].sum() for ledger in ledgers)),
        trades=len(reasons),
        liquidations=int((reasons == REASON_NAMES.index("liquidation")).sum()),
        capped_orders=capped,
        small_orders=small,
    )


def _names(reasons: Floats) -> NDArray[np.object_]:
    return np.array(REASON_NAMES, dtype=object)[reasons.astype(np.intp)]


def utc(nanoseconds: Integers) -> pd.DatetimeIndex:
    """Moments from ns since 1970."""
    return pd.DatetimeIndex(nanoseconds.astype("datetime64[ns]"), tz="UTC")
