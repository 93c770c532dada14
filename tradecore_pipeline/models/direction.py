"""The names of states, and whether the names that speak of direction have earned it out-of-sample."""

from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.bootstrap import block_length, interval, resampled_sums
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.regimes import BASIS_POINTS, RegimeChoices, RegimeModel, fit_regimes
from tradecore_pipeline.models.returns import next_percent_returns

_VOLATILITY_NAMES = {2: ("Calm", "Turbulent"), 3: ("Calm", "Normal", "Turbulent")}
_EQUAL = "Equal "
_DIRECTION_NAMES = {
    2: ("Bear", "Bull"),
    3: ("Bear", "Chop", "Bull"),
    4: ("Strong Bear", "Bear", "Bull", "Strong Bull"),
    5: ("Strong Bear", "Bear", "Chop", "Bull", "Strong Bull"),
}

_LEAST_BARS = 48
"""With fewer bars of a state, resampling them says too little, however few make a block."""


@dataclass(frozen=True, slots=True)
class DirectionEvidence:
    """Next-bar returns of the top minus the bottom state, on bars the states were not fitted on."""

    difference_bps: float
    low_bps: float
    high_bps: float
    """Its 95% interval, by block bootstrap."""
    reason: str
    """Why there is no figure (all are NaN then), else empty."""
    half_model: RegimeModel | None = None
    """What was fitted on the first half, from which the second can be forecast; None where that failed."""

    @property
    def significant(self) -> bool:
        """Whether the whole interval lies above zero."""
        return bool(self.low_bps > 0)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        figures = {"difference_bps": self.difference_bps, "low_bps": self.low_bps, "high_bps": self.high_bps}
        known = {name: value if np.isfinite(value) else None for name, value in figures.items()}
        return known | {"significant": self.significant, "reason": self.reason}

    @classmethod
    def none(cls, reason: str) -> "DirectionEvidence":
        """No figure, and why."""
        return cls(np.nan, np.nan, np.nan, reason)


def volatility_regime_names(states: int, *, equal: bool) -> tuple[str, ...]:
    """Names of states in order of scale: Calm ... Turbulent, numbered above three.

    ``equal``: they are equal in scale and in order of their means, so that their names say no level.
    """
    if equal:
        return tuple(f"{_EQUAL}{k + 1}" for k in range(states))
    return _VOLATILITY_NAMES.get(states) or tuple(f"Level {k + 1}" for k in range(states))


def state_names(model: RegimeModel) -> list[tuple[str, str]]:
    """Names of a model's states, in state order: by volatility and by mean return."""
    volatility = volatility_regime_names(model.states, equal=model.equal_scales)
    return list(zip(volatility, direction_names(model.mean_returns_bps), strict=True))


def equal_rows(published: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each of the published names by volatility is that of a state of equal volatility."""
    return np.char.startswith(published.astype(np.str_), _EQUAL)


def volatility_labels(held: NDArray[np.integer[Any]], equal: NDArray[np.bool_], *, states: int) -> NDArray[np.str_]:
    """Names by volatility of the states ``held`` (N,), empty where one is negative; ``equal`` as in ``equal_rows``."""
    names = np.array([[*volatility_regime_names(states, equal=flag), ""] for flag in (False, True)])
    return names[equal.astype(np.intp), np.where(held < 0, states, held)]


def legend_names(equal: NDArray[np.bool_], *, states: int) -> tuple[str, ...]:
    """Each state's name by volatility on a page of bars; both by a slash where only some are of ``equal`` states."""
    kinds = np.unique(equal).tolist() or [False]
    each = [volatility_regime_names(states, equal=kind) for kind in kinds]
    return tuple(" / ".join(names) for names in zip(*each, strict=True))


def direction_names(mean_returns: Floats) -> tuple[str, ...]:
    """Names of states by the order of their mean returns, in state order (2 to 5 states).

    A name says which mean is lower, not that the difference is real: see ``direction_evidence``.
    """
    ranks = np.argsort(np.argsort(mean_returns, kind="stable"), kind="stable")
    names = _DIRECTION_NAMES[len(mean_returns)]
    return tuple(names[rank] for rank in ranks)


def direction_evidence(
    bars: pd.DataFrame, columns: pd.DataFrame | None = None, **choices: Unpack[RegimeChoices]
) -> DirectionEvidence:
    """Whether direction held out-of-sample inside a training window: fit on its first half, filter on its second.

    The arguments are those of ``fit_regimes``. Only ``bars`` are read, so the answer is known when the window ends.
    """
    timeframe = choices["timeframe"]
    half = len(bars) // 2
    early = None if columns is None else columns.iloc[:half]
    try:
        model = fit_regimes(bars.iloc[:half], early, **choices)
    except ModelFitError as error:
        return DirectionEvidence.none(f"no acceptable fit on the first half of the window: {error}")
    state = model.filter(bars, columns).index[half:]
    returns = next_percent_returns(bars, timeframe)[half:]
    known = ~np.isnan(returns)
    top = state[known] == model.mean_returns_bps.argmax()
    bottom = state[known] == model.mean_returns_bps.argmin()
    found = difference_of_means(
        BASIS_POINTS * returns[known], top, bottom, block_bars=block_length(timeframe), seed=choices["seed"]
    )
    return replace(found, half_model=model)


def difference_of_means(
    returns: Floats, top: np.ndarray[Any, Any], bottom: np.ndarray[Any, Any], *, block_bars: int, seed: int
) -> DirectionEvidence:
    """Mean of ``returns`` (bps) where ``top`` less where ``bottom``, with its 95% interval by block bootstrap."""
    least = max(_LEAST_BARS, block_bars)
    if top.sum() < least or bottom.sum() < least:
        return DirectionEvidence.none(f"a state held fewer than {least} bars of the second half")
    difference = float(returns[top].mean() - returns[bottom].mean())
    columns = np.column_stack((top * returns, top, bottom * returns, bottom))
    sums = resampled_sums(columns, block_bars=block_bars, seed=seed)
    # A resample without a bar of a state says nothing about it.
    whole = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]
    resampled = whole[:, 0] / whole[:, 1] - whole[:, 2] / whole[:, 3]
    low, high = interval(resampled[:, None])[0].tolist()
    return DirectionEvidence(difference, low, high, "")
