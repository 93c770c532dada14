"""The LSTM's shape: everything about the networks and their training that a study may choose, in plain values."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tradecore_pipeline.domain.errors import InvalidDataError, ModelFitError

SHIFT_BOUND, LOG_SCALE_BOUND = 0.25, 0.5
"""Corrections stay inside this many scales, and this change of log scale: a crash lies outside what was learned."""
LEAST_CHUNK_BARS = 8
"""A quarter of a chunk is burn-in; shorter ones leave the memory nothing to build on."""
MOST_WINDOWS = 8
"""Training windows in a row; what lies further back is another market."""


@dataclass(frozen=True, slots=True)
class LstmShape:
    """One shape; a month's model keeps the one that it was trained with."""

    chunk_bars: int
    """Bars in a row that a network is trained on at once; the first quarter fills its memory and is not scored."""
    hidden: int
    """Width of each layer's hidden state."""
    layers: int
    """LSTM layers on top of each other."""
    dropout: float
    """Share of inputs and hidden values left out at random in training, 0 or more and below 1."""
    learning_rate: float
    """Of AdamW."""
    windows: int
    """How many of the month's training windows in a row the networks learn from: 1, 2, 4 = 6, 12, 24 months at 1h."""

    def __post_init__(self) -> None:
        """Refuse what no network can be trained with.

        Raises:
            ModelFitError: a value is impossible; the message names it.
        """
        least = {"chunk_bars": LEAST_CHUNK_BARS, "hidden": 1, "layers": 1, "windows": 1}
        for name, floor in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < floor:
                raise ModelFitError(f"an LSTM shape with {name}={value!r} is not possible: give {floor} or more")
        if self.windows > MOST_WINDOWS:
            raise ModelFitError(f"an LSTM shape with windows={self.windows} is not possible: {MOST_WINDOWS} at most")
        if not 0 <= self.dropout < 1:
            raise ModelFitError(f"an LSTM shape with dropout={self.dropout!r} is not possible: give 0 or more, below 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ModelFitError(
                f"an LSTM shape with learning_rate={self.learning_rate!r} is not possible: give above 0"
            )

    @property
    def burn_in_bars(self) -> int:
        """Bars at the beginning of each chunk that fill the memory and are not scored."""
        return self.chunk_bars // 4

    def config(self) -> dict[str, int | float]:
        """Its values, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The shape that ``config`` described.

        Raises:
            InvalidDataError: a value is missing, unknown or impossible.
        """
        names = [field.name for field in fields(cls)]
        if set(config) != set(names):
            raise InvalidDataError(f"an LSTM shape has {', '.join(names)}, not {', '.join(map(str, config))}")
        try:
            return cls(**config)
        except (ModelFitError, TypeError) as error:
            raise InvalidDataError(f"a stored LSTM shape is damaged: {error}") from error


DEFAULT_SHAPE = LstmShape(chunk_bars=240, hidden=32, layers=1, dropout=0.4, learning_rate=1e-2, windows=1)
"""What is used where no study says otherwise."""
