"""The causal filter one bar at a time, and its state, kept between processes as JSON."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from tradecore_pipeline.domain.errors import FilterStateError, InvalidDataError, UsageError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.rows import step


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
        probabilities: (K,) after the last bar; ``startprob`` before the first.
        bars: bars seen.
    """

    startprob: Floats
    transmat: Floats
    model_id: str
    probabilities: Floats = field(init=False)
    bars: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        states = len(np.atleast_1d(self.startprob))
        self.startprob = _numbers(self.startprob, (states,), "startprob")
        self.transmat = _numbers(self.transmat, (states, states), "transmat")
        self.probabilities = self.startprob.copy()

    def update_from(self, log_likelihood: Floats) -> Floats:
        """Filtered probabilities (K,), known at this bar's ts_close, given its log density in each state (K,).

        A bar with a NaN there moves by the transitions alone.

        Raises:
            UsageError: these are not K numbers; the filter stays where it was, as it does with the next one.
            InvalidDataError: one is plus infinity, which no density is.
        """
        row = log_likelihood
        if type(row) is not np.ndarray or row.dtype != np.float64 or row.shape != self.startprob.shape:
            row = _numbers(row, self.startprob.shape, "the log densities of a bar")
        if step(self.probabilities, self.transmat, row, self.bars > 0) == math.inf:
            raise InvalidDataError("a bar's log density is infinite: look for an impossible value in it")
        self.bars += 1
        return self.probabilities.copy()

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
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
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


def _numbers(given: Any, shape: tuple[int, ...], what: str) -> Floats:
    """``given`` as float64 of ``shape``, which compiled code takes on trust."""
    try:
        values = np.asarray(given)
    except ValueError:  # lists of different lengths
        values = np.asarray(None)
    if values.dtype.kind not in "fiu" or values.shape != shape:
        size = " x ".join(map(str, shape))
        raise UsageError(f"{what}: give {size} numbers, not a {type(given).__name__} of shape {values.shape}")
    return np.ascontiguousarray(values, dtype=np.float64)
