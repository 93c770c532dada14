"""What a run was worth: figures of its equity, trades and costs, by month and by regime, beside benchmarks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tradecore_pipeline.backtest import ratios
from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.breakdown import MonthRow, Naming, RegimeRow, by_month, by_regime
from tradecore_pipeline.backtest.plain import plain
from tradecore_pipeline.backtest.portfolio import PortfolioBacktest
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.significance import Significance
from tradecore_pipeline.backtest.state import F_PRICE, F_UNITS
from tradecore_pipeline.backtest.trade_figures import TradeFigures, trade_figures

_NAN = float("nan")
_TAIL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run in numbers; fractions and quote currency, NaN where a number has no meaning.

    An account that was ruined has a return and a drawdown, and no ratios: what it earned before says nothing.
    """

    first: datetime
    """Open of the first bar."""
    last: datetime
    """Close of the last one."""
    bars: int
    years: float
    """Of 365 days."""
    capital: float
    final_equity: float
    """Below zero where more was lost than there was (cross margin)."""
    bankrupt: bool
    bankrupt_at: datetime | None
    """Close of the bar that left nothing."""
    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe: float
    """Of bar returns, without a risk-free rate; so is Sortino's."""
    sortino: float
    calmar: float
    max_drawdown: float
    """Deepest fall from a high, negative."""
    max_drawdown_bars: int
    """From that high until it was reached again, or the end."""
    max_drawdown_days: float
    max_drawdown_from: datetime
    max_drawdown_to: datetime
    max_drawdown_recovered: bool
    longest_under_water_bars: int
    """The longest time below any high, which need not have been the deepest."""
    longest_under_water_days: float
    value_at_risk: float
    """The worst 5% of days lose this or more; negative is a loss."""
    expected_shortfall: float
    """Mean of the worst 5% of days."""
    exposure: float
    """Share of the bars at whose close something was held."""
    mean_leverage: float
    """Value held over equity, mean over all bars."""
    turnover: float
    """Value traded per year, in multiples of the mean equity."""
    fees: float
    slippage: float
    funding: float
    """Positive was paid."""
    costs_of_capital: float
    """Fees, slippage and funding over the capital."""
    liquidations: int
    capped_orders: int
    small_orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Everything that is said about a run."""

    figures: Figures
    trades: TradeFigures
    months: tuple[MonthRow, ...]
    regimes: Mapping[str, tuple[RegimeRow, ...]]
    """By naming (``volatility_regime``, ``regime``)."""
    benchmarks: Mapping[str, Figures]
    significance: Significance | None

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; None where a number has no meaning, or is infinite."""
        return plain(asdict(self))


def performance(
    run: Backtest | PortfolioBacktest,
    *,
    regimes: Mapping[str, Naming],
    benchmarks: Mapping[str, Backtest | PortfolioBacktest],
    significance: Significance | None,
) -> Performance:
    """Everything about ``run``.

    Args:
        run: what the engine left.
        regimes: by naming, each instrument's names by bar (``breakdown.Naming``); empty for none.
        benchmarks: runs to hold it against, by name (``benchmarks`` makes them).
        significance: how far chance explains it, where that was looked into.
    """
    account = Account.of(run)
    return Performance(
        figures=_figures(account),
        trades=trade_figures(account.run.trades),
        months=by_month(account),
        regimes={naming: by_regime(account, names) for naming, names in regimes.items()},
        benchmarks={name: figures(other) for name, other in benchmarks.items()},
        significance=significance,
    )


def figures(run: Backtest | PortfolioBacktest) -> Figures:
    """The numbers of a run's equity and costs."""
    return _figures(Account.of(run))


def _figures(account: Account) -> Figures:
    ruin, totals, leverage = account.ruined_at, account.run.totals, account.leverage
    return Figures(
        first=_moment(account.ts_open[0]),
        last=_moment(account.ts_close[-1]),
        bars=len(account),
        years=account.years,
        capital=account.capital,
        final_equity=totals.final_equity,
        bankrupt=ruin is not None,
        bankrupt_at=None if ruin is None else _moment(account.ts_close[ruin]),
        total_return=-1.0 if ruin is not None else ratios.total_return(account.returns),
        **_ratios(account),
        **_falls(account),
        value_at_risk=ratios.value_at_risk(account.daily.to_numpy(dtype=np.float64), share=_TAIL),
        expected_shortfall=ratios.expected_shortfall(account.daily.to_numpy(dtype=np.float64), share=_TAIL),
        exposure=float(np.mean(leverage > 0)),
        mean_leverage=float(np.mean(leverage)),
        turnover=_turnover(account),
        fees=totals.fees,
        slippage=totals.slippage,
        funding=totals.funding,
        costs_of_capital=(totals.fees + totals.slippage + totals.funding) / account.capital,
        liquidations=totals.liquidations,
        capped_orders=totals.capped_orders,
        small_orders=totals.small_orders,
    )


def sharpe_of(run: Backtest | PortfolioBacktest) -> float:
    """The annual Sharpe ratio of a run as ``Figures`` has it: NaN where nothing happened, or all was lost."""
    return _ratios(Account.of(run))["sharpe"]


def _ratios(account: Account) -> dict[str, float]:
    names = ("annual_volatility", "sharpe", "sortino", "calmar")
    if account.ruined_at is not None:
        return {"annual_return": -1.0, **dict.fromkeys(names, _NAN)}
    of = (ratios.volatility, ratios.sharpe, ratios.sortino, ratios.calmar)
    per_year = account.periods_per_year
    values = {name: ratio(account.returns, periods_per_year=per_year) for name, ratio in zip(names, of, strict=True)}
    return {"annual_return": ratios.annual_return(account.returns, periods_per_year=per_year), **values}


def _falls(account: Account) -> dict[str, Any]:
    """The deepest and the longest drawdown; a place of a ``Drawdown`` is the close before that bar."""
    closes = np.concatenate((account.ts_open[:1], account.ts_close))
    deepest, (high, end) = ratios.drawdown(account.returns), ratios.longest_under_water(account.returns)
    return {
        "max_drawdown": deepest.depth,
        "max_drawdown_bars": deepest.end - deepest.peak,
        "max_drawdown_days": _days(closes[deepest.end] - closes[deepest.peak]),
        "max_drawdown_from": _moment(closes[deepest.peak]),
        "max_drawdown_to": _moment(closes[deepest.end]),
        "max_drawdown_recovered": deepest.recovered,
        "longest_under_water_bars": end - high,
        "longest_under_water_days": _days(closes[end] - closes[high]),
    }


def _turnover(account: Account) -> float:
    traded = sum(
        float(np.abs(ledger.fill_rows[:, F_UNITS] * ledger.fill_rows[:, F_PRICE]).sum())
        for ledger in account.ledgers.values()
    )
    mean = float(account.value.mean())
    return traded / mean / account.years if mean > 0 else _NAN


def _days(nanoseconds: np.int64) -> float:
    return float(nanoseconds) / (86_400 * 10**9)


def _moment(nanoseconds: np.int64) -> datetime:
    return datetime.fromtimestamp(int(nanoseconds) / 10**9, UTC)
