"""What a regime model says of the next return: its states' densities, calibrated on returns and given a longer memory.

EM fits states to realized variances above all, which are far more exact than returns; how far a return strays from
what they lead to expect, and what last week says beside the states, is for the returns to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, Floats, StudentMixture, student_t_log_density
from tradecore_pipeline.models.har import horizon_bars
from tradecore_pipeline.models.observations import VarianceScaling
from tradecore_pipeline.models.return_variance_kernels import JointParameters, joint_log_likelihood, sums
from tradecore_pipeline.models.return_variance_step import newton_step, own_directions
from tradecore_pipeline.models.returns import next_open, next_percent_returns

_LEAST_ROWS = 200
"""Returns with a full memory behind them that a calibration takes; with fewer the states' own densities stand."""
_ITERATIONS, _HALVINGS = 100, 8
_TOLERANCE = 1e-3
"""Nats of the whole window: the memory's fit stops where a step gains less."""
_INITIAL_DF = 8.0
_PREFIX = "density_"


class Calibration(NamedTuple):
    """Season apart, in state k: log scale = ``level`` + ``states`` . its own log scale + ``memory`` . the memory's.

    The season is left as it is: where it is noise, the window that it was fitted on would have more of it.
    """

    level: float
    states: float
    memory: float
    log_tails: float
    """Log of what each state's degrees of freedom are multiplied by."""
    means: float
    """Share of each state's mean that is believed, in [0, 1]."""


_UNCHANGED = Calibration(level=0.0, states=1.0, memory=0.0, log_tails=0.0, means=1.0)


@dataclass(frozen=True, slots=True)
class RegimeDensity:
    """A fitted calibration: five numbers, and the memory they weigh against the states."""

    scaling: VarianceScaling
    carry: Floats
    """(J,): how much of the log variance over each of the memory's horizons goes on into the next bar's."""
    calibration: Calibration

    def of(self, states: StudentMixture, bars: pd.DataFrame, *, timeframe: Timeframe) -> StudentMixture:
        """The density of the bar after each one, known at ts_close, from what the states alone say of it.

        Bars that have less behind them than the longest horizon remember what there is.
        """
        season, memory = _season_and_memory(self.scaling, self.carry, bars, timeframe)
        located, log_scales, dfs = _calibrated(self.calibration, states, np.log(states.scales) - season, memory)
        return StudentMixture(states.weights, located, np.exp(season + log_scales), dfs)

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        own = {"carry": self.carry, "calibration": np.array(self.calibration)} | self.scaling.to_arrays()
        return {_PREFIX + name: value for name, value in own.items()}

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file."""
        return {"carry_bars": list(self.scaling.carry_bars)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The density that ``config`` and ``to_arrays`` described."""
        own = {name.removeprefix(_PREFIX): value for name, value in arrays.items() if name.startswith(_PREFIX)}
        scaling = VarianceScaling.from_arrays(tuple(config["carry_bars"]), own)
        return cls(scaling, np.ascontiguousarray(own["carry"]), Calibration(*own["calibration"].tolist()))


def fit_regime_density(
    states: StudentMixture, bars: pd.DataFrame, *, timeframe: Timeframe, scaling: VarianceScaling
) -> RegimeDensity | None:
    """The calibration of a training window, of greatest likelihood; None where the window is too short for one.

    Args:
        states: what the states alone say of the bar after each one, from filtered probabilities.
        bars: the window; labels are next returns inside it only.
        timeframe: the length of the bars.
        scaling: the states' own: its season, and what it carries over is remembered beside HAR's horizons.

    Raises:
        ModelFitError: the memory or the calibration did not converge; the states' own densities are to stand.
    """
    labels = next_percent_returns(bars, timeframe)
    horizons = tuple(sorted({*scaling.carry_bars, *horizon_bars(timeframe)}))
    rows = np.asarray(np.isfinite(labels) & (np.arange(len(bars)) >= horizons[-1] - 1), dtype=np.bool_)
    if np.count_nonzero(rows) < _LEAST_ROWS:
        return None
    longer = VarianceScaling.fit(bars, seasonal=scaling.seasonal, carry_bars=horizons, timeframe=timeframe)
    seen = longer.observe(bars, timeframe)
    carry = _fit_carry(seen[np.isfinite(seen).all(axis=1)])
    season, memory = _season_and_memory(longer, carry, bars, timeframe)
    return RegimeDensity(longer, carry, calibrate(states.rows(rows), season[rows], memory[rows], labels[rows]))


def _season_and_memory(
    scaling: VarianceScaling, carry: Floats, bars: pd.DataFrame, timeframe: Timeframe
) -> tuple[Floats, Floats]:
    """Log scales of the next bar, (T, 1) each: its hour's, and up to a constant what the bars before it leave."""
    season = scaling.seasonal.log_at(next_open(bars, timeframe))
    # Not a product of matrices: its last bits change with how many bars follow.
    memory = 0.5 * (scaling.carried_on(bars, timeframe) * carry).sum(axis=1)
    return season[:, None], memory[:, None]


def _fit_carry(X: Floats) -> Floats:
    """What carries over in the joint density of return and variance without any states, by Newton's method."""
    from tradecore_pipeline.models.return_variance_hmm import scaled, window_floors  # noqa: PLC0415 (hmmlearn)

    floors, carried, weights = window_floors(X), np.ascontiguousarray(X[:, 2:]), np.ones((len(X), 1))
    directions = own_directions(1, carried.shape[1])

    def score(parameters: JointParameters, carry: Floats) -> float:
        return float(joint_log_likelihood(*scaled(X, carry), parameters)[0].sum())

    found = (_start(X), np.zeros(carried.shape[1]))
    reached = score(*found)
    for _ in range(_ITERATIONS):
        parameters, carry = found
        returns, variances, log_scale = scaled(X, carry)
        logs = joint_log_likelihood(returns, variances, log_scale, parameters)[1]
        moments, levels, rows = sums(returns, variances, carried, weights, logs, parameters)
        curvature = (carried * rows[:, None]).T @ carried
        step = newton_step(
            parameters, carry, basis=directions, moments=moments, levels=levels, curvature=curvature, floors=floors,
            prior=None,
        )  # fmt: skip
        least = reached + _TOLERANCE
        better = (one for halving in range(_HALVINGS) if score(*(one := step.taken(0.5**halving))) > least)
        found = next(better, found)
        if found[1] is carry:
            break
        reached = score(*found)
    else:
        raise ModelFitError(f"the memory of its density did not settle in {_ITERATIONS} steps")
    if not np.isfinite(reached):
        raise ModelFitError("the memory of its density has no finite likelihood")
    return found[1]


def _start(X: Floats) -> JointParameters:
    size, level = np.median(np.abs(X[:, 0])), np.median(X[:, 1])
    return JointParameters(*(np.array([value]) for value in (0.0, size, level, _INITIAL_DF, _INITIAL_DF)))


def _calibrated(
    calibration: Calibration, states: StudentMixture, log_scales: Floats, memory: Floats
) -> tuple[Floats, Floats, Floats]:
    """Locations, log scales apart from the season and degrees of freedom (T, K)."""
    level, own, remembered, log_tails, means = calibration
    dfs = np.clip(states.dfs * np.exp(log_tails), DF_FLOOR, DF_CAP)
    return means * states.locations, level + own * log_scales + remembered * memory, dfs


def calibrate(states: StudentMixture, season: Floats, memory: Floats, labels: Floats) -> Calibration:
    """The calibration of greatest likelihood; no part may count less than nothing, or means more than they are.

    Raises:
        ModelFitError: the optimiser found no finite optimum.
    """
    log_scales = np.log(states.scales) - season
    # Centred, level and slopes hardly depend on each other, which the optimiser likes.
    centre, usual = float(log_scales.mean()), float(memory.mean())
    design = (log_scales - centre, memory - usual)

    def objective(packed: Floats) -> tuple[float, Floats]:
        return negative_mean_score(Calibration(*packed.tolist()), states, season, *design, labels)

    start = np.array(_UNCHANGED._replace(level=centre))
    bounds = [
        (None, None),
        (0.0, None),
        (0.0, None),
        (np.log(DF_FLOOR / DF_CAP), np.log(DF_CAP / DF_FLOOR)),
        (0.0, 1.0),
    ]
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 200, "ftol": 1e-12, "gtol": 1e-7},
    )  # fmt: skip
    if not (found.success and np.isfinite(found.fun) and np.isfinite(found.x).all()):
        raise ModelFitError(f"the calibration of its density found no optimum ({found.message})")
    best = Calibration(*(float(value) for value in found.x))
    return best._replace(level=best.level - best.states * centre - best.memory * usual)


def negative_mean_score(
    calibration: Calibration,
    states: StudentMixture,
    season: Floats,
    log_scales: Floats,
    memory: Floats,
    labels: Floats,
) -> tuple[float, Floats]:
    """Minus the mean log density of ``labels`` and its gradient."""
    located, logs, nu = _calibrated(calibration, states, log_scales, memory)
    scale = np.exp(season + logs)
    z = (labels[:, None] - located) / scale
    ratio = z * z / nu
    with np.errstate(divide="ignore"):  # a state that cannot be has the log weight -inf
        terms = np.log(states.weights) + student_t_log_density(labels[:, None], located, scale, nu)
    density = np.logaddexp.reduce(terms, axis=1)
    share = np.exp(terms - density[:, None])
    pull = (nu + 1) * ratio / (1 + ratio)
    by_scale = share * (pull - 1)
    by_tails = 0.5 * nu * (digamma((nu + 1) / 2) - digamma(nu / 2) - 1 / nu - np.log1p(ratio) + pull / nu)
    inside: NDArray[np.bool_] = np.asarray((nu > DF_FLOOR) & (nu < DF_CAP), dtype=np.bool_)
    by_location = (nu + 1) * z / (nu * (1 + ratio)) / scale * states.locations
    gradient = np.array(
        [
            by_scale.sum(),
            np.vdot(by_scale, log_scales),
            by_scale.sum(axis=1) @ memory[:, 0],
            (share * by_tails * inside).sum(),
            np.vdot(share, by_location),
        ]
    )
    return -float(density.mean()), -gradient / len(labels)
