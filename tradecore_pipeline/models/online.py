"""The causal filter one bar at a time: its state, kept between processes as JSON, and the emissions it reads."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from tradecore_pipeline.domain.errors import TradecoreError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.gaussian import precision_factors
from tradecore_pipeline.models.kernels.rows import gaussian_row, step, student_t_row

RowDensities = Callable[[Floats], Floats]
"""Log densities (K,) of one observation (D,)."""


class FilterStateError(TradecoreError):
    """A saved filter state cannot be used; the message says why and what to do."""


def parameters_id(arrays: Mapping[str, Floats]) -> str:
    """Sha256 of a model's parameters: names, shapes and every bit of the values, in whatever order they are given."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name], dtype="<f8")
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


@dataclass(slots=True)
class OnlineFilter:
    """Filtered probabilities that move on with each bar, equal to ``forward_filter`` over all bars so far.

    Attributes:
        startprob: (K,), the first bar's prediction.
        transmat: (K, K).
        model_id: ``parameters_id`` of the model; a saved state belongs to one model only.
        densities: log densities of an observation, for ``update``; not needed for ``update_from``.
        probabilities: (K,) after the last bar; ``startprob`` before the first.
        bars: bars seen.
    """

    startprob: Floats
    transmat: Floats
    model_id: str
    densities: RowDensities | None = None
    probabilities: Floats = field(init=False)
    bars: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.startprob = np.ascontiguousarray(self.startprob, dtype=np.float64)
        self.transmat = np.ascontiguousarray(self.transmat, dtype=np.float64)
        self.probabilities = self.startprob.copy()

    def update(self, observation: Floats) -> Floats:
        """Filtered probabilities (K,), known at this bar's ts_close, given its observation (D,).

        A bar without a value (a NaN that the emission does not skip) moves by the transitions alone.
        """
        if self.densities is None:
            raise ValueError("this filter has no emission: give log-likelihood rows to update_from")
        return self.update_from(self.densities(observation))

    def update_from(self, log_likelihood: Floats) -> Floats:
        """The same from the observation's log density in each state (K,); a NaN there says nothing."""
        step(self.probabilities, self.transmat, log_likelihood, self.bars > 0)
        self.bars += 1
        return self.probabilities.copy()

    def predicted(self) -> Floats:
        """Probabilities (K,) of the bar to come, known at the last bar's ts_close."""
        return self.probabilities @ self.transmat if self.bars else self.startprob.copy()

    def to_json(self) -> str:
        """The state as text; every bit comes back."""
        state = {"model_id": self.model_id, "bars": self.bars, "probabilities": self.probabilities.tolist()}
        return json.dumps(state, allow_nan=False)

    def restore(self, text: str) -> Self:
        """Go on from what ``to_json`` wrote.

        Raises:
            FilterStateError: the text is no such state, or belongs to another model.
        """
        probabilities, bars = self._parsed(text)
        self.probabilities, self.bars = probabilities, bars
        return self

    def _parsed(self, text: str) -> tuple[Floats, int]:
        try:
            state: dict[str, Any] = json.loads(text)
            model_id, bars = str(state["model_id"]), int(state["bars"])
            probabilities = np.array(state["probabilities"], dtype=np.float64)
        except (ValueError, TypeError, KeyError) as error:
            raise FilterStateError(f"a saved filter state is damaged: {_ADVICE}") from error
        if model_id != self.model_id:
            raise FilterStateError(
                f"a saved filter state belongs to model {model_id[:12]}, this is model {self.model_id[:12]}: {_ADVICE}"
            )
        whole = probabilities.shape == self.startprob.shape and bars >= 0 and bool((probabilities >= 0).all())
        if not whole or not math.isclose(float(probabilities.sum()), 1.0, abs_tol=1e-9):
            raise FilterStateError(f"a saved filter state holds no {len(self.startprob)} probabilities: {_ADVICE}")
        return probabilities, bars


_ADVICE = "filter from the start of the window again"


def student_t_densities(means: Floats, scales: Floats, dfs: Floats) -> RowDensities:
    """Log densities of one observation under independent Student-t per feature (K, D); a NaN feature says nothing."""
    gammas = [math.lgamma((one + 1) / 2) - math.lgamma(one / 2) for one in dfs.ravel().tolist()]
    constants = np.reshape(gammas, dfs.shape) - 0.5 * np.log(dfs * math.pi) - np.log(scales)
    factors, exponents = 1 / (scales * np.sqrt(dfs)), (dfs + 1) / 2
    out = np.empty(len(means))

    def densities(observation: Floats) -> Floats:
        student_t_row(observation, means, factors, exponents, constants, out)
        return out

    return densities


def gaussian_densities(means: Floats, covars: Floats) -> RowDensities:
    """Log densities of one observation under each state's Gaussian, covars (K, D, D); a NaN makes all of them NaN.

    Raises:
        ModelFitError: a covariance is not positive definite; the message names the state.
    """
    factors = precision_factors(covars)
    widths = np.einsum("kii->ki", factors)
    constants = np.log(widths).sum(axis=1) - 0.5 * means.shape[1] * math.log(2 * math.pi)
    out = np.empty(len(means))

    def densities(observation: Floats) -> Floats:
        gaussian_row(observation, means, factors, constants, out)
        return out

    return densities
