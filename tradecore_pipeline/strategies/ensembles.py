"""Averages over several models' forecasts of the same bar, and how far they agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tradecore_pipeline.strategies.market import Floats, Market


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one model says of each bar, N rows; NaN where it says nothing."""

    probabilities: Floats
    """Filtered probabilities (N, K)."""
    forecast: Floats
    volatility: Floats


def averaged_over_models(market: Market, older: Sequence[Opinion]) -> Market:
    """``market`` with probabilities and forecasts averaged with those of ``older`` models that speak of a bar.

    The held state stays the published one. States are in order of scale in every month's model, so that averages of the
    same index mean something.
    """
    own = Opinion(market.probabilities, market.forecast, market.volatility)
    opinions = [own, *(each for each in older if each.probabilities.shape == own.probabilities.shape)]
    forecasts = np.array([each.forecast for each in opinions])
    forecast, volatility = _mean(forecasts), _mean(np.array([each.volatility for each in opinions]))
    return replace(
        market,
        probabilities=_mean(np.array([each.probabilities for each in opinions])),
        forecast=np.where(np.isnan(own.forecast), np.nan, forecast),
        volatility=np.where(np.isnan(own.volatility), np.nan, volatility),
        consensus=_agreement(forecasts, np.ones(len(opinions)), forecast),
    )


def averaged_over_timeframes(market: Market, weights: Mapping[str, float]) -> Market:
    """``market`` with forecasts averaged over the timeframes of ``weights``, scaled to its own bar's length.

    A mean grows with time and a deviation with its root. Timeframes that know nothing at a bar are left out there; the
    strategy's own has to know something.
    """
    named = {market.timeframe.name: market} | {timeframe.name: other for timeframe, other in market.higher.items()}
    parts = [(named[name], weight) for name, weight in weights.items() if name in named and weight > 0]
    if not parts:
        return market
    lengths = [market.timeframe.minutes / part.timeframe.minutes for part, _ in parts]
    known = [np.where(part.known, 1.0, np.nan) for part, _ in parts]
    share = np.array([weight for _, weight in parts])
    means = np.array(
        [part.forecast * length * here for (part, _), length, here in zip(parts, lengths, known, strict=True)]
    )
    deviations = np.array([
        part.volatility * np.sqrt(length) * here for (part, _), length, here in zip(parts, lengths, known, strict=True)
    ])  # fmt: skip
    forecast = _weighted(means, share)
    return replace(
        market,
        forecast=np.where(np.isnan(market.forecast), np.nan, forecast),
        volatility=np.where(np.isnan(market.volatility), np.nan, _weighted(deviations, share)),
        consensus=_agreement(means, share, forecast),
    )


def _mean(values: np.ndarray) -> Floats:
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def _weighted(values: np.ndarray, weights: Floats) -> Floats:
    told = np.isfinite(values) * weights[:, None]
    total = told.sum(axis=0)
    summed = (np.nan_to_num(values) * weights[:, None]).sum(axis=0)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)


def _agreement(forecasts: np.ndarray, weights: Floats, forecast: Floats) -> Floats:
    """Share of the weight of those that speak whose forecast has the sign of ``forecast``; 0 where nobody does."""
    told = np.isfinite(forecasts) * weights[:, None]
    agreeing = ((np.sign(np.nan_to_num(forecasts)) == np.sign(forecast)) * told).sum(axis=0)
    total = told.sum(axis=0)
    return np.where(total > 0, agreeing / np.where(total > 0, total, 1.0), 0.0)
