"""The densities of variants: each fitted on a training window alone, then run forward with its parameters fixed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import PERCENT, Floats, StudentMixture
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.models.peers import PEER_FITS, fit_baseline
from tradecore_pipeline.models.returns import follows, next_open
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.variants import HMM, LSTM, SWITCHING_HAR, Variant

if TYPE_CHECKING:
    from tradecore_pipeline.models.filtered_regimes import FilteredRegimes
    from tradecore_pipeline.models.regimes import RegimeModel

_STEPS = 50
_ENOUGH = 1e-10


@dataclass(frozen=True, slots=True)
class Fold:
    """One month of one comparison."""

    timeframe: Timeframe
    window: pd.DataFrame
    """Bars that fits may read."""
    seen: pd.DataFrame
    """Bars from the window's start on, through the month that is forecast."""
    columns: pd.DataFrame | None
    """Feature columns of ``seen``, for regime models that look at them."""
    tuned: pd.DataFrame | None
    """Tuned indicators of ``seen``, for an LSTM that reads them."""


def density_of(variant: Variant, fold: Fold) -> StudentMixture:
    """Density in percent of the bar after each of ``fold.seen``, by a fit on ``fold.window`` alone.

    Raises:
        ModelFitError: no acceptable model came out.
    """
    return _FITS[variant.family](variant.options, fold)


def period_variances(density: StudentMixture, fold: Fold, *, bars: int) -> Floats:
    """Variance in percent squared of the next ``bars`` bars together, known at each ts_close of ``fold.seen``.

    What a density of one bar says about more of them: its variance freed of the season, drawn towards the window's
    level as far as the window's own outcomes tell (a line in logarithms of least QLIKE), times the coming seasons.
    """
    timeframe, seen = fold.timeframe, fold.seen
    seasonal = SeasonalScale.fit(fold.window)
    following = next_open(seen, timeframe)
    seasons = np.mean([seasonal.at(following + k * timeframe.duration) ** 2 for k in range(bars)], axis=0)
    level = np.log(density.variance / seasonal.at(following) ** 2)
    outcomes = realized_variances(fold.window, timeframe, bars=bars)[1:] / (bars * seasons[: len(fold.window) - 1])
    outcomes = np.where(follows(fold.window, timeframe)[1:], outcomes, np.nan)
    intercept, slope = _least_qlike(level[: len(outcomes)], outcomes)
    return bars * seasons * np.exp(intercept + slope * level)


def realized_variances(bars_from: pd.DataFrame, timeframe: Timeframe, *, bars: int) -> Floats:
    """Realized variance in percent squared of each bar and the ``bars`` - 1 after it; not known before those close.

    Missing minutes count as the others of their bar; NaN where one of the bars is missing.
    """
    index = pd.DatetimeIndex(bars_from.index)
    full = timeframe.minutes / bars_from["minutes"].to_numpy(dtype=np.float64)
    own = PERCENT**2 * bars_from["realized_variance"].to_numpy(dtype=np.float64) * full
    count = len(own) - bars + 1
    result = np.full(len(own), np.nan)
    if count > 0:
        whole = np.asarray(index[bars - 1 :] - index[:count] == (bars - 1) * timeframe.duration)
        sums = np.lib.stride_tricks.sliding_window_view(own, bars).sum(axis=1)
        result[:count] = np.where(whole, sums, np.nan)
    return result


def _least_qlike(level: Floats, outcomes: Floats) -> tuple[float, float]:
    """Intercept and slope of log variance in ``level`` whose forecasts have the least QLIKE; slope 0 if it is flat."""
    known = np.isfinite(level) & (outcomes > 0)
    x, y = level[known], outcomes[known]
    centre, spread = float(x.mean()), float(x.std())
    if spread < _ENOUGH:
        return float(np.log(y.mean())), 0.0
    design = np.column_stack((np.ones(len(x)), (x - centre) / spread))
    found = np.array([np.log(y.mean()), 0.0])
    for _ in range(_STEPS):
        ratio = y * np.exp(-design @ found)
        # The expected curvature, not the sample's: it is positive whatever the outcomes.
        step = np.linalg.solve(design.T @ design, design.T @ (ratio - 1))
        found = found + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < _ENOUGH:
            break
    slope = found[1] / spread
    return float(found[0] - slope * centre), float(slope)


def _peer(name: str) -> Callable[[Mapping[str, Any], Fold], StudentMixture]:
    def fit(_: Mapping[str, Any], fold: Fold) -> StudentMixture:
        return PEER_FITS[name](fold.window, fold.timeframe).forecast(fold.seen)

    return fit


def _har(_: Mapping[str, Any], fold: Fold) -> StudentMixture:
    return fit_baseline(fold.window, fold.timeframe).forecast(fold.seen)


def _switching_har(options: Mapping[str, Any], fold: Fold) -> StudentMixture:
    from tradecore_pipeline.models.switching_har import fit_switching_har  # noqa: PLC0415 (hmmlearn)

    return fit_switching_har(
        fold.window,
        timeframe=fold.timeframe,
        seasonal=SeasonalScale.fit(fold.window),
        states=options["states"],
        restarts=options["restarts"],
        seed=options["seed"],
    ).forecast(fold.seen)


def _hmm(options: Mapping[str, Any], fold: Fold) -> StudentMixture:
    model, filtered = _filtered(options, fold)
    return model.forecast(fold.seen, filtered)


def _filtered(options: Mapping[str, Any], fold: Fold) -> "tuple[RegimeModel, FilteredRegimes]":
    from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (hmmlearn)

    model = fit_regimes(
        fold.window,
        None if fold.columns is None else fold.columns.loc[fold.window.index],
        timeframe=fold.timeframe,
        states=options["states"],
        restarts=options["restarts"],
        emission=options["emission"],
        features=tuple(options.get("features", ())),
        carry_bars=tuple(options.get("carry", ())),
        seed=options["seed"],
    )
    return model, model.filter(fold.seen, fold.columns)


def _lstm(options: Mapping[str, Any], fold: Fold) -> StudentMixture:
    from tradecore_pipeline.models.lstm import forecast_inputs  # noqa: PLC0415 (torch)
    from tradecore_pipeline.models.lstm_training import Recipe, fit_forecaster  # noqa: PLC0415 (torch)
    from tradecore_pipeline.models.pool_members import fit_har_family  # noqa: PLC0415 (hmmlearn)

    window, seen = fold.window, fold.seen
    family = fit_har_family(window, timeframe=fold.timeframe, seed=options["seed"])
    regimes = _filtered(options["hmm"], fold)[1].frame if "hmm" in options else None
    recipe = Recipe(
        filtered=None if regimes is None else regimes.loc[window.index],
        features=None if fold.tuned is None else fold.tuned.loc[window.index],
        regimes=options["regimes"],
        shape=replace(DEFAULT_SHAPE, hidden=options["hidden"]),
        epochs=options["epochs"],
        seed=options["seed"],
        device="cpu",
        history=None,
    )
    fitted = fit_forecaster(window, family=family, recipe=recipe, ablations=False).model
    return fitted.forecast(seen, forecast_inputs(seen, family.har, filtered=regimes, features=fold.tuned)).pooled


_FITS: Mapping[str, Callable[[Mapping[str, Any], Fold], StudentMixture]] = {
    "constant-t": _peer("constant t"),
    "ewma-t": _peer("EWMA-t"),
    "garch-t": _peer("GARCH-t"),
    "egarch-t": _peer("EGARCH-t"),
    "har": _har,
    SWITCHING_HAR: _switching_har,
    HMM: _hmm,
    LSTM: _lstm,
}
