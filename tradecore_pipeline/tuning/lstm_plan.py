"""What decides a study of the LSTM's shape beside its data, and what it found."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any, Self

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.models.lstm_shape import LstmShape

FALSE_REPLACEMENTS = 0.05
"""The share of studies, among those whose shapes are all worth the same, that may replace the default."""


def errors_to_replace(trials: int) -> float:
    """Standard errors by which the best of ``trials`` must beat the default, which is one of them, on the folds.

    The best of many equal shapes leads by luck: each but the default gets its part of ``FALSE_REPLACEMENTS``, one-sided
    (Bonferroni, and so for shapes whose scores go together, too). 2.8 for 20 trials, 1.6 for two.
    """
    return NormalDist().inv_cdf(1 - FALSE_REPLACEMENTS / max(1, trials - 1))


@dataclass(frozen=True, slots=True)
class ShapePlan:
    """A study of bars that ended before ``end``."""

    end: datetime
    """The first moment of the year that the shape is for: a bar that closes later is refused."""
    window_bars: int
    """A month's training window, which ``LstmShape.windows`` counts in."""
    folds: int
    purge_bars: int
    """Left out of training before each fold."""
    trials: int
    seed: int
    default: LstmShape
    """The shape in force without a study, and the first trial."""

    def facts(self) -> dict[str, object]:
        """What belongs to the study's identity: not the number of trials, which may grow, nor the unread future."""
        return {
            "window_bars": self.window_bars,
            "folds": self.folds,
            "purge_bars": self.purge_bars,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class FoldScore:
    """Mean log scores in nats a bar on one fold, of fits on bars before it."""

    first: str
    """``ts_open`` of the first bar that was forecast, UTC."""
    bars: int
    har: float
    """t-HAR, which the networks correct."""
    default: float
    best: float


@dataclass(frozen=True, slots=True)
class ShapeTrial:
    """One trial, as it ended."""

    shape: LstmShape
    gain: float
    """Mean log score less t-HAR's, nats a bar, on the folds that it was scored on."""
    folds: int
    """How many those were: fewer than there are where it was given up."""


@dataclass(frozen=True, slots=True)
class ShapeResult:
    """What a finished study found."""

    shape: LstmShape
    """What it puts in force: the best one where that is ahead by more than ``errors_to_replace``, else the default."""
    best: LstmShape
    default: LstmShape
    gain: float
    """Mean log score of the best less the default's on the folds, nats a bar; flattering, as the best of many is."""
    gain_error: float
    """Its standard error, from means of blocks of two days; NaN where the folds hold too few."""
    best_trial: int
    trials: tuple[ShapeTrial, ...]
    folds: tuple[FoldScore, ...]
    importances: Mapping[str, float]
    """Share of each choice in what sets the best trials apart from the rest; empty where there are too few trials."""
    first_ts_open: datetime
    """Of the data."""
    last_ts_close: datetime
    """Of the data: nothing later was read."""
    study_name: str
    """The name that was given and the digest of everything that decides the outcome but the number of trials."""
    notes: tuple[str, ...]
    """What a reader must know about single folds, a sentence each."""

    @property
    def replaces_default(self) -> bool:
        """Whether the best shape is in force."""
        return self.shape != self.default

    def to_document(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self) | {
            "gain_error": self.gain_error if self.gain_error == self.gain_error else None,
            "trials": [asdict(trial) for trial in self.trials],
            "folds": [asdict(fold) for fold in self.folds],
            "importances": dict(self.importances),
            "first_ts_open": self.first_ts_open.isoformat(),
            "last_ts_close": self.last_ts_close.isoformat(),
            "notes": list(self.notes),
        }


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with its SHA-256: one that was damaged and is still JSON has another."""
    content = {name: value for name, value in document.items() if name != "digest"}
    return content | {"digest": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """What a study's document says to the months after it."""

    shape: LstmShape
    last_ts_close: datetime
    """When the study's data ended, UTC."""
    digest: str

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """The study that a sealed ``to_document`` described.

        Raises:
            InvalidDataError: it is not what was sealed.
        """
        if not isinstance(document, dict) or document.get("digest") != sealed(document)["digest"]:
            raise InvalidDataError("the document is not the one that a study left")
        try:
            shape, ended = LstmShape.from_config(document["shape"]), datetime.fromisoformat(document["last_ts_close"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidDataError(f"the document lacks what a study leaves: {error}") from error
        if ended.tzinfo is None:
            raise InvalidDataError("the document does not say in which time zone its data ended")
        return cls(shape, ended, document["digest"])
