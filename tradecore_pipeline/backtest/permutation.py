"""Whether regimes and forecasts told a strategy when to trade: the same strategy with both moved in time."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.metrics import sharpe_of
from tradecore_pipeline.backtest.portfolio import PortfolioBacktest
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.significance import Permutation
from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.strategies.market import Market

_MODELS = ("probabilities", "held", "regime", "direction_significant", "forecast", "volatility")
"""What models said; prices, trend and funding stay where they are."""


def permutation_null(
    markets: Mapping[str, Market],
    simulate: Callable[[Mapping[str, Market]], Backtest | PortfolioBacktest],
    *,
    observed: float,
    runs: int,
    least_shift: int,
    seed: int,
) -> Permutation:
    """The strategy run again on ``markets`` whose regimes and forecasts are moved round by random numbers of bars.

    Moved labels last as long and change as often as the true ones, so that costs and exposure are alike; only whether
    they fit the moment is gone. All instruments are moved alike.

    Args:
        markets: by instrument.
        simulate: the strategy, from decisions to the engine's result.
        observed: Sharpe ratio of the run on ``markets`` themselves (``metrics.sharpe_of``); NaN if it traded nothing.
        runs: how many; fewer where there are not so many different shifts.
        least_shift: bars that labels are moved at least, either way: more than a forecast's horizon and a regime's
            usual length.
        seed: of the shifts.

    Raises:
        NotEnoughHistoryError: there is no shift of that size.
    """
    span = min(_covered(market) for market in markets.values())
    choices = np.arange(least_shift, span - least_shift + 1)
    if not len(choices):
        raise NotEnoughHistoryError(
            f"{span} bars with regimes are too few to move them by {least_shift}: take a longer period"
        )
    shifts = np.random.default_rng(seed).permutation(choices)[:runs]
    null = np.array([
        _worth(simulate({name: moved(market, int(shift)) for name, market in markets.items()})) for shift in shifts
    ])  # fmt: skip
    beaten_by = int((null >= observed).sum())
    finite = np.maximum(null, np.finfo(np.float64).min)
    return Permutation(
        observed=observed,
        p_value=(1 + beaten_by) / (1 + len(null)) if np.isfinite(observed) else float("nan"),
        runs=len(null),
        null_median=float(np.median(finite)),
        null_95=float(np.percentile(finite, 95)),
    )


def moved(market: Market, shift: int) -> Market:
    """``market`` with what models said ``shift`` bars later, round the rows from the first that a model covers."""
    return _moved_from(market, len(market) - _covered(market), shift)


def _moved_from(market: Market, first: int, shift: int) -> Market:
    """Higher timeframes' rows are joined to the same bars, and move with them."""

    def later(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return np.concatenate((values[:first], np.roll(values[first:], shift, axis=0)))

    return replace(
        market,
        **{name: later(getattr(market, name)) for name in _MODELS},
        equal_scales=later(market.equal_states),
        consensus=None if market.consensus is None else later(market.consensus),
        higher={timeframe: _moved_from(other, first, shift) for timeframe, other in market.higher.items()},
    )


def _covered(market: Market) -> int:
    """Bars from the first that a model covers."""
    known = np.flatnonzero(market.known)
    return len(market) - int(known[0]) if len(known) else 0


def _worth(run: Backtest | PortfolioBacktest) -> float:
    """Sharpe ratio; 0 for a run that never traded, the worst there is for a ruined one."""
    found = sharpe_of(run)
    if np.isfinite(found):
        return found
    return 0.0 if float(np.ptp(run.equity)) == 0 else -np.inf
