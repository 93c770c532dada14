"""A study of indicator lengths: resumable, and a pure function of its data, its seed and its number of trials."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.features.tuned import (
    DEFAULT_PARAMETERS,
    PARAMETER_RANGES,
    IndicatorParameters,
    tuned_warm_up_bars,
)
from tradecore_pipeline.tuning.objective import Objective

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_OBJECTIVE = "ridge-log-absolute-return-1"
"""Part of the study's identity: a changed objective starts new studies."""
_INPUTS = ["open", "high", "low", "close", "volume", "realized_variance"]


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What a finished study found."""

    parameters: IndicatorParameters
    value: float
    """Mean squared out-of-fold error of log |next return|."""
    default_value: float
    """The same, of the default lengths."""
    trials: int
    best_trial: int
    """Its place among the completed trials; 0 is the defaults."""
    trial_values: tuple[float, ...]
    """Of every completed trial, in order."""
    study_name: str
    """The name that was given and the digest of data, folds, seed and ranges."""

    def to_document(self) -> dict[str, object]:
        """The result as JSON values, lengths under ``parameters``."""
        document: dict[str, object] = asdict(self)
        document["trial_values"] = list(self.trial_values)
        return document


def run_study(
    bars: pd.DataFrame,
    *,
    start: datetime,
    timeframe: Timeframe,
    trials: int,
    seed: int,
    study_path: Path,
    study_name: str,
    folds: int,
    purge_bars: int,
) -> TuningResult:
    """The best of ``trials`` choices of indicator lengths for the bars that open at or after ``start``.

    ``bars`` end with the training window and reach back ``tuned_warm_up_bars`` bar lengths (and a week, for the HAR
    terms) before ``start``. The study is kept in ``study_path`` under a name that holds the digest of everything that
    decides its outcome: completed trials are counted and only the rest are run, after a kill too, and the outcome is
    the same as that of an unbroken run. The defaults are the first trial.

    Raises:
        NotEnoughHistoryError: too few bars have a full warm-up.
    """
    bars = _within_reach(bars, start, timeframe)
    objective = Objective(bars, start=start, timeframe=timeframe, folds=folds, purge_bars=purge_bars)
    facts = {
        "seed": seed,
        "start": start.isoformat(),
        "timeframe": str(timeframe),
        "folds": folds,
        "purge_bars": purge_bars,
    }
    name = f"{study_name}-{_digest(bars, facts)}"
    study = _open_study(study_path, name)
    completed = _completed(study)
    while len(completed) < trials:
        trial = _ask(study, seed=seed, completed=len(completed))
        parameters = _suggest(trial)
        study.tell(trial, objective(parameters))
        completed = _completed(study)
    return _result(completed[:trials], name)


def _within_reach(bars: pd.DataFrame, start: datetime, timeframe: Timeframe) -> pd.DataFrame:
    """Without history that nothing reads, so that the digest does not depend on how much of it was given."""
    reach = max(tuned_warm_up_bars(), 7 * timeframe.bars_per_day) * timeframe.duration
    return bars.loc[np.asarray(bars.index >= start - reach), _INPUTS]


def _digest(bars: pd.DataFrame, facts: Mapping[str, object]) -> str:
    identity = {"bars": frame_digest(bars), "objective": _OBJECTIVE, "ranges": PARAMETER_RANGES, **facts}
    identity["defaults"] = DEFAULT_PARAMETERS.to_dict()
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _open_study(path: Path, name: str) -> "Study":
    import optuna  # noqa: PLC0415 (definitions must load without it)

    from tradecore_pipeline.tuning.journal import open_journal  # noqa: PLC0415 (imports optuna)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=open_journal(path), study_name=name, direction="minimize", load_if_exists=True)


def _completed(study: "Study") -> "list[FrozenTrial]":
    from optuna.trial import TrialState  # noqa: PLC0415 (definitions must load without it)

    return sorted(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=lambda trial: trial.number)


def _ask(study: "Study", *, seed: int, completed: int) -> "Trial":
    """A trial that depends on the completed ones and the seed only, whatever was killed on the way."""
    from optuna.samplers import TPESampler  # noqa: PLC0415 (definitions must load without it)
    from optuna.trial import TrialState  # noqa: PLC0415 (definitions must load without it)

    state = np.random.SeedSequence([seed, completed]).generate_state(1)[0]
    # Without the constant liar, trials that a killed process left running do not count.
    study.sampler = TPESampler(seed=int(state), constant_liar=False)
    if completed == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(DEFAULT_PARAMETERS.to_dict())
    return study.ask()


def _suggest(trial: "Trial") -> IndicatorParameters:
    lengths = {name: trial.suggest_int(name, low, high) for name, (low, high) in PARAMETER_RANGES.items()}
    return IndicatorParameters.from_dict(lengths)


def _result(completed: "list[FrozenTrial]", name: str) -> TuningResult:
    values = tuple(float(trial.value) for trial in completed if trial.value is not None)
    best = int(np.argmin(values))
    return TuningResult(
        parameters=IndicatorParameters.from_dict(completed[best].params),
        value=values[best],
        default_value=values[0],
        trials=len(values),
        best_trial=best,
        trial_values=values,
        study_name=name,
    )
