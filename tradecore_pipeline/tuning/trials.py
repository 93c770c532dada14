"""The trials of a study in a journal: asked one after the other, so that each depends on those before and the seed."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradecore_pipeline.domain.errors import InvalidDataError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial


def open_study(path: Path, name: str) -> "Study":
    """The study called ``name`` in the journal at ``path``, created where absent; its values are to be small.

    Raises:
        InvalidDataError: the file is damaged.
    """
    import optuna  # noqa: PLC0415 (definitions must load without it)

    from tradecore_pipeline.tuning.journal import open_journal, readable  # noqa: PLC0415 (imports optuna)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with readable(path):
        storage = open_journal(path)
        return optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)


def finished_trials(study: "Study") -> "list[FrozenTrial]":
    """The trials that came to an end, completed or pruned, in order; what a killed process left running is none."""
    from optuna.trial import TrialState  # noqa: PLC0415 (definitions must load without it)

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return sorted(study.get_trials(deepcopy=False, states=ended), key=lambda trial: trial.number)


def refuse_torn_trials(finished: "list[FrozenTrial]", wanted: Collection[str], path: Path) -> None:
    """Check that every trial has all parameters.

    Raises:
        InvalidDataError: one lacks some.
    """
    for trial in finished:
        if lost := sorted(set(wanted) - set(trial.params)):
            raise InvalidDataError(
                f"the study in {path} is damaged (trial {trial.number} has no {', '.join(lost)}): remove the file, and "
                "the study starts again"
            )


def ask(study: "Study", *, first: Mapping[str, float], seed: int, finished: int) -> "Trial":
    """A trial that depends on the finished ones and the seed only, whatever was killed on the way.

    Args:
        study: where it is asked for.
        first: the parameters of the first trial.
        seed: of the study.
        finished: how many trials have come to an end.
    """
    from optuna.samplers import TPESampler  # noqa: PLC0415 (definitions must load without it)
    from optuna.trial import TrialState  # noqa: PLC0415 (definitions must load without it)

    state = np.random.SeedSequence([seed, finished]).generate_state(1)[0]
    # Without the constant liar, trials that a killed process left running do not count.
    study.sampler = TPESampler(seed=int(state), constant_liar=False)
    if finished == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(dict(first))
    return study.ask()
