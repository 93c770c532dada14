"""A run by calendar month, and by the regime that was known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradecore_pipeline.backtest import ratios
from tradecore_pipeline.backtest.account import Account, changes
from tradecore_pipeline.backtest.results import Ledger, utc
from tradecore_pipeline.backtest.state import T_FIRST, T_PNL, T_REASON, Floats
from tradecore_pipeline.backtest.trade_figures import profit_factor
from tradecore_pipeline.domain.errors import UsageError

Naming = Sequence["np.ndarray[Any, Any]"]
"""Each instrument's names by bar, in the order of the run's ledgers; row t known at bar t's close, empty for none."""

UNKNOWN = "none"
"""Where no model had named the regime."""


@dataclass(frozen=True, slots=True)
class MonthRow:
    """A UTC month; a bar belongs to the month that it opens in."""

    month: str
    """YYYY-MM."""
    total_return: float
    """Fraction; 0 after ruin."""
    max_drawdown: float
    """Deepest fall inside the month, from its start or a later high."""
    exposure: float
    bars: int
    trades: int
    """Opened in the month."""


@dataclass(frozen=True, slots=True)
class RegimeRow:
    """What was earned in one regime.

    A bar, and a trade, belongs to the regime that was known at the open of the bar, at which the trade was opened: that
    is what a strategy could act on. By the bar's own regime, which its return has a say in, returns would sort
    themselves.
    """

    regime: str
    bars: int
    share_of_bars: float
    log_return: float
    """Sum over the regime's bars: regimes add up to the whole. NaN for several instruments and after ruin."""
    mean_bps: float
    """Mean return of a bar; NaN as above."""
    annual_volatility: float
    """Of the regime's bars; NaN as above."""
    sharpe: float
    """Likewise, per year in the regime."""
    exposure: float
    """Share of the regime's bars with a position at the close."""
    trades: int
    """Closed trades that were opened in it."""
    win_rate: float
    pnl: float
    """Sum of their results, quote currency."""
    expectancy: float
    profit_factor: float


def by_month(account: Account) -> tuple[MonthRow, ...]:
    """Every month that has bars, in order."""
    months = utc(account.ts_open).strftime("%Y-%m").to_numpy(dtype=str)
    first = np.flatnonzero(np.concatenate(([True], months[1:] != months[:-1])))
    entries = account.run.trades["entry_time"].dt.strftime("%Y-%m").to_numpy(dtype=str)
    held = account.leverage > 0
    rows: list[MonthRow] = []
    for begin, end in zip(first, [*first[1:], len(account)], strict=True):
        before = account.capital if begin == 0 else float(account.value[begin - 1])
        returns = changes(account.value[begin:end], before)
        month = str(months[begin])
        rows.append(
            MonthRow(
                month=month,
                total_return=ratios.total_return(returns),
                max_drawdown=ratios.drawdown(returns).depth,
                exposure=float(held[begin:end].mean()),
                bars=int(end - begin),
                trades=int((entries == month).sum()),
            )
        )
    return tuple(rows)


def by_regime(account: Account, names: Naming) -> tuple[RegimeRow, ...]:
    """A row per regime, those that lasted longest first.

    Raises:
        UsageError: ``names`` does not have one name per bar of each instrument.
    """
    ledgers = list(account.ledgers.values())
    if len(names) != len(ledgers) or any(len(n) != len(one.bars) for n, one in zip(names, ledgers, strict=True)):
        raise UsageError("regimes: give one name per bar of each instrument, in the run's order")
    known = [_known(labels) for labels in names]
    labels = np.concatenate(known)
    held = np.concatenate([one.position != 0 for one in ledgers])
    entered, pnl = _closed(ledgers, known)
    alone = len(ledgers) == 1 and account.ruined_at is None
    rows = [
        _row(name, at=labels == name, held=held, pnl=pnl[entered == name], account=account if alone else None)
        for name in dict.fromkeys(labels.tolist())
    ]
    return tuple(sorted(rows, key=lambda row: -row.bars))


def _known(labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """What was known when each bar opened: the row before."""
    before = np.concatenate(([""], np.asarray(labels, dtype=str)[:-1]))
    return np.where(before == "", UNKNOWN, before)


def _closed(ledgers: Sequence[Ledger], known: Naming) -> tuple["np.ndarray[Any, Any]", Floats]:
    """The regime in which each closed trade was opened, and its result."""
    entered: list[np.ndarray[Any, Any]] = []
    pnl: list[Floats] = []
    for ledger, labels in zip(ledgers, known, strict=True):
        done = ledger.trade_rows[ledger.trade_rows[:, T_REASON] != 0]
        entered.append(labels[ledger.fill_bars[done[:, T_FIRST].astype(np.intp)]])
        pnl.append(done[:, T_PNL])
    return np.concatenate(entered), np.concatenate(pnl)


def _row(name: str, *, at: Any, held: Any, pnl: Floats, account: Account | None) -> RegimeRow:
    nan = float("nan")
    returns = np.empty(0) if account is None else account.returns[at]
    per_year = nan if account is None else account.periods_per_year
    return RegimeRow(
        regime=name,
        bars=int(at.sum()),
        share_of_bars=float(at.mean()),
        log_return=float(np.log1p(returns).sum()) if len(returns) else nan,
        mean_bps=float(returns.mean()) * 1e4 if len(returns) else nan,
        annual_volatility=ratios.volatility(returns, periods_per_year=per_year),
        sharpe=ratios.sharpe(returns, periods_per_year=per_year),
        exposure=float(held[at].mean()),
        trades=len(pnl),
        win_rate=float((pnl > 0).mean()) if len(pnl) else nan,
        pnl=float(pnl.sum()),
        expectancy=float(pnl.mean()) if len(pnl) else nan,
        profit_factor=profit_factor(pnl),
    )
