"""Backtests of several instruments on one account, as the package's docstring says."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.engine import market_of, sources, state_of
from tradecore_pipeline.backtest.orders import Costs, Orders, Rules
from tradecore_pipeline.backtest.results import Ledger, Totals, sums, utc
from tradecore_pipeline.backtest.state import (
    BOOK,
    CAPPED,
    F_BAR,
    F_SUB,
    FILLS,
    SMALL,
    TRADES,
    Floats,
    Integers,
    Market,
    Payments,
    Plan,
)  # fmt: skip
from tradecore_pipeline.domain.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One instrument of a portfolio: its bars, its decisions, and how they are carried out."""

    bars: BarArrays
    orders: Orders
    costs: Costs
    rules: Rules


@dataclass(frozen=True, kw_only=True)
class PortfolioBacktest:
    """A run over several instruments; ``ledgers`` holds each one's fills and trades."""

    ledgers: Mapping[str, Ledger]
    capital: float
    ts_open: Integers
    """All moments at which a bar of any instrument opens, ns."""
    equity: Floats
    """(moments,) quote currency: bars that opened at the moment at their close, the others at their last one."""
    capped: int
    small: int

    @cached_property
    def fills(self) -> pd.DataFrame:
        """Fills of all instruments by time, as ``Ledger.fills`` with ``instrument``; ``cash`` is the account's."""
        return self._joined("fills", "time")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Trades of all instruments by entry, as ``Ledger.trades`` with ``instrument``."""
        return self._joined("trades", "entry_time")

    @cached_property
    def by_time(self) -> pd.DataFrame:
        """``equity``, indexed by ``ts_open``."""
        return pd.DataFrame({"equity": self.equity}, index=pd.DatetimeIndex(utc(self.ts_open), name="ts_open"))

    @property
    def totals(self) -> Totals:
        ledgers = list(self.ledgers.values())
        return sums(ledgers, float(self.equity[-1]), self.capital, capped=self.capped, small=self.small)

    def _joined(self, what: str, by: str) -> pd.DataFrame:
        parts = [getattr(ledger, what).assign(instrument=name) for name, ledger in self.ledgers.items()]
        return pd.concat(parts, ignore_index=True).sort_values(by, kind="stable", ignore_index=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How far two open positions may move together."""

    most: float
    """Most correlation of their returns, by their sides: a long and a short of the same are -1 alike."""
    bars: int
    """Moments that the correlation is of, all before the one that opens."""


def run_portfolio(
    holdings: Mapping[str, Holding],
    *,
    capital: float,
    maximum_positions: int,
    allocation: float = np.inf,
    likeness: Likeness | None = None,
) -> PortfolioBacktest:
    """Fills, trades and equity of all ``holdings`` with shared cash.

    Args:
        holdings: by instrument; their order decides between equal targets when places are short.
        capital: equity to begin with, quote currency.
        maximum_positions: how many instruments may be held at a time.
        allocation: most value that an increase may bring all positions to, in multiples of equity; infinity for no
            such limit.
        likeness: what is not opened beside what is open; None for no such limit.

    Raises:
        UsageError: nothing to hold, cross margin, or orders, rules or capital that cannot be carried out.
        InvalidDataError: orders with impossible values.
    """
    if not holdings:
        raise UsageError("portfolio: there is no instrument; name one at least")
    if maximum_positions < 1:
        raise UsageError(f"portfolio: maximum_positions is {maximum_positions}; it is 1 or more")
    for name, one in holdings.items():
        one.orders.check(len(one.bars))
        one.rules.check_capital(capital, float(one.bars.open[0]))
        if not one.rules.isolated:
            raise UsageError(f"portfolio: {name} has cross margin; several instruments need isolated=True")
    several = list(holdings.values())
    times, at_time, begins = _timeline(several)
    bars, first_settlement, payments = _joined_bars(several)
    plan = _joined_plans(several)
    equity, capacity = np.empty(len(times)), 256 + len(times) // 32
    terms = [one.rules.terms(one.costs) for one in several]
    most = np.inf if likeness is None else likeness.most
    alike = np.empty((0, 0, 0)) if likeness is None else correlations(several, times, bars=likeness.bars)
    while True:
        s = np.array([state_of(row, capital) for row in terms])
        book = np.empty((len(several), capacity, BOOK))
        _compiled()(
            at_time, begins, bars, payments, first_settlement, plan, s, maximum_positions, float(allocation), alike,
            float(most), book, equity,
        )  # fmt: skip
        if s[:, FILLS].max() <= capacity:
            break
        capacity = int(s[:, FILLS].max())
    for number, begin in enumerate(begins):
        written = book[number, : int(s[number, FILLS])]
        written[:, F_BAR] -= begin
        written[:, F_SUB] -= bars.first[begin]
    ledgers = {
        name: Ledger(
            bars=one.bars, rules=one.rules, fill_rows=rows[: int(row[FILLS])], trade_rows=rows[: int(row[TRADES])]
        )
        for (name, one), row, rows in zip(holdings.items(), s, book, strict=True)
    }
    return PortfolioBacktest(
        ledgers=ledgers, capital=capital, ts_open=times, equity=equity, capped=int(s[:, CAPPED].sum()),
        small=int(s[:, SMALL].sum()),
    )  # fmt: skip


def correlations(several: list[Holding], times: Integers, *, bars: int) -> Floats:
    """(moments, instruments, instruments): correlation of the last ``bars`` log returns closed before each moment.

    NaN where the moments before are fewer, where one of both has no bar at one of them, and where one never moves.
    """
    closes = np.full((len(times), len(several)), np.nan)
    for number, one in enumerate(several):
        closes[np.searchsorted(times, one.bars.ts_open), number] = one.bars.close
    returns = pd.DataFrame(np.diff(np.log(closes), axis=0, prepend=np.nan))
    found = np.full((len(times), len(several), len(several)), np.nan)
    for a in range(len(several)):
        for b in range(a):
            pair = returns[a].rolling(bars).corr(returns[b]).to_numpy(dtype=np.float64)
            found[1:, a, b] = found[1:, b, a] = np.where(np.isfinite(pair), pair, np.nan)[:-1]
    return found


def _timeline(several: list[Holding]) -> tuple[Integers, Integers, Integers]:
    """All moments; the bar of each instrument at each, or -1; and each instrument's first bar among all bars."""
    times = np.unique(np.concatenate([one.bars.ts_open for one in several]))
    at_time = np.full((len(times), len(several)), -1, np.int64)
    begins = np.cumsum([0, *(len(one.bars) for one in several[:-1])]).astype(np.int64)
    for number, one in enumerate(several):
        at_time[np.searchsorted(times, one.bars.ts_open), number] = begins[number] + np.arange(len(one.bars))
    return times, at_time, begins


def _joined_bars(several: list[Holding]) -> tuple[Market, Integers, Payments]:
    """Bars and settlements of all instruments one after the other; where each one's settlements begin."""
    parts, firsts, path_bars = [market_of(one.bars) for one in several], [], 0
    whens: list[Integers] = []
    for one, part in zip(several, parts, strict=True):
        own = part.first if len(part.first) else np.arange(len(part.open) + 1)
        firsts.append(own[:-1] + path_bars)
        when = one.bars.payments.when.copy()
        when[:-1] += 2 * path_bars
        whens.append(when)
        path_bars += len(part.sub_open)
    settled = np.cumsum([0, *(len(when) for when in whens)]).astype(np.int64)
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Market._fields}
    joined["first"] = np.concatenate([*firsts, [path_bars]]).astype(np.int64)
    paid = np.concatenate([one.bars.payments.paid for one in several])
    return Market(**joined), settled, Payments(np.concatenate(whens), paid)


def _joined_plans(several: list[Holding]) -> Plan:
    """Decisions of all instruments one after the other, constants written out."""
    levels = max(one.orders.partial_distance.shape[1] for one in several)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Plan._fields}
    for one in several:
        for name, column in one.orders.plan()._asdict().items():
            width = (levels,) if column.ndim == 2 else ()
            whole = np.full((len(one.bars), *width), np.nan if column.dtype == np.float64 else 0, column.dtype)
            whole[(..., slice(column.shape[1])) if column.ndim == 2 else ...] = column
            columns[name].append(whole)
    return Plan(**{name: np.concatenate(parts) for name, parts in columns.items()})


@functools.cache
def _compiled() -> Any:
    from tradecore_pipeline.backtest.together import simulate_together_by  # noqa: PLC0415 (numba is slow to import)

    return simulate_together_by(sources())
