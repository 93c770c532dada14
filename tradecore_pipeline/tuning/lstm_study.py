"""A study of the LSTM's shape: resumable, pruned fold by fold, and a pure function of its data, seed and trials."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradecore_pipeline.models.lstm_shape import LstmShape
from tradecore_pipeline.tuning.importance import importances
from tradecore_pipeline.tuning.lstm_folds import FoldOutcome, Score, ShapeData, ShapeFolds, mean_gain
from tradecore_pipeline.tuning.lstm_plan import FoldScore, ShapePlan, ShapeResult, ShapeTrial, errors_to_replace
from tradecore_pipeline.tuning.trials import ask, finished_trials, open_study, refuse_torn_trials
from tradecore_pipeline.validation.scoreboard import standard_error

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_VERSION = "shape-2"
"""Part of the study's identity: a changed way of judging starts new studies."""
_UNPRUNED_TRIALS = 4
"""Trials that are scored on all folds before one is held against their median."""
_OUTCOMES = "folds"
"""The attribute of a trial that holds its folds' outcomes."""
_LAGS_OF_BLOCKS = 1


def tune_shape(
    data: ShapeData,
    plan: ShapePlan,
    *,
    study_path: Path,
    study_name: str,
    processes: int,
    done: Callable[[str], None],
) -> ShapeResult:
    """The shape that a year begins with: the best of ``plan.trials`` if it clearly beats the default, else the default.

    Each trial trains the networks of every fold on bars before it and scores them on the fold. A trial whose mean
    score so far is below the median of those before, at the same fold, is given up. The study is kept in
    ``study_path`` under a name that holds the digest of everything that decides its outcome: finished trials are
    counted and only the rest are run, after a kill too, and the outcome is that of an unbroken run.

    Args:
        data: bars before ``plan.end``, and what networks read beside them.
        plan: the rest of what decides the outcome.
        study_path: the journal.
        study_name: what the study is called there, before its digest.
        processes: folds fitted at a time; no figure depends on it.
        done: told of each finished trial.

    Raises:
        InvalidDataError: a bar closes after ``plan.end``, or the study's file is damaged.
        NotEnoughHistoryError: a fold would have too few bars to train on.
        ModelFitError: a fold has no t-HAR, or there is no device as asked for.
    """
    folds = ShapeFolds(data, plan)
    name = f"{study_name}-{_digest(folds)}"
    study = open_study(study_path, name)
    finished = finished_trials(study)
    refuse_torn_trials(finished, plan.default.config(), study_path)
    for trial in finished[: plan.trials]:
        done(str(trial.number))
    with folds.scoring(processes) as score:
        while len(finished) < plan.trials:
            trial = ask(study, first=plan.default.config(), seed=plan.seed, finished=len(finished))
            _run(study, trial, folds, score)
            finished = finished_trials(study)
            done(str(trial.number))
    return _result(finished[: plan.trials], folds, name, study_path)


def _digest(folds: ShapeFolds) -> str:
    identity = {"version": _VERSION, **folds.data.facts(), **folds.plan.facts(), "space": folds.space.facts()}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _run(study: "Study", trial: "Trial", folds: ShapeFolds, score: Score) -> None:
    """Score a trial fold by fold, to the end or until it is given up."""
    from optuna.pruners import MedianPruner  # noqa: PLC0415 (definitions must load without it)
    from optuna.trial import TrialState  # noqa: PLC0415 (likewise)

    study.pruner = MedianPruner(n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=0)
    outcomes: list[FoldOutcome] = []
    state = TrialState.COMPLETE
    for outcome in score(folds.space.suggest(trial)):
        outcomes.append(outcome)
        trial.report(-mean_gain(outcomes), len(outcomes))
        if len(outcomes) < folds.plan.folds and trial.should_prune():
            state = TrialState.PRUNED
            break
    trial.set_user_attr(_OUTCOMES, [outcome.to_json() for outcome in outcomes])
    study.tell(trial, -mean_gain(outcomes) if state == TrialState.COMPLETE else None, state=state)


def _result(finished: "list[FrozenTrial]", folds: ShapeFolds, name: str, path: Path) -> ShapeResult:
    from optuna.trial import TrialState  # noqa: PLC0415 (definitions must load without it)

    from tradecore_pipeline.tuning.journal import readable  # noqa: PLC0415 (imports optuna)

    plan, data = folds.plan, folds.data
    with readable(path):
        outcomes = [[FoldOutcome(**kept) for kept in trial.user_attrs[_OUTCOMES]] for trial in finished]
        shapes = [LstmShape.from_config(trial.params) for trial in finished]
    complete = [n for n, trial in enumerate(finished) if trial.state == TrialState.COMPLETE]
    winner, gain, error = best_trial({n: outcomes[n] for n in complete})
    best = shapes[winner]
    return ShapeResult(
        # Those that were given up were tried, too.
        shape=best if gain > errors_to_replace(len(finished)) * error else plan.default,
        best=best,
        default=plan.default,
        gain=gain,
        gain_error=error,
        best_trial=winner,
        trials=tuple(ShapeTrial(shape, mean_gain(own), len(own)) for shape, own in zip(shapes, outcomes, strict=True)),
        folds=tuple(
            FoldScore(usual.first, usual.bars, usual.har, usual.score, chosen.score)
            for usual, chosen in zip(outcomes[0], outcomes[winner], strict=True)
        ),
        importances=importances([finished[n] for n in complete]),
        first_ts_open=data.bars.index[0].to_pydatetime(),
        last_ts_close=data.last_ts_close,
        study_name=name,
        notes=tuple(dict.fromkeys(note for own in outcomes for fold in own for note in fold.notes)),
    )


def best_trial(outcomes: Mapping[int, Sequence[FoldOutcome]]) -> tuple[int, float, float]:
    """The number of the best of the complete trials, its gain over trial 0, the default, and the gain's standard error.

    The earliest of equals; in nats a bar.
    """
    winner = max(outcomes, key=lambda n: (mean_gain(outcomes[n]), -n))
    return winner, *_paired(outcomes[winner], outcomes[0])


def _paired(best: Sequence[FoldOutcome], default: Sequence[FoldOutcome]) -> tuple[float, float]:
    """Mean gain of the one over the other in nats a bar, and its standard error, from the same blocks of both."""
    own, usual = (np.array([mean for fold in folds for mean in fold.block_scores]) for folds in (best, default))
    return mean_gain(best) - mean_gain(default), standard_error(own - usual, lags=_LAGS_OF_BLOCKS)
