"""What a model card says of a month's regime model: every figure computed here, from the training window alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.models.density import Floats, StudentMixture, student_t_log_density
from tradecore_pipeline.models.direction import state_names
from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
from tradecore_pipeline.models.flicker import held_states
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.models.returns import next_percent_returns, percent_returns

RARE_SHARE = 0.1
"""A state with a smaller share of the window is learned from few bars."""
SHORT_BARS = 6.0
"""A state that lasts fewer bars is a shock rather than a regime."""
TAIL_SHARE = 0.02
"""Of the bars outside the central 98% of an honest forecast."""
CENTRE_TOLERANCE = 0.1
"""How far from one half the share of bars in the central half of the forecasts may lie."""
COLD_GAIN_NATS = 20.0
"""Over the whole window; less is what local optima of the same states differ by."""
DRIFT_RATIO = 1.5
"""Between a state's volatilities by two months' models on the same bars."""

_GRID_POINTS = 181
_DENSITY_ROWS = 240
"""Bars, evenly spaced, that the window's average density is taken over."""


@dataclass(frozen=True, slots=True)
class ReturnDensities:
    """Average densities of the next return over the window, per percent; the states' add up to the mixture's."""

    grid: Floats
    """Percent."""
    states: Floats
    """(points, K)"""
    edges: Floats
    """Of the histogram of the window's returns."""
    histogram: Floats


@dataclass(frozen=True, slots=True)
class MonthParameters:
    """What is compared between months, each (K,)."""

    month: date
    volatilities: Floats
    """Percent per bar, on the bars of the card's window: what differs is the model, not the market."""
    durations: Floats
    """Expected bars in a row."""
    mean_returns_bps: Floats
    """Each in its model's own window."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that a card shows."""

    instrument: Instrument
    month: date
    bars: pd.DataFrame
    model: RegimeModel
    held: NDArray[np.intp]
    """The label shown per bar, by the model fitted on these bars: a picture of the fit, not evidence."""
    densities: ReturnDensities | None
    """None where the model says nothing about the size of returns."""
    calibration: Floats | None
    """Probability integrals of returns of the window's second half by a model of its first; None without one."""
    drift: tuple[MonthParameters, ...]
    """Oldest first; the last one is this model."""
    direction: Mapping[str, Any]

    @property
    def names(self) -> list[tuple[str, str]]:
        """By scale and by mean, per state."""
        return state_names(self.model)

    @property
    def tail_share(self) -> float | None:
        """The share of the calibration's bars outside the central 98%; None without a calibration."""
        return self._share_beyond(0.5 - TAIL_SHARE / 2)

    def _share_beyond(self, distance: float) -> float | None:
        if self.calibration is None or len(self.calibration) == 0:
            return None
        return float((np.abs(self.calibration - 0.5) > distance).mean())

    @property
    def alarms(self) -> list[str]:
        """What a person should look at before they trust this month's model; sentences."""
        found = [
            f"{name} holds {share:.1%} of the window: few bars to learn it from"
            for (name, _), share in zip(self.names, self.model.occupancy, strict=True)
            if share < RARE_SHARE
        ]
        found += [
            f"{name} lasts {bars:.1f} bars: a shock rather than a regime"
            for (name, _), bars in zip(self.names, self.model.expected_durations, strict=True)
            if bars < SHORT_BARS
        ]
        return found + self._fit_alarms() + self._calibration_alarms() + self._drift_alarms()

    def _fit_alarms(self) -> list[str]:
        found: list[str] = []
        if self.model.equal_scales:
            found.append(
                "the states are equal in volatility: the bars tell them apart by their mean return alone, and none is "
                "calmer than another"
            )
        if self.model.density_note:
            found.append(f"the forecast is the states' own, uncalibrated: {self.model.density_note}")
        if self.model.cold_gain > COLD_GAIN_NATS:
            found.append(
                f"fresh starts found a fit {self.model.cold_gain:.0f} nats better than the one that starts from the "
                "year's anchor: it may be stuck"
            )
        if not self.model.order_agrees:
            found.append("the states' order of scale is not that of the year's anchor: names may have changed hands")
        return found

    def _calibration_alarms(self) -> list[str]:
        found: list[str] = []
        tails, outer = self.tail_share, self._share_beyond(0.25)
        if tails is not None and not TAIL_SHARE / 2 <= tails <= 2 * TAIL_SHARE:
            found.append(f"{tails:.1%} of the bars it was not fitted on fell outside the central 98% of the forecast")
        if outer is not None and abs(outer - 0.5) > CENTRE_TOLERANCE:
            how = "wide" if outer < 0.5 else "narrow"
            found.append(
                f"{1 - outer:.0%} of the bars it was not fitted on fell in the central half of the forecast: too {how}"
            )
        return found

    def _drift_alarms(self) -> list[str]:
        if len(self.drift) < 2:
            return []
        before, now = self.drift[-2], self.drift[-1]
        ratios = now.volatilities / before.volatilities
        return [
            f"{name} is {ratio:.2f} times as volatile as by the model of {before.month:%Y-%m}, on the same bars"
            for (name, _), ratio in zip(self.names, ratios, strict=True)
            if not 1 / DRIFT_RATIO <= ratio <= DRIFT_RATIO
        ]


def card_facts(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    instrument: Instrument,
    month: date,
    model: RegimeModel,
    half_model: RegimeModel | None,
    direction: Mapping[str, Any],
    label_threshold: float,
    earlier: Sequence[tuple[date, RegimeModel]],
) -> CardFacts:
    """The facts of a month's card; the arguments are those of ``model_card_figures``."""
    filtered = model.filter(bars, columns)
    comparable = [(when, old) for when, old in earlier if old.states == model.states and when < month]
    return CardFacts(
        instrument=instrument,
        month=month,
        bars=bars,
        model=model,
        held=held_states(filtered.probabilities, label_threshold),
        densities=_densities(model, bars, filtered),
        calibration=None if half_model is None else _calibration(half_model, bars, columns),
        drift=tuple(_parameters(when, old, bars, columns) for when, old in [*sorted(comparable), (month, model)]),
        direction=direction,
    )


def _parameters(month: date, model: RegimeModel, bars: pd.DataFrame, columns: pd.DataFrame | None) -> MonthParameters:
    returns = percent_returns(bars, model.timeframe)
    known = ~np.isnan(returns)
    weights = model.filter(bars, columns).probabilities[known]
    variances = (weights.T @ returns[known] ** 2) / np.maximum(weights.sum(axis=0), np.finfo(np.float64).tiny)
    return MonthParameters(month, np.sqrt(variances), model.expected_durations, model.mean_returns_bps)


def _forecast(model: RegimeModel, bars: pd.DataFrame, filtered: FilteredRegimes) -> StudentMixture | None:
    try:
        return model.forecast(bars, filtered)
    except ValueError:  # a model of features without a return
        return None


def _densities(model: RegimeModel, bars: pd.DataFrame, filtered: FilteredRegimes) -> ReturnDensities | None:
    forecast = _forecast(model, bars, filtered)
    if forecast is None:
        return None
    returns = next_percent_returns(bars, model.timeframe)
    returns = returns[~np.isnan(returns)]
    reach = float(np.quantile(np.abs(returns), 0.9995)) * 1.15
    grid = np.linspace(-reach, reach, _GRID_POINTS)
    known = np.flatnonzero(~np.isnan(forecast.scales).any(axis=1))
    rows = forecast.rows(known[:: max(1, len(known) // _DENSITY_ROWS)])
    each = np.exp(student_t_log_density(grid[:, None, None], rows.locations, rows.scales, rows.dfs))
    histogram, edges = np.histogram(returns, bins=61, range=(-reach, reach))
    heights = histogram / (len(returns) * np.diff(edges))
    return ReturnDensities(grid, (each * rows.weights).mean(axis=1), edges, heights)


def _calibration(model: RegimeModel, bars: pd.DataFrame, columns: pd.DataFrame | None) -> Floats | None:
    """Where each return of the second half fell in the forecast made one bar before it by a model of the first."""
    forecast = _forecast(model, bars, model.filter(bars, columns))
    if forecast is None:
        return None
    half = len(bars) // 2
    values = forecast.rows(slice(half, None)).cdf(next_percent_returns(bars, model.timeframe)[half:])
    return values[~np.isnan(values)]
