"""Indicators whose lengths are tuned month by month; computed where they are used, never stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import milliseconds
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.registry import WILDER_WARM_UP
from tradecore_pipeline.features.tuned_indicators import INDICATORS, Indicator
from tradecore_pipeline.features.windows import rows_since

Floats = npt.NDArray[np.float64]

PARAMETER_RANGES: dict[str, tuple[int, int]] = {one.parameter: (one.shortest, one.longest) for one in INDICATORS}
"""Shortest and longest length of each, both included."""


@dataclass(frozen=True, slots=True)
class IndicatorParameters:
    """The lengths, in bars, of the tuned indicators."""

    rsi_length: int
    adx_length: int
    atr_length: int
    bollinger_length: int
    volume_length: int
    volatility_length: int
    macd_length: int
    ema_length: int
    sma_length: int
    stochastic_length: int
    mfi_length: int
    obv_length: int
    cci_length: int
    williams_length: int
    funding_length: int
    open_interest_length: int

    def __post_init__(self) -> None:
        for name, length in asdict(self).items():
            low, high = PARAMETER_RANGES[name]
            if not low <= length <= high:
                raise UsageError(f"{name} is {length}: choose a length from {low} to {high} bars")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The parameters that ``to_dict`` wrote.

        Raises:
            MissingInputError: they were written when there were other indicators or ranges.
        """
        changed = sorted(set(PARAMETER_RANGES) ^ set(values))
        for name, (low, high) in PARAMETER_RANGES.items():
            if name not in changed and not low <= int(values[name]) <= high:
                changed.append(name)
        if changed:
            raise MissingInputError(
                f"the stored indicator lengths are of another version ({', '.join(changed)}): tune that month again "
                "(materialize tuning, then training, or run `tradecore train`)"
            )
        return cls(**{name: int(values[name]) for name in PARAMETER_RANGES})

    def to_dict(self) -> dict[str, int]:
        """Name to length, in a fixed order."""
        return asdict(self)


DEFAULT_PARAMETERS = IndicatorParameters(**{one.parameter: one.default for one in INDICATORS})
"""What everybody uses; every study is reported against it."""

TUNED_NAMES: tuple[str, ...] = tuple(
    name for indicator in INDICATORS if indicator.source == "bars" for name in indicator.columns
)
"""The columns of ``tuned_features``, in order; none depends on the level of price or volume."""


def tuned_warm_up_bars() -> int:
    """The bar lengths before a row that its tuned features may read, whatever the parameters."""
    return max(PARAMETER_RANGES[name][1] for name in ("rsi_length", "adx_length", "atr_length")) * WILDER_WARM_UP


def tuned_settled_bars() -> int:
    """How many bars before a row are enough for every parameter choice to have a value there."""
    return max(indicator.settled(indicator.longest) for indicator in INDICATORS)


def available_indicators(sources: Sources) -> tuple[Indicator, ...]:
    """Those whose source has rows: spot has neither funding nor open interest, and no columns of them."""
    funding, interest = sources.funding, sources.open_interest
    there = {
        "bars": True,
        "funding": funding is not None and not funding.empty,
        "open_interest": interest is not None and not interest.empty,
    }
    return tuple(indicator for indicator in INDICATORS if there[indicator.source])


def bars_before(bars: pd.DataFrame, timeframe: Timeframe) -> npt.NDArray[np.int64]:
    """How many bars exist in the tuned warm-up before each row."""
    opened = milliseconds(bars.index)
    reach = tuned_warm_up_bars() * timeframe.minutes * 60_000
    return rows_since(opened, reach)


def indicator_columns(
    sources: Sources, indicator: Indicator, *, length: int, before: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    """One indicator's columns at one length; NaN where ``before`` (``bars_before``) is less than it needs."""
    settled = before >= indicator.settled(length)
    values = indicator.compute(sources, length)
    return {name: np.where(settled, column, np.nan) for name, column in zip(indicator.columns, values, strict=True)}


def tuned_features(bars: pd.DataFrame, parameters: IndicatorParameters, *, timeframe: Timeframe) -> pd.DataFrame:
    """``TUNED_NAMES`` per bar, indexed by ``ts_open``: the columns of ``tuned_columns`` that bars alone decide."""
    return tuned_columns(Sources(bars, None, None, timeframe), parameters)


def tuned_columns(sources: Sources, parameters: IndicatorParameters) -> pd.DataFrame:
    """All tuned columns that the sources allow, by ``ts_open``, known at the bar's close, free of price's level.

    Rows that have ``tuned_warm_up_bars`` bar lengths of history equal the full history's within 1e-9; funding and open
    interest reach a day further. NaN where fewer bars exist before the row than the indicator needs (30 times its
    length for Wilder's, 13 to 15 times for exponential means), and where funding or open interest has no rows in a
    third of its window.
    """
    before = bars_before(sources.bars, sources.timeframe)
    columns: dict[str, Floats] = {}
    for indicator in available_indicators(sources):
        length = getattr(parameters, indicator.parameter)
        columns |= indicator_columns(sources, indicator, length=length, before=before)
    return pd.DataFrame(columns, index=sources.bars.index)
