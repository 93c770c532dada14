"""The best possible filter and forecast of a simulated market, computed from what it published and how it was made."""

from math import lgamma

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.generation import time_pattern
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import MarketParameters
from tradecore_pipeline.simulator.rows import MINUTE_MS, Floats, Integers, utc_index


def oracle_filter(market: SimulatedMarket, instrument: Instrument) -> pd.DataFrame:
    """Filtered probability of each state (columns 0..K-1, calmest first), indexed by the interval's ts_open.

    A row is known at ts_close: it uses the published minutes up to there and no others.
    """
    return filter_minutes(market.bars(instrument), market.parameters)


def oracle_forecast(market: SimulatedMarket, instrument: Instrument) -> pd.DataFrame:
    """The forecast of the next interval's log return that stands at ts_close, and how earlier ones came out.

    Columns: ``mean``, ``variance`` and ``log_variance`` of the next interval's log return, known at the row's ts_close;
    ``log_score`` is the log density (returns in percent, nats) that the forecast standing before the row's own interval
    gave to its close-to-close return, NaN where there is none (the first interval, or nothing published).
    """
    return forecast_minutes(market.bars(instrument), market.parameters)


def state_accuracy(probabilities: pd.DataFrame, states: pd.DataFrame) -> float:
    """The share of intervals whose most probable state is the true one; columns and states in order of scale."""
    both = states.index.intersection(probabilities.index)
    guessed = probabilities.loc[both].to_numpy().argmax(axis=1)
    return float(np.mean(guessed == states.loc[both, "state"].to_numpy()))


def filter_minutes(minutes: pd.DataFrame, parameters: MarketParameters) -> pd.DataFrame:
    """The filter of a market with these parameters over published minutes (``open`` and ``close`` by ts_open)."""
    interval_ms, likelihood = _likelihood(minutes, parameters)
    filtered = forward(likelihood, parameters.transition_matrix(), initial=parameters.stationary())
    return pd.DataFrame(filtered, index=utc_index(interval_ms))


def forecast_minutes(minutes: pd.DataFrame, parameters: MarketParameters) -> pd.DataFrame:
    """The forecast of a market with these parameters, as in ``oracle_forecast``."""
    interval_ms, likelihood = _likelihood(minutes, parameters)
    transition, initial = parameters.transition_matrix(), parameters.stationary()
    predicted = forward(likelihood, transition, initial=initial) @ transition
    step = parameters.timeframe.minutes * MINUTE_MS
    mean = np.array(parameters.mean_log_return)
    scale = np.array(parameters.volatility) * time_pattern(parameters, interval_ms + step)[:, None]
    expected = predicted @ mean
    variance = (predicted * (scale**2 + mean**2)).sum(axis=1) - expected**2
    returns = _close_to_close(minutes, len(interval_ms), step_ms=step)
    score = _log_scores(parameters, returns, predicted=predicted, scale=scale)
    columns = {"mean": expected, "variance": variance, "log_variance": np.log(variance), "log_score": score}
    return pd.DataFrame(columns, index=utc_index(interval_ms))


def forward(log_likelihood: Floats, transition: Floats, *, initial: Floats) -> Floats:
    """Filtered probabilities of a Markov chain: one row per interval, one column per state.

    ``initial`` is the distribution of the first interval's state, before anything is seen.
    """
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    filtered = np.empty_like(likelihood)
    predicted = initial
    for row, seen in enumerate(likelihood):
        joint = predicted * seen
        filtered[row] = joint / joint.sum()
        predicted = filtered[row] @ transition
    return filtered


def interval_log_likelihood(
    parameters: MarketParameters, pattern: Floats, *, count: Integers, total: Floats, total_square: Floats
) -> Floats:
    """Log density of an interval's minute returns given each state: intervals x states.

    Given the state the minutes are a multivariate Student-t, so their number, sum and sum of squares suffice. With
    N minutes to an interval, n of them seen, Q the sum of squares around mu / N and A = N / (scale^2 (nu - 2)):
    log p = lgamma((nu + n) / 2) - lgamma(nu / 2) + n/2 log(A / pi) - (nu + n) / 2 log(1 + A Q).
    """
    minutes = parameters.timeframe.minutes
    freedom = parameters.degrees_of_freedom
    mean = np.array(parameters.mean_log_return) / minutes
    scale = pattern[:, None] * np.array(parameters.volatility)
    seen = count[:, None]
    # Rounding can leave a sum of squares a hair below zero where all returns are equal.
    around = np.maximum(total_square[:, None] - 2 * mean * total[:, None] + seen * mean**2, 0.0)
    precision = minutes / (scale**2 * (freedom - 2))
    constants = np.array([lgamma((freedom + n) / 2) - lgamma(freedom / 2) for n in range(minutes + 1)])[seen]
    return constants + seen / 2 * np.log(precision / np.pi) - (freedom + seen) / 2 * np.log1p(precision * around)


def _likelihood(minutes: pd.DataFrame, parameters: MarketParameters) -> tuple[Integers, Floats]:
    """Interval starts, and the log likelihood of each interval per state; a minute's return is close over its open."""
    step = parameters.timeframe.minutes * MINUTE_MS
    numbers, first_ms, size = _interval_numbers(minutes, step)
    returns = np.log(minutes["close"].to_numpy() / minutes["open"].to_numpy())
    count = np.bincount(numbers, minlength=size)
    total = np.bincount(numbers, weights=returns, minlength=size).astype(np.float64)
    total_square = np.bincount(numbers, weights=returns**2, minlength=size).astype(np.float64)
    interval_ms = first_ms + np.arange(size) * step
    pattern = time_pattern(parameters, interval_ms)
    return interval_ms, interval_log_likelihood(
        parameters, pattern, count=count, total=total, total_square=total_square
    )


def _interval_numbers(minutes: pd.DataFrame, step_ms: int) -> tuple[Integers, int, int]:
    """Each minute's interval, counted from the first; when that one starts; and how many there are."""
    index = pd.DatetimeIndex(minutes.index)
    absolute = index.as_unit("ms").asi8 // step_ms
    return absolute - absolute[0], int(absolute[0]) * step_ms, int(absolute[-1] - absolute[0]) + 1


def _close_to_close(minutes: pd.DataFrame, intervals: int, *, step_ms: int) -> Floats:
    numbers, _, _ = _interval_numbers(minutes, step_ms)
    last = np.append(np.flatnonzero(np.diff(numbers)), len(numbers) - 1)
    closes = np.full(intervals, np.nan)
    closes[numbers[last]] = minutes["close"].to_numpy()[last]
    return np.diff(np.log(closes), prepend=np.nan)


def _log_scores(parameters: MarketParameters, returns: Floats, *, predicted: Floats, scale: Floats) -> Floats:
    """Row by row: the density that the row before predicted (in percent), at the row's own return."""
    freedom = parameters.degrees_of_freedom
    spread = scale[:-1] * np.sqrt((freedom - 2) / freedom)
    standard = (returns[1:, None] - np.array(parameters.mean_log_return)) / spread
    constant = lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - 0.5 * np.log(freedom * np.pi)
    density = np.exp(constant - (freedom + 1) / 2 * np.log1p(standard**2 / freedom)) / spread
    return np.append(np.nan, np.log((predicted[:-1] * density).sum(axis=1) / 100))
