"""What the closed trades of a run were like."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.state import Floats

_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """Trades that were closed, net of fees, slippage and funding; NaN where there are none to tell."""

    closed: int
    still_open: int
    """Positions that the end of the run found open: marked in the equity, not counted here."""
    win_rate: float
    """Share of the trades that earned more than nothing."""
    profit_factor: float
    """Sum won over sum lost; infinite where nothing was lost."""
    expectancy: float
    """Mean result, quote currency."""
    expectancy_fraction: float
    """Mean result over the value that was entered."""
    mean_win: float
    mean_loss: float
    """Quote currency; losses are negative."""
    consecutive_wins: int
    consecutive_losses: int
    mean_holding_bars: float
    median_holding_bars: float
    mean_holding_hours: float
    reasons: dict[str, int]
    """Trades by what ended them."""
    mae: dict[str, float]
    """Worst excursion of a trade, a fraction of its first fill's price, negative is adverse: quantiles, and the mean of
    the trades that won (``of_wins``): how far those went wrong."""
    mfe: dict[str, float]
    """Best excursion likewise, with the mean of the trades that lost (``of_losses``): how far those were right."""


def trade_figures(trades: pd.DataFrame) -> TradeFigures:
    """Figures of the rows of ``trades`` (as a run's) that were closed."""
    done = trades.loc[~trades["open"].to_numpy(dtype=np.bool_)]
    pnl = _column(done, "pnl")
    won, lost = pnl > 0, pnl < 0
    bars = _column(done, "exit_bar") - _column(done, "entry_bar")
    hours = (done["exit_time"] - done["entry_time"]).dt.total_seconds().to_numpy(dtype=np.float64) / 3600
    entered = _column(done, "units") * _column(done, "entry_price")
    order = np.argsort(done["exit_time"].to_numpy(), kind="stable")
    return TradeFigures(
        closed=len(done),
        still_open=len(trades) - len(done),
        win_rate=_mean(won.astype(np.float64)),
        profit_factor=profit_factor(pnl),
        expectancy=_mean(pnl),
        expectancy_fraction=_mean(pnl / entered),
        mean_win=_mean(pnl[won]),
        mean_loss=_mean(pnl[lost]),
        consecutive_wins=longest_run(won[order]),
        consecutive_losses=longest_run(lost[order]),
        mean_holding_bars=_mean(bars),
        median_holding_bars=float(np.median(bars)) if len(bars) else _NAN,
        mean_holding_hours=_mean(hours),
        reasons={str(reason): int(count) for reason, count in done["reason"].value_counts().sort_index().items()},
        mae={**_quantiles(_column(done, "mae")), "of_wins": _mean(_column(done, "mae")[won])},
        mfe={**_quantiles(_column(done, "mfe")), "of_losses": _mean(_column(done, "mfe")[lost])},
    )


def profit_factor(pnl: Floats) -> float:
    """Sum won over sum lost: infinite where nothing was lost, NaN where nothing was won either."""
    won, lost = float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum())
    if lost > 0:
        return won / lost
    return float("inf") if won > 0 else _NAN


def longest_run(flags: Any) -> int:
    """How many are true in a row at most."""
    longest = now = 0
    for flag in flags.tolist():
        now = now + 1 if flag else 0
        longest = max(longest, now)
    return longest


def _column(frame: pd.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy(dtype=np.float64)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else _NAN


def _quantiles(values: Floats) -> dict[str, float]:
    shares = {"worst_5_percent": 5, "median": 50, "best_5_percent": 95}
    return {name: float(np.percentile(values, at)) if len(values) else _NAN for name, at in shares.items()}
