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
from tradecore_pipeline.models.gaussian_hmm import (
    NO_PRIOR,
    GaussianHMM,
    clip_outliers,
    fit_gaussian_hmm,
    gaussian_defect,
)
from tradecore_pipeline.models.hmm_fits import COLD_CHECKS, run_lengths, set_chain
from tradecore_pipeline.models.inputs import STUDENT_T
from tradecore_pipeline.models.observations import Scaling, fit_scaling, observe
from tradecore_pipeline.models.restarts import cold_gain, finish, require_rows
from tradecore_pipeline.models.student_t_hmm import StudentTHMM, fit_student_t_hmm, student_t_defect


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
    require_rows(rows[whole], states=states)
    # What a fresh Gaussian fit does again, to no effect: both then see, and are scored on, the same rows.
    X = rows[whole] if emission == STUDENT_T else clip_outliers(rows[whole])
    lengths = run_lengths(whole)

    def fresh(count: int) -> StudentTHMM | GaussianHMM:
        if emission == STUDENT_T:
            return fit_student_t_hmm(X, lengths, states=states, restarts=count, seed=seed)
        return fit_gaussian_hmm(X, lengths, states=states, covariance="full", restarts=count, seed=seed)

    if anchor is not None:
        model = _from_anchor(anchor, scaling, emission)
        if not finish(model, X, lengths, defect=lambda model: _defect(model, X, lengths)):
            gain = cold_gain(model, lambda: fresh(COLD_CHECKS), X, lengths)
            return _fitted(model, scaling, cold_gain=gain, anchored=True)
    return _fitted(fresh(restarts), scaling, cold_gain=np.nan, anchored=False)


def _defect(model: StudentTHMM | GaussianHMM, X: Floats, lengths: NDArray[np.int64]) -> str:
    if isinstance(model, StudentTHMM):
        return student_t_defect(model, X, lengths)
    return gaussian_defect(model, X, lengths)


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
        model = GaussianHMM(states, "full", init_params="", covars_prior=NO_PRIOR)
        model.n_features = len(scaling.features)
        model.covars_ = before.covars * np.outer(stretch, stretch)
    model.means_ = (before.means * before.scaling.spread + before.scaling.centre - scaling.centre) / scaling.spread
    set_chain(model, anchor.transmat)
    return model


def _fitted(
    model: StudentTHMM | GaussianHMM, scaling: Scaling, *, cold_gain: float, anchored: bool
) -> Fitted[StudentTEmission | GaussianEmission]:
    emission = (
        StudentTEmission(scaling, model.means_, model.scales_, model.dfs_)
        if isinstance(model, StudentTHMM)
        else GaussianEmission(scaling, np.asarray(model.means_), np.asarray(model.covars_))
    )
    return Fitted(emission, np.asarray(model.transmat_), cold_gain, anchored)
