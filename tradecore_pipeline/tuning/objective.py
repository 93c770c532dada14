"""What a choice of indicator lengths is worth: how well it foretells the next bar out-of-fold, by one of three errors.

The error of log |return| and the log score ask for the size of the move, which indicators know something about; the
direction is there to be compared with them.
"""

from datetime import datetime
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from tradecore_pipeline.domain.errors import NotEnoughHistoryError, UsageError
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.tuned import IndicatorParameters, tuned_settled_bars
from tradecore_pipeline.tuning.inputs import Inputs
from tradecore_pipeline.validation.walk_forward import walk_forward_folds

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

ObjectiveName = Literal["log_absolute_return", "log_score", "direction"]
OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
DEFAULT_OBJECTIVE: ObjectiveName = "log_absolute_return"
UNITS: dict[ObjectiveName, str] = {
    "log_absolute_return": "squared error of log |return|",
    "log_score": "minus the log density in nats, returns in percent",
    "direction": "squared error of the return's sign",
}
"""What each objective measures of a bar; smaller is better for all."""

RIDGE_PENALTY = 0.01
"""Per row, on standardized columns: enough to hold HAR terms that are nearly one another, little else."""
_FLOOR_SHARE = 0.1
"""Moves are taken to be at least this share of the median one: below it a log says more about ticks than about risk."""
_LEAST_MOVE = 1e-6
"""Percent: where most bars do not move at all."""
_LEAST_ROWS_PER_FOLD = 30
_DEGREES = (3.0, 4.0, 5.0, 7.0, 10.0, 20.0)
"""Degrees of freedom that the log score's Student-t is chosen from."""
_SCALE_STEPS = 12
_MOST_LOG_SCALE = 30.0
"""No move has a scale beyond: a ridge outside what it was fitted on may say anything."""


def parse_objective(text: str) -> ObjectiveName:
    """The objective called ``text``.

    Raises:
        UsageError: there is no such objective.
    """
    for name in OBJECTIVES:
        if name == text:
            return name
    raise UsageError(f"unknown tuning objective {text!r}: choose from {', '.join(OBJECTIVES)}")


class Objective:
    """Mean out-of-fold error of the next bar for any choice of lengths, over the same rows and folds for all of them.

    Each fold is tested by a ridge on HAR terms and tuned columns that was fitted on rows before it, less the last
    ``purge_bars``, whose labels overlap the fold's first.

    Raises:
        NotEnoughHistoryError: too few rows have a full warm-up.
    """

    def __init__(self, inputs: Inputs, *, name: ObjectiveName, folds: int, purge_bars: int) -> None:
        rows, least = inputs.next_returns.size, _LEAST_ROWS_PER_FOLD * (folds + 1)
        if rows < least:
            raise NotEnoughHistoryError(
                f"tuning needs at least {least} bars with a full warm-up of {tuned_settled_bars()} bars in its window; "
                f"there are {rows}: wait for more history or lengthen the training window"
            )
        self._inputs = inputs
        self.name: ObjectiveName = name
        self._moves = log_moves(inputs.next_returns, known=np.arange(rows))
        self._folds = walk_forward_folds(rows, folds, purge_bars=purge_bars)

    def __call__(self, parameters: IndicatorParameters) -> float:
        """The mean error; smaller is better."""
        return float(self.errors(parameters).mean())

    def errors(self, parameters: IndicatorParameters) -> Floats:
        """The errors of all folds' tested rows, in time order."""
        matrix, returns = self._inputs.matrix(parameters), self._inputs.next_returns
        errors = [
            row_errors(self.name, matrix, returns, self._moves, train=train, test=test) for train, test in self._folds
        ]
        return np.concatenate(errors)


def objective_of(sources: Sources, *, start: datetime, name: ObjectiveName, folds: int, purge_bars: int) -> Objective:
    """The objective over the rows of ``sources`` that open at or after ``start``."""
    return Objective(Inputs(sources, start=start), name=name, folds=folds, purge_bars=purge_bars)


def log_moves(returns: Floats, *, known: Rows) -> Floats:
    """Log of each |return|, floored at a share of the median of the ``known`` rows'."""
    moves = np.abs(returns)
    return np.log(np.maximum(moves, max(_FLOOR_SHARE * float(np.median(moves[known])), _LEAST_MOVE)))


def row_errors(
    name: ObjectiveName, matrix: Floats, returns: Floats, moves: Floats, *, train: Rows, test: Rows
) -> Floats:
    """Errors on ``test`` of a ridge whose every number comes from ``train``; ``moves`` are ``log_moves``."""
    if name == "direction":
        signs = np.sign(returns)
        return (signs[test] - _ridge(matrix, signs, train)[test]) ** 2
    foretold = _ridge(matrix, moves, train)
    if name == "log_absolute_return":
        return (moves[test] - foretold[test]) ** 2
    foretold = np.clip(foretold, -_MOST_LOG_SCALE, _MOST_LOG_SCALE)
    scaled = returns / np.exp(foretold)
    return foretold[test] - _fitted_log_density(scaled[train], scaled[test])


def _ridge(matrix: Floats, target: Floats, train: Rows) -> Floats:
    """What a ridge that was fitted on ``train`` says about every row."""
    mean, deviation = matrix[train].mean(axis=0), matrix[train].std(axis=0)
    scaled = (matrix - mean) / np.where(deviation > 0, deviation, 1.0)
    known, level = scaled[train], target[train].mean()
    gram = known.T @ known + RIDGE_PENALTY * train.size * np.eye(matrix.shape[1])
    return level + scaled @ np.linalg.solve(gram, known.T @ (target[train] - level))


def _fitted_log_density(known: Floats, wanted: Floats) -> Floats:
    """Log density at ``wanted`` of the centred Student-t that is likeliest for ``known``."""
    fits = [_scale_for(known**2, degrees) for degrees in _DEGREES]
    likelihoods = [
        float(_log_density(known**2, degrees, scale2).sum()) for degrees, scale2 in zip(_DEGREES, fits, strict=True)
    ]
    best = int(np.argmax(likelihoods))
    return _log_density(wanted**2, _DEGREES[best], fits[best])


def _scale_for(squares: Floats, degrees: float) -> float:
    """The squared scale, by EM: every step weighs down what lies far out."""
    scale2 = float(np.median(squares)) or 1.0
    for _ in range(_SCALE_STEPS):
        weights = (degrees + 1) / (degrees + squares / scale2)
        scale2 = max(float((weights * squares).mean()), 1e-12)
    return scale2


def _log_density(squares: Floats, degrees: float, scale2: float) -> Floats:
    from scipy.special import gammaln  # noqa: PLC0415 (definitions must load without it)

    constant = float(gammaln((degrees + 1) / 2) - gammaln(degrees / 2)) - 0.5 * np.log(degrees * np.pi * scale2)
    return constant - (degrees + 1) / 2 * np.log1p(squares / (degrees * scale2))
