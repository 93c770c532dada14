"""What a strategy reads of one instrument: rows that were known when their bar closed, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.time import Timeframe

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_STATE = -1
_BAR_COLUMNS = ("ts_close", "open", "high", "low", "close", "volume")
_PER_BAR = ("held", "regime", "direction_significant", "trend", "forecast", "volatility", "funding_rate")
_BULL, _BEAR = "Bull", "Bear"


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument's bars with what was published for each, N rows; row t was known at ``ts_close`` of bar t.

    Rows that no model covers have NaN and ``NO_STATE``: nothing is traded on them.
    """

    instrument: str
    timeframe: Timeframe
    bars: pd.DataFrame
    """Indexed by ``ts_open`` (UTC): ``ts_close``, prices in quote units and ``volume`` in coins."""
    probabilities: Floats
    """Filtered probabilities (N, K) of the states in order of scale."""
    held: Integers
    """The state that is shown and traded (``held_index``), or ``NO_STATE``."""
    regime: npt.NDArray[np.str_]
    """That state's name by mean return (Bear, Chop, Bull ...), empty where there is none."""
    direction_significant: Flags
    """Whether the states' means differed out-of-sample before the month."""
    trend: Integers
    """Sign of the 30-day return, 0 without so much history."""
    forecast: Floats
    """Mean of the next bar's log return."""
    volatility: Floats
    """Standard deviation of the same."""
    funding_rate: Floats
    """The newest rate settled by ``ts_close``, a fraction; NaN for spot."""
    higher: Mapping[Timeframe, "Market"] = field(default_factory=dict)
    """Other timeframes' rows, already joined to these bars: row t is the newest bar closed by ``ts_close`` of bar t."""
    consensus: Floats | None = None
    """Share of the ensemble's weight whose forecast has the sign of ``forecast``; None for one model."""
    equal_scales: Flags | None = None
    """Whether a bar's states are equal in volatility, which no name by volatility is for; None where none are."""

    def __post_init__(self) -> None:
        """Refuses frames that do not fit together.

        Raises:
            InvalidDataError: a column is missing, or a row count differs.
        """
        missing = [name for name in _BAR_COLUMNS if name not in self.bars]
        if missing:
            raise InvalidDataError(f"{self.instrument}: bars lack {', '.join(missing)}")
        for name in _PER_BAR:
            if len(getattr(self, name)) != len(self.bars):
                raise InvalidDataError(f"{self.instrument}: {name} does not have one value per bar")
        if self.probabilities.ndim != 2 or len(self.probabilities) != len(self.bars):
            raise InvalidDataError(f"{self.instrument}: probabilities must be one row per bar and one column per state")
        if len(self) and not NO_STATE <= self.held.min() <= self.held.max() < self.probabilities.shape[1]:
            raise InvalidDataError(f"{self.instrument}: a held state is none of {self.probabilities.shape[1]} states")

    def __len__(self) -> int:
        """How many bars there are."""
        return len(self.bars)

    def rows(self, first: int, last: int) -> Self:
        """Bars ``first`` up to, not including, ``last``."""
        part = slice(first, last)
        return type(self)(
            self.instrument,
            self.timeframe,
            self.bars.iloc[part],
            self.probabilities[part],
            **{name: getattr(self, name)[part] for name in _PER_BAR},
            higher={timeframe: other.rows(first, last) for timeframe, other in self.higher.items()},
            consensus=None if self.consensus is None else self.consensus[part],
            equal_scales=None if self.equal_scales is None else self.equal_scales[part],
        )

    @property
    def known(self) -> Flags:
        """Bars that a model covers: a state is held, and there is a forecast with a deviation above 0."""
        told = np.isfinite(self.forecast) & np.isfinite(self.volatility) & (self.volatility > 0)
        return (self.held != NO_STATE) & told

    @property
    def confidence(self) -> Floats:
        """Filtered probability of the held state, 0 where there is none."""
        found = np.zeros(len(self))
        for state, column in enumerate(self.probabilities.T):
            found = np.where((self.held == state) & np.isfinite(column), column, found)
        return found

    @property
    def states(self) -> Integers:
        """How many states each bar's model has, 0 where there is none."""
        found = np.zeros(len(self), dtype=np.int64)
        for column in self.probabilities.T:
            found += np.isfinite(column)
        return found

    @property
    def equal_states(self) -> Flags:
        """``equal_scales``, false where there is nothing."""
        return np.zeros(len(self), dtype=np.bool_) if self.equal_scales is None else self.equal_scales

    @property
    def direction(self) -> Integers:
        """Sign of the held state's name: Bear -1, Chop 0, Bull 1."""
        return np.char.endswith(self.regime, _BULL).astype(np.int64) - np.char.endswith(self.regime, _BEAR)

    @property
    def quote_volume(self) -> Floats:
        """Volume of each bar in quote units."""
        return self.column("volume") * self.column("close")

    def column(self, name: str) -> Floats:
        """A column of the bars as doubles."""
        return self.bars[name].to_numpy(dtype=np.float64)
