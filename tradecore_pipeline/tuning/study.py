"""A study of indicator lengths: resumable, and a pure function of its data, its seed and its number of trials."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, IndicatorParameters, tuned_warm_up_bars
from tradecore_pipeline.features.tuned_indicators import Indicator
from tradecore_pipeline.tuning.importance import importances
from tradecore_pipeline.tuning.inputs import Inputs
from tradecore_pipeline.tuning.objective import Objective
from tradecore_pipeline.tuning.plan import StudyPlan, TuningResult
from tradecore_pipeline.tuning.trials import ask, finished_trials, open_study, refuse_torn_trials
from tradecore_pipeline.validation.scoreboard import hac_lags, standard_error

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

_VERSION = "ridge-2"
"""Part of the study's identity: a changed way of judging starts new studies."""
_INPUTS = ["open", "high", "low", "close", "volume", "realized_variance"]
_ONE_DAY = timedelta(days=1)
"""How far before the first bar a settlement or snapshot may stand."""


def tune_lengths(sources: Sources, plan: StudyPlan, *, study_path: Path, study_name: str) -> TuningResult:
    """The best of ``plan.trials`` choices of lengths for the bars from ``plan.start`` to ``plan.end``.

    Bars reach back ``tuned_warm_up_bars`` bar lengths (and a week, for the HAR terms) before ``plan.start``. Lengths of
    indicators without a source (funding of spot) keep their default. The study is kept in ``study_path`` under a name
    that holds the digest of everything that decides its outcome: completed trials are counted and only the rest are
    run, after a kill too, and the outcome is the same as that of an unbroken run. The defaults are the first trial.

    Trials are told one after the other and none is pruned: each depends on all before it, whatever the timing.

    Raises:
        InvalidDataError: a bar closes after ``plan.end``, or the study's file is damaged.
        NotEnoughHistoryError: too few bars have a full warm-up.
    """
    _refuse_later_bars(sources, plan.end)
    sources = _within_reach(sources, plan)
    inputs = Inputs(sources, start=plan.start)
    objective = Objective(inputs, name=plan.objective, folds=plan.folds, purge_bars=plan.purge_bars)
    name = f"{study_name}-{_digest(sources, inputs.indicators, plan)}"
    study = open_study(study_path, name)
    completed = finished_trials(study)
    defaults = {one.parameter: one.default for one in inputs.indicators}
    refuse_torn_trials(completed, defaults, study_path)
    while len(completed) < plan.trials:
        trial = ask(study, first=defaults, seed=plan.seed, finished=len(completed))
        study.tell(trial, objective(_suggest(trial, inputs.indicators)))
        completed = finished_trials(study)
    return _result(completed[: plan.trials], objective, name, lags=hac_lags(sources.timeframe))


def _refuse_later_bars(sources: Sources, end: datetime) -> None:
    last = sources.bars.index[-1].to_pydatetime() + sources.timeframe.duration
    if last > end:
        raise InvalidDataError(
            f"a bar that closes at {last:%Y-%m-%d %H:%M} cannot be used to tune for what begins at "
            f"{end:%Y-%m-%d %H:%M}: give the study the bars of its training window only"
        )


def _within_reach(sources: Sources, plan: StudyPlan) -> Sources:
    """Without rows that nothing reads, so that the digest does not depend on how many of them were given."""
    timeframe = sources.timeframe
    reach = max(tuned_warm_up_bars(), 7 * timeframe.bars_per_day) * timeframe.duration
    bars = sources.bars.loc[np.asarray(sources.bars.index >= plan.start - reach), _INPUTS]
    first = bars.index[0] - _ONE_DAY
    last = bars.index[-1] + timeframe.duration

    def cut(rows: pd.DataFrame | None, name: str) -> pd.DataFrame | None:
        return None if rows is None else rows.loc[np.asarray((rows.index >= first) & (rows.index < last)), [name]]

    funding, interest = cut(sources.funding, "funding_rate"), cut(sources.open_interest, "open_interest_base")
    return Sources(bars, funding, interest, timeframe)


def _digest(sources: Sources, indicators: tuple[Indicator, ...], plan: StudyPlan) -> str:
    frames = (sources.bars, sources.funding, sources.open_interest)
    identity: Mapping[str, object] = {
        "data": [None if frame is None or frame.empty else frame_digest(frame) for frame in frames],
        "timeframe": str(sources.timeframe),
        "version": _VERSION,
        "indicators": [(one.parameter, one.shortest, one.longest, one.default) for one in indicators],
        **plan.facts(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _suggest(trial: "Trial", indicators: tuple[Indicator, ...]) -> IndicatorParameters:
    return _parameters(
        {one.parameter: trial.suggest_int(one.parameter, one.shortest, one.longest) for one in indicators}
    )


def _parameters(chosen: Mapping[str, int]) -> IndicatorParameters:
    return IndicatorParameters.from_dict(DEFAULT_PARAMETERS.to_dict() | dict(chosen))


def _result(completed: "list[FrozenTrial]", objective: Objective, name: str, *, lags: int) -> TuningResult:
    values = tuple(float(trial.value) for trial in completed if trial.value is not None)
    best = int(np.argmin(values))
    parameters = _parameters(completed[best].params)
    gains = objective.errors(DEFAULT_PARAMETERS) - objective.errors(parameters)
    error = standard_error(gains, lags=lags)
    return TuningResult(
        parameters=parameters,
        objective=objective.name,
        value=values[best],
        default_value=values[0],
        gain_t=float(gains.mean()) / error if error > 0 else None,
        trials=len(values),
        best_trial=best,
        trial_values=values,
        importances=importances(completed),
        study_name=name,
    )
