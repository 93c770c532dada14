"""Simple runs to hold a strategy against: same bars, costs and funding, bought and held, or held at its volatility."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tradecore_pipeline.backtest.account import periods_per_year
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, PortfolioBacktest, run_portfolio
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.state import Floats
from tradecore_pipeline.domain.errors import UsageError

BUY_AND_HOLD = "buy_and_hold"
VOLATILITY_MATCHED = "volatility_matched"


def buy_and_hold(holdings: Mapping[str, Holding], *, capital: float) -> Backtest | PortfolioBacktest:
    """All capital, in equal parts, bought at the second bar's open and kept, unleveraged; perpetuals pay funding.

    Args:
        holdings: the strategy's own; their bars, costs, lots and least orders are used, their orders are not.
        capital: the strategy's.
    """
    part = 1.0 / len(holdings)
    targets = {name: np.full(len(one.bars), part) for name, one in holdings.items()}
    return _held(holdings, targets, capital=capital, most=1.0)


def volatility_matched(
    holdings: Mapping[str, Holding],
    volatility: Mapping[str, Floats],
    *,
    capital: float,
    annual_volatility: float,
    most: float,
    band: float,
) -> Backtest | PortfolioBacktest:
    """Long in equal parts, each bar scaled to ``annual_volatility`` by what was known of volatility at its close.

    The level is the strategy's, known only afterwards; when to hold more and when less is not: it follows
    ``volatility``. What the run's own volatility came to is in its figures. A strategy that beats buy & hold, and not
    this, was only smaller at the right moments.

    Args:
        holdings: as for ``buy_and_hold``.
        volatility: by instrument, standard deviation of the next bar's return, row t known at bar t's close: published
            forecasts, or ``past_volatility``. Rows with NaN order nothing.
        capital: the strategy's.
        annual_volatility: the strategy's own over the run, a fraction.
        most: largest position of all instruments together, in multiples of equity.
        band: share of the position by which the wish must differ for it to be traded.

    Raises:
        UsageError: the level is no positive number (the strategy traded nothing, or was ruined), or rows are missing.
    """
    if not 0 < annual_volatility < np.inf:
        raise UsageError("volatility-matched benchmark: the strategy has no volatility to match, leave it out")
    targets: dict[str, Floats] = {}
    for name, one in holdings.items():
        if len(volatility[name]) != len(one.bars):
            raise UsageError(f"volatility-matched benchmark: {name} needs one volatility per bar")
        per_year = periods_per_year(one.bars.ts_open, one.bars.ts_close)
        with np.errstate(divide="ignore"):
            wish = annual_volatility / (volatility[name] * np.sqrt(per_year))
        targets[name] = _stepped(np.minimum(wish, most) / len(holdings), band)
    return _held(holdings, targets, capital=capital, most=most)


def past_volatility(close: Floats, *, half_life_bars: float) -> Floats:
    """Exponentially weighted deviation of past log returns from zero, row t from closes up to t; NaN in the first."""
    squares = np.diff(np.log(close)) ** 2
    keep = 0.5 ** (1.0 / half_life_bars)
    weighted = weights = 0.0
    variance = np.full(len(close), np.nan)
    for row, square in enumerate(squares.tolist(), start=1):
        weighted, weights = keep * weighted + square, keep * weights + 1.0
        variance[row] = weighted / weights
    return np.sqrt(variance)


def _stepped(wish: Floats, band: float) -> Floats:
    """What is ordered: the wish where it left the band around the last order, else the last order again."""
    ordered, now = np.full(len(wish), np.nan), float("nan")
    for row, value in enumerate(wish.tolist()):
        if np.isfinite(value) and not abs(value - now) <= band * now:
            now = value
        ordered[row] = now
    return ordered


def _held(
    holdings: Mapping[str, Holding], targets: Mapping[str, Floats], *, capital: float, most: float
) -> Backtest | PortfolioBacktest:
    """Long positions that no stop and, as far as there is no leverage, no liquidation ends."""
    changed = {
        name: replace(one, orders=Orders.of(targets[name]), rules=_rules(one.rules, max(1.0, most)))
        for name, one in holdings.items()
    }
    if len(changed) > 1:
        return run_portfolio(changed, capital=capital, maximum_positions=len(changed))
    (one,) = changed.values()
    return run_backtest(one.bars, one.orders, costs=one.costs, rules=one.rules, capital=capital)


def _rules(own: Rules, leverage: float) -> Rules:
    """The instrument's lots, and nothing that a strategy chose."""
    return Rules(
        sizing=Sizing.EQUITY, distance=Distance.FRACTION, stop_first=True, leverage=leverage, maintenance_margin=0.0,
        isolated=True, lot=own.lot, minimum_notional=own.minimum_notional, resize_step=0.0, trail_by_bar=False,
    )  # fmt: skip
