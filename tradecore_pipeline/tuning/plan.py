"""What decides a study's outcome beside its data, and what it found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tradecore_pipeline.features.tuned import IndicatorParameters
from tradecore_pipeline.tuning.objective import ObjectiveName


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study of the bars from ``start`` to ``end``."""

    start: datetime
    """Bars that open before it are warm-up."""
    end: datetime
    """The first moment of the month that the lengths are for: a bar that closes later is refused."""
    objective: ObjectiveName
    trials: int
    seed: int
    folds: int
    purge_bars: int

    def facts(self) -> dict[str, object]:
        """What belongs to the study's identity: not the number of trials, which may grow, nor the unread future."""
        return {
            "objective": self.objective,
            "seed": self.seed,
            "start": self.start.isoformat(),
            "folds": self.folds,
            "purge_bars": self.purge_bars,
        }


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What a finished study found."""

    parameters: IndicatorParameters
    objective: ObjectiveName
    value: float
    """Mean out-of-fold error by the objective; smaller is better."""
    default_value: float
    """The same, of the default lengths."""
    gain_t: float | None
    """HAC t of the gain over the defaults on the folds; None where the defaults are best. Of the best of many trials,
    so that 2 is no evidence."""
    trials: int
    best_trial: int
    """Its place among the completed trials; 0 is the defaults."""
    trial_values: tuple[float, ...]
    """Of every completed trial, in order."""
    importances: Mapping[str, float]
    """Share of each length in what sets the best trials apart from the rest; empty where there are too few trials."""
    study_name: str
    """The name that was given and the digest of data, folds, seed and ranges."""

    def to_document(self) -> dict[str, Any]:
        """The result as JSON values, lengths under ``parameters``."""
        return asdict(self) | {"trial_values": list(self.trial_values), "importances": dict(self.importances)}
