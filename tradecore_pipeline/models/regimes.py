"""Regimes: a fitted hidden Markov model with all it needs to label new bars, and its causal filter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import ModelFitError, UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.alignment import agreeing_order
from tradecore_pipeline.models.bootstrap import block_length, weighted_mean_intervals
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.emissions import Emission, Fitted, Start, emission_from_parts
from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
from tradecore_pipeline.models.hmm_fits import stationary
from tradecore_pipeline.models.inputs import GAUSSIAN, RETURN_VARIANCE, STUDENT_T
from tradecore_pipeline.models.kernels import forward_filter
from tradecore_pipeline.models.regime_density import RegimeDensity, fit_regime_density
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale

BASIS_POINTS = 100.0
"""Basis points in a percent."""


@dataclass(frozen=True, slots=True)
class RegimeModel:
    """A fitted regime model; arrays are (K,), (K, K) or (K, 2), states in order of scale (0 is the calmest).

    States of ``equal_scales`` are in order of their means instead.
    """

    timeframe: Timeframe
    emission: Emission
    startprob: Floats
    transmat: Floats
    mean_returns_bps: Floats
    """Mean return of the training bars by state, weighted by filtered probability."""
    mean_return_intervals_bps: Floats
    """(K, 2): their 95% intervals, by block bootstrap; NaN in models stored before there were any."""
    volatilities_percent: Floats
    """Root mean square return of the training bars by state, weighted alike; NaN in models stored before."""
    occupancy: Floats
    """Share of the training window by state."""
    log_likelihood: float
    """Nats per usable bar in the training window."""
    cold_gain: float
    """Nats (whole window) by which fresh starts are more likely than the fit from the anchor, which the anchor holds
    back: tens mean that the market has left the anchor's states. NaN without an anchor."""
    anchored: bool
    """Whether it is the fit from an anchor: false if none was given, or if one of its states has died out."""
    order_agrees: bool
    """Whether the order of scale is also the anchor's order; true without an anchor."""
    density: RegimeDensity | None
    """What makes a forecast of the states; None with features as emission, after a short window, in older models."""
    density_note: str
    """Why there is none where one was to be fitted, else empty."""

    @property
    def states(self) -> int:
        return len(self.startprob)

    @property
    def equal_scales(self) -> bool:
        """Whether states differ by their mean returns alone, so that no name by volatility is true of them."""
        return self.emission.equal_scales

    @property
    def expected_durations(self) -> Floats:
        """Bars (K,) that each state lasts on average; infinite where it is never left."""
        away = 1 - np.diag(self.transmat)
        return np.divide(1.0, away, out=np.full(self.states, np.inf), where=away > 0)

    @property
    def start(self) -> Start:
        """Where a fit of another window that is anchored to this one begins."""
        return Start(self.emission, self.transmat)

    def filter(self, bars: pd.DataFrame, columns: pd.DataFrame | None = None) -> FilteredRegimes:
        """Filtered probabilities of ``bars``; row t uses bars up to t only, the first row starts at ``startprob``.

        Give bars from some way before the first row that matters (the start of the training window makes a month
        reproducible). A bar without a value moves by the transitions alone.

        Args:
            bars: consecutive bars of the model's timeframe.
            columns: the feature columns that the model uses beside its own, on the same index.
        """
        likelihood = self.log_likelihood_of(bars, columns)
        probabilities, log_density = forward_filter(self.startprob, self.transmat, likelihood)
        return FilteredRegimes(
            pd.DatetimeIndex(bars.index), probabilities, log_density, observed=(likelihood != 0).any(axis=1)
        )

    def log_likelihood_of(self, bars: pd.DataFrame, columns: pd.DataFrame | None = None) -> Floats:
        """Log density (T, K) of each bar's observation in each state; zeros where nothing was observed."""
        return self.emission.log_likelihood(bars, columns, timeframe=self.timeframe)

    def forecast(self, bars: pd.DataFrame, filtered: FilteredRegimes) -> StudentMixture:
        """Density in percent of the bar after each one, known at ts_close: states one step ahead, calibrated.

        Raises:
            ValueError: the model does not look at returns, so it says nothing about their size.
        """
        states = _ahead(self.emission, self.transmat, filtered.probabilities, bars, timeframe=self.timeframe)
        return states if self.density is None else self.density.of(states, bars, timeframe=self.timeframe)

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_LATER_ARRAYS)}
        single = {name: np.array(getattr(self, name)) for name in ("log_likelihood", "cold_gain")}
        density = {} if self.density is None else self.density.to_arrays()
        return arrays | self.emission.to_arrays() | single | density

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file."""
        own = {"timeframe": self.timeframe.name, "states": self.states}
        flags = {"anchored": self.anchored, "order_agrees": self.order_agrees, "equal_scales": self.equal_scales}
        density = None if self.density is None else self.density.config()
        return own | flags | self.emission.config() | {"density": density, "density_note": self.density_note}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The model that ``config`` and ``to_arrays`` described."""
        states = len(arrays["startprob"])
        later = {name: arrays.get(name, np.full((states, *shape), np.nan)) for name, shape in _LATER_ARRAYS.items()}
        density = config.get("density")
        return cls(
            timeframe=Timeframe.parse(config["timeframe"]),
            emission=emission_from_parts(config, arrays),
            log_likelihood=float(arrays["log_likelihood"]),
            cold_gain=float(arrays.get("cold_gain", np.nan)),
            anchored=bool(config.get("anchored", False)),
            order_agrees=bool(config.get("order_agrees", True)),
            density=None if density is None else RegimeDensity.from_parts(density, arrays),
            density_note=str(config.get("density_note", "")),
            **{name: np.ascontiguousarray(arrays[name]) for name in _ARRAYS},
            **later,
        )


_PERSISTENCE = 0.3
"""Weight, as a share of the window, of the prior for regimes that last (with return_variance)."""
_ARRAYS = ("startprob", "transmat", "mean_returns_bps", "occupancy")
_LATER_ARRAYS = {"mean_return_intervals_bps": (2,), "volatilities_percent": ()}
"""Those that models stored earlier lack, and their shape beside K."""


class RegimeChoices(TypedDict):
    """What a fit takes beside bars; ``fit_regimes`` says what each means."""

    timeframe: Timeframe
    states: int
    restarts: int
    emission: str
    features: tuple[str, ...]
    carry_bars: tuple[int, ...]
    seed: int


def fit_regimes(  # noqa: PLR0913 (a window, and the settings it is fitted with)
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    timeframe: Timeframe,
    states: int,
    restarts: int,
    emission: str,
    features: tuple[str, ...],
    carry_bars: tuple[int, ...],
    seed: int,
    anchor: RegimeModel | None = None,
) -> RegimeModel:
    """The regime model of a training window; nothing outside ``bars`` and ``anchor`` is read.

    Args:
        bars: the window, indexed by ts_open.
        columns: features by name, on the same index, for those in ``features`` that are not computed here.
        timeframe: the length of the bars.
        states: number of regimes.
        restarts: seeded starts of EM, where there is no anchor.
        emission: the family, one of ``inputs.EMISSIONS``.
        features: what states emit, ``inputs.FEATURES`` or names in ``columns``; not read by ``return_variance``.
        carry_bars: the last so many bars, whose mean variance carries over; read by ``return_variance`` only.
        seed: of the starts and of the intervals.
        anchor: the model of the year's anchor window, from which EM starts, so that states keep their meaning from
            month to month; it must not know bars after ``bars``.

    Raises:
        ModelFitError: no acceptable model came out; the message says why.
        MissingInputError: a feature is in neither place.
    """
    start = None if anchor is None else anchor.start
    if emission == RETURN_VARIANCE:
        from tradecore_pipeline.models.return_variance import fit_return_variance  # noqa: PLC0415 (hmmlearn)

        fitted = fit_return_variance(
            bars, timeframe=timeframe, seasonal=SeasonalScale.fit(bars), states=states, restarts=restarts,
            carry_bars=carry_bars, persistence=_PERSISTENCE, seed=seed, anchor=start,
        )  # fmt: skip
        scales = fitted.emission.state_scales
    elif emission in {STUDENT_T, GAUSSIAN}:
        from tradecore_pipeline.models.feature_fits import fit_features  # noqa: PLC0415 (as above)

        fitted = fit_features(
            bars, columns, timeframe=timeframe, states=states, restarts=restarts, emission=emission,
            features=features, seed=seed, anchor=start,
        )  # fmt: skip
        scales = _volatilities(fitted, bars, columns, timeframe=timeframe)
    else:
        raise UsageError(f"unknown emission {emission!r}: choose return_variance, student_t or gaussian")
    fitted = fitted.reordered(np.argsort(scales, kind="stable"))
    return _described(fitted, bars, columns, timeframe=timeframe, seed=seed, anchor=anchor)


def _volatilities(
    fitted: Fitted[Any], bars: pd.DataFrame, columns: pd.DataFrame | None, *, timeframe: Timeframe
) -> Floats:
    """What orders the states of features, which may say nothing about how much prices move."""
    likelihood = fitted.emission.log_likelihood(bars, columns, timeframe=timeframe)
    filtered, _ = forward_filter(stationary(fitted.transmat), fitted.transmat, likelihood)
    returns = percent_returns(bars, timeframe)
    known = ~np.isnan(returns)
    return _root_mean_squares(returns[known], filtered[known])


def _root_mean_squares(returns: Floats, weights: Floats) -> Floats:
    """Of ``returns`` (T,) under each column of ``weights`` (T, K)."""
    return np.sqrt((weights.T @ returns**2) / weights.sum(axis=0))


def _described(
    fitted: Fitted[Any],
    bars: pd.DataFrame,
    columns: pd.DataFrame | None,
    *,
    timeframe: Timeframe,
    seed: int,
    anchor: RegimeModel | None,
) -> RegimeModel:
    """The model with what its training window says about its states."""
    startprob = stationary(fitted.transmat)
    likelihood = fitted.emission.log_likelihood(bars, columns, timeframe=timeframe)
    filtered, log_density = forward_filter(startprob, fitted.transmat, likelihood)
    returns = percent_returns(bars, timeframe)
    known, seen = ~np.isnan(returns), (likelihood != 0).any(axis=1)
    weights, moved = filtered[known], returns[known]
    occupancy = weights.sum(axis=0)
    before = None if anchor is None else anchor.filter(bars, columns).probabilities
    density, density_note = _density(fitted, filtered, bars, timeframe=timeframe)
    return RegimeModel(
        timeframe=timeframe,
        emission=fitted.emission,
        startprob=startprob,
        transmat=fitted.transmat,
        mean_returns_bps=BASIS_POINTS * (weights.T @ moved) / occupancy,
        mean_return_intervals_bps=BASIS_POINTS
        * weighted_mean_intervals(moved, weights, block_bars=block_length(timeframe), seed=seed),
        volatilities_percent=_root_mean_squares(moved, weights),
        occupancy=occupancy / known.sum(),
        log_likelihood=float(log_density[seen].mean()),
        cold_gain=fitted.cold_gain,
        anchored=fitted.anchored,
        order_agrees=before is None or agreeing_order(before, filtered),
        density=density,
        density_note=density_note,
    )


def _density(
    fit: Fitted[Any], filtered: Floats, bars: pd.DataFrame, *, timeframe: Timeframe
) -> tuple[RegimeDensity | None, str]:
    """What the window's returns add to the states, or why nothing; the families of features have no such part."""
    if fit.emission.kind != RETURN_VARIANCE:
        return None, ""
    states = _ahead(fit.emission, fit.transmat, filtered, bars, timeframe=timeframe)
    try:
        return fit_regime_density(states, bars, timeframe=timeframe, scaling=fit.emission.scaling), ""
    except ModelFitError as error:
        return None, str(error)


def _ahead(
    emission: Emission, transmat: Floats, filtered: Floats, bars: pd.DataFrame, *, timeframe: Timeframe
) -> StudentMixture:
    """What the states alone say of the bar after each one."""
    return StudentMixture(filtered @ transmat, *emission.next_return(bars, timeframe=timeframe))
