"""The default family: states are levels of volatility that last, net of what the last bars carry on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.emissions import Fitted, Start
from tradecore_pipeline.models.equal_states import EqualStatesHMM, are_equal, deciding_nats, equal_if_as_likely
from tradecore_pipeline.models.hmm_fits import COLD_CHECKS, run_lengths, set_chain, stationary
from tradecore_pipeline.models.inputs import RETURN_VARIANCE
from tradecore_pipeline.models.observations import VarianceScaling
from tradecore_pipeline.models.restarts import (
    MINIMUM_OCCUPANCY,
    best_of_restarts,
    cold_gain,
    dead_state,
    finish,
    require_rows,
    seeds_of,
    sticky_transitions,
)
from tradecore_pipeline.models.return_variance_hmm import ReturnVarianceHMM, scaled
from tradecore_pipeline.models.return_variance_kernels import JointParameters, joint_log_likelihood
from tradecore_pipeline.models.return_variance_step import AnchorPrior
from tradecore_pipeline.models.returns import next_open
from tradecore_pipeline.models.seasonality import SeasonalScale

_ANCHOR_WEIGHT = 0.125
"""The anchor counts like so much of the window again: enough that a state means the same from month to month, too
little to cost its density (docs/regimes.md has the measurement)."""
_EQUAL_ANCHOR_WEIGHT = 0.5
"""The same where states differ by their means alone: a window says so little of those that more of the anchor gains."""
_RETURN_START_EVERY = 4
"""One start in so many groups bars by their return, so that states which differ only in mean are found."""


@dataclass(frozen=True, slots=True)
class ReturnVarianceEmission:
    """Return and realized variance of a bar, jointly, on the scale that earlier bars carry over."""

    scaling: VarianceScaling
    parameters: JointParameters
    carry: Floats
    """(J,): how much of each carried log variance goes on into the next bar's."""

    @property
    def kind(self) -> str:
        return RETURN_VARIANCE

    @property
    def features(self) -> tuple[str, ...]:
        return ()

    @property
    def equal_scales(self) -> bool:
        return are_equal(self.parameters)

    @property
    def state_scales(self) -> Floats:
        """The realized variance's geometric mean: unlike its level it compares states whose tails differ."""
        nu, n = self.parameters.dfs, self.parameters.variance_dfs
        return self.parameters.variance_levels * np.exp(_log_mean(n) - _log_mean(nu))

    def log_likelihood(self, bars: pd.DataFrame, columns: pd.DataFrame | None, *, timeframe: Timeframe) -> Floats:  # noqa: ARG002 (the interface's)
        """See ``Emission``; a bar without a return (the first, or after a gap) still shows its variance."""
        rows = scaled(self.scaling.observe(bars, timeframe), self.carry)
        return joint_log_likelihood(*rows, self.parameters)[0]

    def next_return(self, bars: pd.DataFrame, *, timeframe: Timeframe) -> tuple[Floats, Floats, Floats]:
        """See ``Emission``."""
        season = self.scaling.seasonal.at(next_open(bars, timeframe))
        scale = (season * np.exp(0.5 * self.scaling.carried_on(bars, timeframe) @ self.carry))[:, None]
        dfs = np.tile(self.parameters.dfs, (len(bars), 1))
        return scale * self.parameters.means, scale * self.parameters.return_scales, dfs

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """See ``Emission``."""
        return type(self)(self.scaling, JointParameters(*(part[order] for part in self.parameters)), self.carry)

    def to_arrays(self) -> dict[str, Floats]:
        """See ``Emission``."""
        return self.parameters._asdict() | {"carry": self.carry} | self.scaling.to_arrays()

    def config(self) -> dict[str, Any]:
        """See ``Emission``."""
        return {"emission": self.kind, "features": [], "carry_bars": list(self.scaling.carry_bars)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The emission that ``config`` and ``to_arrays`` described."""
        parameters = JointParameters(*(np.ascontiguousarray(arrays[name]) for name in JointParameters._fields))
        scaling = VarianceScaling.from_arrays(tuple(config["carry_bars"]), arrays)
        return cls(scaling, parameters, np.ascontiguousarray(arrays["carry"]))


def fit_return_variance(
    bars: pd.DataFrame,
    *,
    timeframe: Timeframe,
    seasonal: SeasonalScale,
    states: int,
    restarts: int,
    carry_bars: tuple[int, ...],
    persistence: float,
    seed: int,
    anchor: Start | None,
) -> Fitted[ReturnVarianceEmission]:
    """The family's fit of a training window: from ``anchor`` where its states all live on, else the best start.

    ``persistence`` is the weight, as a share of the window, of a prior for states that last: without one EM may split a
    state in two that alternate from bar to bar.

    Raises:
        ModelFitError: no acceptable model came out, or the anchor carries other bars over.
    """
    scaling = VarianceScaling.fit(bars, seasonal=seasonal, carry_bars=carry_bars, timeframe=timeframe)
    rows = scaling.observe(bars, timeframe)
    whole = np.asarray(np.isfinite(rows).all(axis=1), dtype=np.bool_)
    X, lengths = rows[whole], run_lengths(whole)
    require_rows(X, states=states)
    lasting = 1 + persistence * len(X) / states * sticky_transitions(states)

    def defect(model: ReturnVarianceHMM) -> str:
        return dead_state(model.occupancy(X, lengths), minimum=MINIMUM_OCCUPANCY)

    def fresh(count: int) -> ReturnVarianceHMM:
        starts = _starts(states, count, seed, lasting)
        best = best_of_restarts(starts.__getitem__, X, lengths, seeds=list(starts), defect=defect)
        return equal_if_as_likely(best, lambda: equal(count), X, lengths)

    def equal(count: int) -> EqualStatesHMM:
        return best_of_restarts(
            lambda start: EqualStatesHMM(states, random_state=start, start="return", transmat_prior=lasting),
            X,
            lengths,
            seeds=seeds_of(seed, count),
            defect=defect,
        )

    if anchor is not None:
        model = _from_anchor(anchor, scaling, rows=len(X), lasting=lasting)
        if not finish(model, X, lengths, defect=defect):
            gain = cold_gain(model, lambda: fresh(COLD_CHECKS), X, lengths)
            if not (isinstance(model, EqualStatesHMM) and gain > deciding_nats(states)):
                return _fitted(model, scaling, cold_gain=gain, anchored=True)
    return _fitted(fresh(restarts), scaling, cold_gain=np.nan, anchored=False)


def _starts(states: int, count: int, seed: int, lasting: Floats) -> dict[int, ReturnVarianceHMM]:
    """Models that have not begun, by the seed they begin from."""
    return {
        start: ReturnVarianceHMM(
            states,
            random_state=start,
            start="return" if number % _RETURN_START_EVERY == _RETURN_START_EVERY - 1 else "size",
            transmat_prior=lasting,
        )
        for number, start in enumerate(seeds_of(seed, count))
    }


def _from_anchor(anchor: Start, scaling: VarianceScaling, *, rows: int, lasting: Floats) -> ReturnVarianceHMM:
    """The anchor's states, moved to what this window calls a usual level, with a prior that holds them there."""
    emission = anchor.emission
    if not isinstance(emission, ReturnVarianceEmission) or emission.scaling.carry_bars != scaling.carry_bars:
        raise ModelFitError("the anchor is of another family or carries other bars over: fit it with these settings")
    shift = np.exp((scaling.centre - emission.scaling.centre) @ emission.carry)
    parameters = emission.parameters._replace(
        means=emission.parameters.means * np.sqrt(shift),
        return_scales=emission.parameters.return_scales * np.sqrt(shift),
        variance_levels=emission.parameters.variance_levels * shift,
    )
    states, equal = len(parameters.means), are_equal(parameters)
    weight = (_EQUAL_ANCHOR_WEIGHT if equal else _ANCHOR_WEIGHT) * rows * stationary(anchor.transmat)
    model = (EqualStatesHMM if equal else ReturnVarianceHMM)(
        states,
        prior=AnchorPrior.of(parameters, weight),
        transmat_prior=lasting + weight[:, None] * anchor.transmat,
        init_params="",
    )
    set_chain(model, anchor.transmat)
    model.set_emission(parameters, emission.carry)
    return model


def _fitted(
    model: ReturnVarianceHMM, scaling: VarianceScaling, *, cold_gain: float, anchored: bool
) -> Fitted[ReturnVarianceEmission]:
    emission = ReturnVarianceEmission(scaling, model.parameters, model.carry_)
    return Fitted(emission, model.transmat_, float(cold_gain), anchored)


def _log_mean(degrees: Floats) -> Floats:
    """Mean logarithm of a chi-squared variable over its degrees of freedom."""
    return digamma(degrees / 2) - np.log(degrees / 2)
