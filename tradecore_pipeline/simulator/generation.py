"""Draws of the simulated market: price paths, bars around them, funding and open interest, vectorised."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tradecore_pipeline.simulator.parameters import FUNDING_MINUTES, Coin, Listing, MarketParameters, Venue
from tradecore_pipeline.simulator.rows import (
    MINUTE_MS,
    PREMIUM_DECIMALS,
    Bars,
    Floats,
    FundingRates,
    Integers,
    OpenInterest,
)

SNAPSHOT_MINUTES = 5

_BASIS: dict[Venue, float] = {"um": 0.0, "spot": -0.0003, "bybit": 0.00011, "okx": -0.00014, "hyperliquid": 0.00023}
"""Log distance of a venue's prices from the coin's path; constant, so that all have exactly the designed returns."""
_VOLUME_SHARE: dict[Venue, float] = {"um": 1.0, "spot": 0.2, "bybit": 0.45, "okx": 0.3, "hyperliquid": 0.12}
_INTEREST_SHARE: dict[Venue, float] = {"um": 1.0, "spot": 0.0, "bybit": 0.55, "okx": 0.28, "hyperliquid": 0.26}
_LATENESS: dict[Venue, tuple[float, int]] = {
    "um": (0.42, 31),
    "spot": (0.0, 0),
    "bybit": (0.0, 0),
    "okx": (0.0, 0),
    "hyperliquid": (0.97, 90),
}
"""The share of settlements stamped late, and by how many milliseconds at most."""
_PREMIUM_MEMORY_MINUTES = 30
_PREMIUM_SAMPLES = 12
"""What Binance counts as trades of a minute of its premium index: a sample every five seconds."""
_DAY_MS = 1440 * MINUTE_MS
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
    log_price = path.log_price + _BASIS[listing.venue]
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


def simulate_funding(
    parameters: MarketParameters, listing: Listing, *, path: Path, start_ms: int, streams: Streams
) -> FundingRates:
    """All settlements of a perpetual, each at its interval; the intervals change when the listing says."""
    changes = [*(day * _DAY_MS for day, _ in listing.funding_minutes[1:]), len(path.log_price) * MINUTE_MS]
    series = [
        _settlements(parameters, minutes, path=path, lateness=_LATENESS[listing.venue], streams=streams)
        for _, minutes in listing.funding_minutes
    ]
    begins = [0, *changes[:-1]]
    parts = [rates.between(begin, end - 1) for rates, begin, end in zip(series, begins, changes, strict=True)]
    rates = FundingRates.joined(parts)
    return replace(rates, time_ms=start_ms + rates.time_ms)


def _settlements(
    parameters: MarketParameters, minutes: int, *, path: Path, lateness: tuple[float, int], streams: Streams
) -> FundingRates:
    """Settlements every so many minutes, timed from the start: what the interval before leads to, plus noise."""
    level = path.per_minute(np.array(parameters.funding_rate)[path.states]).reshape(-1, minutes).mean(axis=1)
    count = len(level)
    mark_price: Floats = np.exp(path.log_price[:-1:minutes])
    before = np.append(parameters.funding_rate[0], level[:-1])
    noise = streams("funding").standard_normal(count) * 0.00003
    share, most_ms = lateness
    is_late, amount = streams("jitter").random((count, 2)).T
    late = np.where(is_late < share, 1 + (amount * most_ms).astype(np.int64), 0)
    rate = np.clip(before + noise, -0.003, 0.003) * (minutes / FUNDING_MINUTES)
    return FundingRates(
        time_ms=np.arange(count) * (minutes * MINUTE_MS) + late,
        rate=np.round(rate, 8),
        mark_price=np.round(mark_price, 8),
    )


def simulate_premium(parameters: MarketParameters, *, path: Path, time_ms: Integers, streams: Streams) -> Bars:
    """Minutes of the premium index, a fraction: what funding of the regime asks for, with noise that lasts a while."""
    level: Floats = path.per_minute(np.array(parameters.funding_rate)[path.states])
    noise = streams("premium").standard_normal(len(level)) * np.sqrt(2 * _PREMIUM_MEMORY_MINUTES)
    noise[0] = 0.0
    closed = level + 0.0001 * _smoothed(noise, _PREMIUM_MEMORY_MINUTES)
    opened: Floats = np.append(closed[0], closed[:-1])
    reach = np.abs(streams("premium_reach").standard_normal((len(level), 2))) * 0.00002
    nothing = np.zeros(len(level))
    return Bars(
        time_ms=time_ms,
        open=np.round(opened, PREMIUM_DECIMALS),
        high=np.round(np.maximum(opened, closed) + reach[:, 0], PREMIUM_DECIMALS),
        low=np.round(np.minimum(opened, closed) - reach[:, 1], PREMIUM_DECIMALS),
        close=np.round(closed, PREMIUM_DECIMALS),
        volume=nothing,
        quote_volume=nothing,
        trades=np.full(len(level), _PREMIUM_SAMPLES, dtype=np.int64),
        taker_buy_volume=nothing,
        taker_buy_quote_volume=nothing,
    )


def simulate_open_interest(
    parameters: MarketParameters, coin: Coin, *, venue: Venue, path: Path, start_ms: int, streams: Streams
) -> OpenInterest:
    """Five-minute snapshots: positions follow the regime within half a day, with slow noise around it."""
    share = path.per_minute(np.array(parameters.open_interest_share)[path.states])[::SNAPSHOT_MINUTES]
    followed = _smoothed(share, _POSITION_MEMORY_STEPS)
    noise = streams("interest").standard_normal(len(share)) * np.sqrt(2 * _POSITION_MEMORY_STEPS)
    noise[0] = 0.0
    drift = 0.015 * _smoothed(noise, _POSITION_MEMORY_STEPS)
    base = np.round(_INTEREST_SHARE[venue] * coin.open_interest_base * followed * np.exp(drift), 3)
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
    # A minute of the middle regime moves about 10 basis points: there, the typical volume trades.
    volume = _VOLUME_SHARE[listing.venue] * coin.minute_volume_base * np.sqrt(variance) / 0.001 * noise
    return np.maximum(np.round(volume, listing.volume_decimals), 10.0**-listing.volume_decimals)


def _smoothed(values: Floats, memory_steps: int) -> Floats:
    return pd.Series(values).ewm(alpha=1 / memory_steps, adjust=False).mean().to_numpy()
