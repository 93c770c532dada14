"""How far chance explains a Sharpe ratio: trials, intervals, and the words that say it.

Sharpe ratios inside are per day; results are annual (365 days) where they say so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest import ratios
from tradecore_pipeline.backtest.state import Floats
from tradecore_pipeline.domain.errors import NotEnoughHistoryError

DAYS_PER_YEAR = 365
_LEAST_DAYS = 20
"""Fewer days say nothing about a distribution."""
_EULER = 0.5772156649015329
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflated:
    """A Sharpe ratio in the light of all that was tried."""

    probability: float
    """Probability that the true Sharpe ratio is above what the best of so many trials without skill would show."""
    configurations: int
    """Distinct ones that were tried, this one among them."""
    effective: float
    """As many independent ones would have had as high a best by chance."""
    expected_best: float
    """The annual Sharpe ratio that the best of them is expected to show by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """95% intervals from resampled blocks of days; NaN where too few of the resamples had the number."""

    sharpe: tuple[float, float]
    annual_return: tuple[float, float]
    max_drawdown: tuple[float, float]
    block_days: float
    """Mean length of a block."""
    repetitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """A run among its like with moved regimes (``permutation`` makes them)."""

    observed: float
    """The run's annual Sharpe ratio, net of all costs."""
    p_value: float
    """Share of the moved runs, this one counted among them, that did at least as well; NaN if it never traded."""
    runs: int
    null_median: float
    null_95: float
    """Annual Sharpe ratios of the moved runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """What speaks for skill, and against it."""

    days: int
    probabilistic_sharpe: float
    """Probability that the true Sharpe ratio is above zero, were this the only configuration ever tried."""
    deflated: Deflated | None
    """None without a ledger of trials."""
    intervals: Intervals | None
    """None for fewer than 20 days."""
    permutation: Permutation | None
    """Of runs with regimes and forecasts moved in time; None for strategies that were not run so."""


def significance(
    daily: pd.Series,
    trials: pd.DataFrame | None,
    *,
    permutation: Permutation | None,
    repetitions: int,
    seed: int,
) -> Significance:
    """Everything about a run's ``daily`` returns (``Account.daily``).

    Args:
        daily: simple returns by UTC day.
        trials: daily returns of every distinct configuration that was tried, a column each, NaN where it was not run;
            the run's own among them (``StrategyLedger.returns``).
        permutation: what runs with moved regimes gave (``permutation_null``).
        repetitions: resamples and draws.
        seed: of both.
    """
    returns = daily.to_numpy(dtype=np.float64)
    enough = len(returns) >= _LEAST_DAYS
    return Significance(
        days=len(returns),
        probabilistic_sharpe=probabilistic_sharpe(returns, benchmark=0.0),
        deflated=None if trials is None else deflated_sharpe(returns, trials, repetitions=repetitions, seed=seed),
        intervals=bootstrap_intervals(returns, repetitions=repetitions, seed=seed) if enough else None,
        permutation=permutation,
    )


def probabilistic_sharpe(returns: Floats, *, benchmark: float) -> float:
    """Probability that the true Sharpe ratio per period exceeds ``benchmark`` (per period); NaN for a constant series.

    It allows for the length, skewness and fat tails of the series.

    Source: Bailey and Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier.
    """
    found = ratios.sharpe(returns, periods_per_year=1)
    if not np.isfinite(found):
        return float("nan")
    centred = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = float(np.mean(centred**3)), float(np.mean(centred**4))
    return _probability(found - benchmark, len(returns), found=found, skewness=skewness, kurtosis=kurtosis)


def deflated_sharpe(returns: Floats, trials: pd.DataFrame, *, repetitions: int, seed: int) -> Deflated:
    """The probability above, against the best Sharpe ratio that ``trials`` without skill are expected to show.

    Their Sharpe ratios' spread is taken as what is seen among them or as that of chance over so many days, whichever is
    larger: trials that are much alike would else deflate nothing.

    Args:
        returns: the run's, by day.
        trials: as for ``significance``.
        repetitions: draws for the effective number.
        seed: of the draws.

    Source: Bailey and Lopez de Prado (2014), The Deflated Sharpe Ratio; see ``effective_trials`` for their number.
    """
    columns = trials.to_numpy(dtype=np.float64)
    shown = [ratios.sharpe(column[np.isfinite(column)], periods_per_year=1) for column in columns.T]
    seen = [value for value in shown if np.isfinite(value)]
    spread = max(float(np.var(seen, ddof=1)) if len(seen) > 1 else 0.0, 1.0 / max(len(returns) - 1, 1))
    effective = effective_trials(columns, repetitions=repetitions, seed=seed)
    best = float(np.sqrt(spread)) * expected_maximum(effective)
    return Deflated(
        probability=probabilistic_sharpe(returns, benchmark=best),
        configurations=trials.shape[1],
        effective=effective,
        expected_best=best * float(np.sqrt(DAYS_PER_YEAR)),
    )


def expected_maximum(trials: float) -> float:
    """Expected largest of so many independent standard normal numbers; 0 for one, and a straight line up to two.

    Source: Bailey and Lopez de Prado (2014), exact to .05 from two on; below, their formula falls without end.
    """
    from scipy.stats import norm  # noqa: PLC0415 (as above)

    if trials < 2:
        return max(0.0, trials - 1.0) * expected_maximum(2.0)
    low, high = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * np.e))
    return float((1 - _EULER) * low + _EULER * high)


def effective_trials(returns: Floats, *, repetitions: int, seed: int) -> float:
    """How many independent trials would have as high an expected best as these (days, N), which may be correlated.

    The best's expectation is drawn, with one normal number per day that all trials share: their sums are as correlated
    as the trials' returns are. No correlation matrix is needed, so trials may outnumber days and cover different ones;
    counts of eigenvalues (Galwey 2009, or the entropy of Roy and Vetterli 2007) are bounded by the days, and too low by
    far for a few clusters of near copies beside many loners.

    Columns that never varied were no trials of chance; NaN is no return.

    Source: Chernozhukov, Chetverikov and Kato (2013), multiplier bootstrap for maxima of sums.
    """
    filled = np.where(np.isfinite(returns), returns, np.nan)
    varied = filled[:, np.nansum(np.abs(filled - _first(filled)), axis=0) > 0] if filled.size else filled
    if varied.shape[1] <= 1:
        return 1.0
    centred = np.nan_to_num(varied - np.nanmean(varied, axis=0))
    units = centred / np.sqrt((centred**2).sum(axis=0))
    random = np.random.default_rng(seed)
    # Each draw and its mirror image: the mean of maxima is then as sure with fewer.
    drawn = random.standard_normal((repetitions, len(units))) @ units
    expected = float(np.mean(np.concatenate((drawn.max(axis=1), -drawn.min(axis=1)))))
    return _trials_of(expected, most=varied.shape[1])


def bootstrap_intervals(returns: Floats, *, repetitions: int, seed: int) -> Intervals:
    """95% intervals by the stationary bootstrap (Politis and Romano 1994).

    The mean block is the longest that Politis and White's rule asks for by the returns or their sizes, since drawdowns
    depend on how volatility clusters; at most a tenth of the days.

    Raises:
        NotEnoughHistoryError: fewer than 20 days.
    """
    if len(returns) < _LEAST_DAYS:
        raise NotEnoughHistoryError(f"{len(returns)} days are too few for intervals ({_LEAST_DAYS} are needed)")
    block = _block_days(returns)
    random = np.random.default_rng(seed)
    found = np.empty((repetitions, 3))
    for row in range(repetitions):
        sample = returns[_resampled(random, len(returns), block)]
        found[row] = (
            ratios.sharpe(sample, periods_per_year=DAYS_PER_YEAR),
            ratios.annual_return(sample, periods_per_year=DAYS_PER_YEAR),
            ratios.drawdown(sample).depth,
        )
    sharpe, annual, depth = (_interval(column) for column in found.T)
    return Intervals(sharpe=sharpe, annual_return=annual, max_drawdown=depth, block_days=block, repetitions=repetitions)


def _probability(above: float, length: int, *, found: float, skewness: float, kurtosis: float) -> float:
    from scipy.stats import norm  # noqa: PLC0415 (a quarter of a second to import)

    # The moments' inequality (kurtosis >= 1 + skewness^2) keeps this positive, but for rounding.
    spread = max(1.0 - skewness * found + (kurtosis - 1.0) / 4.0 * found**2, 1e-12)
    return float(norm.cdf(above * np.sqrt((length - 1) / spread)))


def _first(columns: Floats) -> Floats:
    """Each column's first number."""
    return columns[np.argmax(np.isfinite(columns), axis=0), np.arange(columns.shape[1])]


def _trials_of(expected: float, *, most: int) -> float:
    """The number whose ``expected_maximum`` it is, from 1 to ``most``."""
    low, high = 1.0, float(most)
    if expected >= expected_maximum(high):
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_maximum(middle) < expected else (low, middle)
    return (low + high) / 2


def _block_days(returns: Floats) -> float:
    from arch.bootstrap import optimal_block_length  # noqa: PLC0415 (a second to import)

    if np.ptp(returns) == 0:
        return 1.0
    both = np.column_stack((returns, np.abs(returns)))
    lengths: Floats = optimal_block_length(both)["stationary"].to_numpy(dtype=np.float64)
    longest = float(np.nanmax(lengths)) if np.isfinite(lengths).any() else 1.0
    return float(np.clip(longest, 1.0, len(returns) / 10))


def _resampled(random: np.random.Generator, length: int, block: float) -> "np.ndarray":
    """Rows of blocks of geometric length that begin anywhere, the series being bent to a circle."""
    begins = random.random(length) < 1.0 / block
    begins[0] = True
    starts = random.integers(0, length, length)
    at = np.maximum.accumulate(np.where(begins, np.arange(length), 0))
    return (starts[at] + np.arange(length) - at) % length


def _interval(values: Floats) -> tuple[float, float]:
    """NaN where a tenth of the resamples have no number."""
    finite = values[np.isfinite(values)]
    if len(finite) < 0.9 * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, _PERCENTILES)
    return float(low), float(high)
