"""How the LSTM reads a table of inputs: which columns, on what scale, and what it makes of filtered probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.inputs import ONE_HOT, PER_REGIME

CLIP = 5.0
"""Standardised inputs beyond this say no more than this."""

Singles = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Reading:
    """How networks read a table of inputs; everything else about it is fitted."""

    columns: tuple[str, ...]
    """What they read, filtered probabilities included."""
    states: tuple[str, ...]
    """Those of ``columns`` that are filtered probabilities."""
    regimes: str
    """What is made of these: a word of ``LSTM_REGIMES``."""

    @property
    def gated(self) -> bool:
        """Whether each state has a head of its own."""
        return self.regimes == PER_REGIME and bool(self.states)

    @property
    def heads(self) -> int:
        """How many corrections a network makes, of which the gates make one."""
        return len(self.states) if self.gated else 1

    @property
    def inputs(self) -> int:
        """How many inputs the LSTM has; where each state has a head, the probabilities choose among heads only."""
        return len(self.columns) - (len(self.states) if self.gated else 0)

    @property
    def direct(self) -> tuple[int, ...]:
        """Which inputs say what state the market is in: none where the heads do."""
        return () if self.gated else tuple(self.columns.index(name) for name in self.states)

    def table(self, frame: pd.DataFrame) -> Floats:
        """The columns (T, n) of ``frame`` that are read.

        Raises:
            MissingInputError: ``frame`` lacks a column.
        """
        if missing := [name for name in self.columns if name not in frame]:
            raise MissingInputError(f"the LSTM was trained with {', '.join(missing)}: compute these inputs too")
        return frame[list(self.columns)].to_numpy(dtype=np.float64)

    def split(self, table: Floats) -> tuple[Floats, Floats]:
        """Inputs (T, n), not yet standardised, and gates (T, heads), which sum to 1; rows do not know of each other."""
        if not self.states or self.regimes not in (ONE_HOT, PER_REGIME):
            return table, np.ones((len(table), 1))
        chosen = np.isin(self.columns, self.states)
        if self.gated:
            return table[:, ~chosen], _shares(table[:, chosen])
        read = table.copy()
        read[:, chosen] = _most_probable(table[:, chosen])
        return read, np.ones((len(table), 1))


def reading_of(inputs: pd.DataFrame, *, filtered: Sequence[str], regimes: str) -> Reading:
    """How networks will read ``inputs``, of which those called ``filtered`` are filtered probabilities."""
    columns = tuple(str(name) for name in inputs.columns)
    return Reading(columns, tuple(name for name in columns if name in set(filtered)), regimes)


def standardise(values: Floats, centre: Floats, spread: Floats) -> Singles:
    """Inputs in units of the training window, clipped; a missing value counts as average."""
    scaled = (values - centre) / spread
    scaled[np.isnan(scaled)] = 0.0
    return np.minimum(np.maximum(scaled, -CLIP), CLIP).astype(np.float32)


def _shares(probabilities: Floats) -> Floats:
    """Alike where they are missing: then no state is known to be the one."""
    whole = np.isfinite(probabilities).all(axis=1, keepdims=True)
    return np.where(whole, probabilities, 1 / probabilities.shape[1])


def _most_probable(probabilities: Floats) -> Floats:
    whole = np.isfinite(probabilities).all(axis=1, keepdims=True)
    most = np.nan_to_num(probabilities, nan=-1.0).argmax(axis=1)
    return np.where(whole, np.eye(probabilities.shape[1])[most], np.nan)
