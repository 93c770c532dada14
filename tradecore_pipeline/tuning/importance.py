"""Which lengths mattered in a study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 10
"""Fewer say nothing: the best tenth of them must be at least one."""


def importances(trials: "Sequence[FrozenTrial]") -> dict[str, float]:
    """Each length's share, greatest first, in what sets the best tenth of ``trials`` apart (PED-ANOVA); they sum to 1.

    Empty where there are too few trials, or where all are equally good.
    """
    import optuna  # noqa: PLC0415 (definitions must load without it)
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415 (likewise)

    values = {trial.value for trial in trials}
    if len(trials) < LEAST_TRIALS or len(values) < 2:
        return {}
    study = optuna.create_study(direction="minimize")
    study.add_trials(trials)
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(share) for name, share in sorted(found.items(), key=lambda item: (-item[1], item[0]))}
