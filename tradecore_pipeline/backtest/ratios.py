"""Numbers of a series of returns; NaN where a series cannot tell, nothing is annualised but by ``periods_per_year``.

Returns are simple returns per period, fractions, finite, and at least -1. There is no risk-free rate.
"""

from dataclasses import dataclass

import numpy as np

from tradecore_pipeline.backtest.state import Floats

_ROUNDING = 1e-12
"""A spread this far under the mean is that of rounding: the series is constant."""


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall of an account from a high; places count returns, 0 being before the first."""

    depth: float
    """Fraction, negative: -.2 is a fall by a fifth; 0 where there was none."""
    peak: int
    trough: int
    end: int
    """Where the high was reached again, or the last place."""
    recovered: bool


def total_return(returns: Floats) -> float:
    """Everything compounded; 0 without returns."""
    return float(np.prod(1.0 + returns) - 1.0)


def annual_return(returns: Floats, *, periods_per_year: float) -> float:
    """The constant yearly return with the same end; infinite where a short series grows beyond floats."""
    if not len(returns):
        return float("nan")
    grown = 1.0 + total_return(returns)
    if grown <= 0:
        return -1.0
    with np.errstate(over="ignore"):
        return float(np.exp(np.log(grown) * (periods_per_year / len(returns))) - 1.0)


def volatility(returns: Floats, *, periods_per_year: float) -> float:
    """Annual standard deviation."""
    if len(returns) < 2:
        return float("nan")
    return float(np.std(returns, ddof=1) * np.sqrt(periods_per_year))


def sharpe(returns: Floats, *, periods_per_year: float) -> float:
    """Annual mean over annual volatility; NaN for a constant series."""
    spread = volatility(returns, periods_per_year=periods_per_year)
    annual_mean = _annual_mean(returns, periods_per_year)
    return annual_mean / spread if spread > _ROUNDING * abs(annual_mean) else float("nan")


def sortino(returns: Floats, *, periods_per_year: float) -> float:
    """Annual mean over the root of the mean squared loss; NaN where nothing was lost, and for a single return."""
    if len(returns) < 2:
        return float("nan")
    losses = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2) * periods_per_year))
    annual_mean = _annual_mean(returns, periods_per_year)
    return annual_mean / losses if losses > _ROUNDING * abs(annual_mean) else float("nan")


def calmar(returns: Floats, *, periods_per_year: float) -> float:
    """Annual return over the deepest fall; NaN where there was none."""
    depth = drawdown(returns).depth
    if depth == 0:
        return float("nan")
    return annual_return(returns, periods_per_year=periods_per_year) / -depth


def drawdowns(returns: Floats) -> Floats:
    """Fraction under the highest value so far after each return, 0 or below; the start counts as a high."""
    value = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    return (value / np.maximum.accumulate(value) - 1.0)[1:]


def drawdown(returns: Floats) -> Drawdown:
    """The deepest fall."""
    under = np.concatenate(([0.0], drawdowns(returns)))
    trough = int(np.argmin(under))
    if under[trough] == 0:
        return Drawdown(0.0, 0, 0, 0, recovered=True)
    peak = int(np.flatnonzero(under[:trough] == 0)[-1])
    again = np.flatnonzero(under[trough:] == 0)
    end = trough + int(again[0]) if len(again) else len(under) - 1
    return Drawdown(float(under[trough]), peak, trough, end, recovered=bool(len(again)))


def longest_under_water(returns: Floats) -> tuple[int, int]:
    """First and last place of the longest time below a high, as a ``Drawdown`` counts them; equal without any."""
    under = np.concatenate(([0.0], drawdowns(returns)))
    highs = np.flatnonzero(under == 0)
    ends = np.append(highs[1:], len(under) - 1)
    spans = np.where(ends - highs > 1, ends - highs, 0)
    spans[-1] = ends[-1] - highs[-1]
    longest = int(np.argmax(spans))
    return int(highs[longest]), int(highs[longest] + spans[longest])


def value_at_risk(returns: Floats, *, share: float) -> float:
    """The return that the worst ``share`` of the periods do not exceed (linear between neighbours)."""
    return float(np.percentile(returns, 100 * share)) if len(returns) else float("nan")


def expected_shortfall(returns: Floats, *, share: float) -> float:
    """Mean of the worst ``share`` of the periods, one at least."""
    if not len(returns):
        return float("nan")
    worst = int((len(returns) - 1) * share)
    return float(np.mean(np.partition(returns, worst)[: worst + 1]))


def _annual_mean(returns: Floats, periods_per_year: float) -> float:
    return float(np.mean(returns)) * periods_per_year if len(returns) else float("nan")
