"""Draws of the simulated market: price paths, bars around them, funding and open interest, vectorised."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tradecore_pipeline.simulator.parameters import Coin, Listing, MarketParameters
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars, Floats, FundingRates, Integers, OpenInterest

FUNDING_MINUTES = 480
SNAPSHOT_MINUTES = 5

_SPOT_BASIS = 0.0003
"""Log distance of the perpetual above spot; constant, so that both have exactly the designed returns."""
_POSITION_MEMORY_STEPS = 144
"""Five-minute steps over which positions follow a change of regime (half a day)."""

Streams = Callable[[str], np.random.Generator]
"""A fresh generator per quantity, drawn in time order: a market that ends later begins with the same rows."""


@dataclass(frozen=True, slots=True)
class Path:
    """One coin's truth: state and variance per interval, log price per minute boundary (one more than minutes)."""

    states: Integers
    variance: Floats
    log_price: Floats

    @property
    def minutes_per_interval(self) -> int:
        return (len(self.log_price) - 1) // len(self.states)

    def per_minute(self, interval_values: Floats) -> Floats:
        """A value per interval, repeated for each of its minutes."""
        return np.repeat(interval_values, self.minutes_per_interval)


def simulate_path(parameters: MarketParameters, coin: Coin, *, interval_ms: Integers, streams: Streams) -> Path:
    """The regimes and the price of one coin over the intervals that start at ``interval_ms``."""
    states = _markov_chain(parameters, streams("states").random(len(interval_ms)))
    scale = np.array(parameters.volatility)[states] * time_pattern(parameters, interval_ms)
    freedom = parameters.degrees_of_freedom
    variance = scale**2 * (freedom - 2) / streams("variance").chisquare(freedom, len(states))
    minutes = parameters.timeframe.minutes
    mean = np.repeat(np.array(parameters.mean_log_return)[states] / minutes, minutes)
    deviation = np.repeat(np.sqrt(variance / minutes), minutes)
    returns = mean + deviation * streams("returns").standard_normal(len(mean))
    log_price = np.log(coin.start_price_usd) + np.concatenate([[0.0], np.cumsum(returns)])
    return Path(states, variance, log_price)


def time_pattern(parameters: MarketParameters, interval_ms: Integers) -> Floats:
    """The known factor on the volatility of each interval: hour of the day and weekend (UTC)."""
    hours = interval_ms // 3_600_000
    weekday = (hours // 24 + 3) % 7  # 1970-01-01 was a Thursday
    return np.array(parameters.hour_pattern)[hours % 24] * np.where(weekday >= 5, parameters.weekend_factor, 1.0)


def simulate_bars(listing: Listing, coin: Coin, *, path: Path, time_ms: Integers, streams: Streams) -> Bars:
    """One symbol's minutes around its coin's path; prices are rounded from the path, so errors never add up."""
    log_price = path.log_price - (_SPOT_BASIS if listing.venue == "spot" else 0.0)
    variance = path.per_minute(path.variance / path.minutes_per_interval)
    # A Brownian bridge between two minutes' prices has a maximum of closed form; the minimum is its mirror image.
    middle = log_price[1:] + log_price[:-1]
    square = np.diff(log_price) ** 2
    up = np.sqrt(square - 2 * variance * np.log(1 - streams("high").random(len(middle))))
    down = np.sqrt(square - 2 * variance * np.log(1 - streams("low").random(len(middle))))
    ticks = 10**listing.price_decimals
    path_ticks = _in_ticks(log_price, ticks)
    opened, closed = path_ticks[:-1], path_ticks[1:]
    high = np.maximum(_in_ticks((middle + up) / 2, ticks), np.maximum(opened, closed))
    low = np.minimum(_in_ticks((middle - down) / 2, ticks), np.minimum(opened, closed))
    volume = _volume(listing, coin, variance=variance, streams=streams)
    price = (opened + closed + high + low) / (4 * ticks)
    bought_share = np.clip(0.5 + 0.06 * streams("taker").standard_normal(len(volume)), 0.05, 0.95)
    bought = np.round(volume * bought_share, listing.volume_decimals)
    quote_decimals = listing.written_decimals[2]
    trades = volume / coin.trade_size_base * np.exp(0.2 * streams("trades").standard_normal(len(volume)))
    return Bars(
        time_ms=time_ms,
        open=opened / ticks,
        high=high / ticks,
        low=low / ticks,
        close=closed / ticks,
        volume=volume,
        quote_volume=np.round(volume * price, quote_decimals),
        trades=np.maximum(1, np.round(trades)).astype(np.int64),
        taker_buy_volume=bought,
        taker_buy_quote_volume=np.round(bought * price, quote_decimals),
    )


def simulate_funding(parameters: MarketParameters, path: Path, *, start_ms: int, streams: Streams) -> FundingRates:
    """Settlements every eight hours: what the regimes of the eight hours before lead to, plus noise."""
    level = path.per_minute(np.array(parameters.funding_rate)[path.states]).reshape(-1, FUNDING_MINUTES).mean(axis=1)
    count = len(level)
    mark_price: Floats = np.exp(path.log_price[:-1:FUNDING_MINUTES])
    before = np.append(parameters.funding_rate[0], level[:-1])
    noise = streams("funding").standard_normal(count) * 0.00003
    is_late, lateness = streams("jitter").random((count, 2)).T
    late = np.where(is_late < 0.42, 1 + (lateness * 31).astype(np.int64), 0)
    return FundingRates(
        time_ms=start_ms + np.arange(count) * (FUNDING_MINUTES * MINUTE_MS) + late,
        rate=np.round(np.clip(before + noise, -0.003, 0.003), 8),
        mark_price=np.round(mark_price, 8),
    )


def simulate_open_interest(
    parameters: MarketParameters, coin: Coin, *, path: Path, start_ms: int, streams: Streams
) -> OpenInterest:
    """Five-minute snapshots: positions follow the regime within half a day, with slow noise around it."""
    share = path.per_minute(np.array(parameters.open_interest_share)[path.states])[::SNAPSHOT_MINUTES]
    followed = _smoothed(share)
    noise = streams("interest").standard_normal(len(share)) * np.sqrt(2 * _POSITION_MEMORY_STEPS)
    noise[0] = 0.0
    drift = 0.015 * _smoothed(noise)
    base = np.round(coin.open_interest_base * followed * np.exp(drift), 3)
    price = np.exp(path.log_price[:-1:SNAPSHOT_MINUTES])
    return OpenInterest(
        time_ms=start_ms + np.arange(len(base)) * (SNAPSHOT_MINUTES * MINUTE_MS),
        base=base,
        usd=np.round(base * price, 8),
    )


def _markov_chain(parameters: MarketParameters, uniforms: Floats) -> Integers:
    last = parameters.states - 1
    cumulative = np.cumsum(parameters.transition_matrix(), axis=1).tolist()
    state = min(bisect_right(np.cumsum(parameters.stationary()).tolist(), uniforms[0]), last)
    states = [state]
    for uniform in uniforms[1:].tolist():
        state = min(bisect_right(cumulative[state], uniform), last)
        states.append(state)
    return np.array(states)


def _in_ticks(log_price: Floats, ticks_per_unit: int) -> Integers:
    return np.maximum(1, np.round(np.exp(log_price) * ticks_per_unit)).astype(np.int64)


def _volume(listing: Listing, coin: Coin, *, variance: Floats, streams: Streams) -> Floats:
    noise = np.exp(0.5 * streams("volume").standard_normal(len(variance)))
    share = 0.2 if listing.venue == "spot" else 1.0
    # A minute of the middle regime moves about 10 basis points: there, the typical volume trades.
    volume = share * coin.minute_volume_base * np.sqrt(variance) / 0.001 * noise
    return np.maximum(np.round(volume, listing.volume_decimals), 10.0**-listing.volume_decimals)


def _smoothed(values: Floats) -> Floats:
    return pd.Series(values).ewm(alpha=1 / _POSITION_MEMORY_STEPS, adjust=False).mean().to_numpy()
