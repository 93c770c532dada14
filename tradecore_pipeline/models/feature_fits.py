"""Fits of the families that look at features."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.emissions import Fitted, Start
from tradecore_pipeline.models.feature_emissions import GaussianEmission, StudentTEmission
from tradecore_pipeline.models.gaussian_hmm import GaussianHMM, fit_gaussian_hmm
from tradecore_pipeline.models.hmm_fits import COLD_CHECKS, converge, run_lengths, set_chain
from tradecore_pipeline.models.inputs import STUDENT_T
from tradecore_pipeline.models.observations import Scaling, fit_scaling, observe
from tradecore_pipeline.models.restarts import MINIMUM_OCCUPANCY, dead_state
from tradecore_pipeline.models.student_t_hmm import StudentTHMM, fit_student_t_hmm


def fit_features(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None,
    *,
    timeframe: Timeframe,
    states: int,
    restarts: int,
    emission: str,
    features: tuple[str, ...],
    seed: int,
    anchor: Start | None,
) -> Fitted[StudentTEmission | GaussianEmission]:
    """The fit of ``student_t`` or ``gaussian``: from ``anchor`` where its states all live on, else the best start.

    Raises:
        ModelFitError: no acceptable model came out, or the anchor is of another family or other features.
        MissingInputError: a feature is neither computed here nor a column.
    """
    scaling = fit_scaling(bars, columns, features=features, timeframe=timeframe)
    rows = observe(bars, columns, scaling=scaling, timeframe=timeframe)
    whole = np.asarray(np.isfinite(rows).all(axis=1), dtype=np.bool_)
    X, lengths = rows[whole], run_lengths(whole)
    if anchor is not None:
        model = _from_anchor(anchor, scaling, emission)
        converge(model, X, lengths)
        if not dead_state(model.occupancy(X, lengths), minimum=MINIMUM_OCCUPANCY):
            gain = _cold_gain(model, X, lengths, emission, states=states, seed=seed)
            return _fitted(model, scaling, cold_gain=gain, anchored=True)
    model = _cold(X, lengths, emission, states=states, restarts=restarts, seed=seed)
    return _fitted(model, scaling, cold_gain=np.nan, anchored=False)


def _cold(
    X: Floats, lengths: NDArray[np.int64], emission: str, *, states: int, restarts: int, seed: int
) -> StudentTHMM | GaussianHMM:
    if emission == STUDENT_T:
        return fit_student_t_hmm(X, lengths, states=states, restarts=restarts, seed=seed)
    return fit_gaussian_hmm(X, lengths, states=states, covariance="full", restarts=restarts, seed=seed)


def _from_anchor(anchor: Start, scaling: Scaling, emission: str) -> StudentTHMM | GaussianHMM:
    """The anchor's states in the units of this window."""
    before = anchor.emission
    if not isinstance(before, StudentTEmission | GaussianEmission) or (before.kind, before.features) != (
        emission,
        scaling.features,
    ):
        raise ModelFitError("the anchor is of another family or other features: fit it with these settings")
    stretch = before.scaling.spread / scaling.spread
    states = len(before.means)
    if isinstance(before, StudentTEmission):
        model: Any = StudentTHMM(states, init_params="")
        model.scales_, model.dfs_ = before.scales * stretch, before.dfs
    else:
        model = GaussianHMM(states, "full", init_params="")
        model.n_features = len(scaling.features)
        model.covars_ = before.covars * np.outer(stretch, stretch)
    model.means_ = (before.means * before.scaling.spread + before.scaling.centre - scaling.centre) / scaling.spread
    set_chain(model, anchor.transmat)
    return model


def _cold_gain(
    model: StudentTHMM | GaussianHMM,
    X: Floats,
    lengths: NDArray[np.int64],
    emission: str,
    *,
    states: int,
    seed: int,
) -> float:
    try:
        fresh = _cold(X, lengths, emission, states=states, restarts=COLD_CHECKS, seed=seed)
    except ModelFitError:
        return float("nan")
    return float(fresh.monitor_.history[-1] - model.monitor_.history[-1])


def _fitted(
    model: StudentTHMM | GaussianHMM, scaling: Scaling, *, cold_gain: float, anchored: bool
) -> Fitted[StudentTEmission | GaussianEmission]:
    emission = (
        StudentTEmission(scaling, model.means_, model.scales_, model.dfs_)
        if isinstance(model, StudentTHMM)
        else GaussianEmission(scaling, np.asarray(model.means_), np.asarray(model.covars_))
    )
    return Fitted(emission, np.asarray(model.transmat_), cold_gain, anchored)
