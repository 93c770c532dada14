"""What a page of published regimes shows: the rows of a span, their bars and the label shown at each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.flicker import held_states


@dataclass(frozen=True, slots=True)
class RegimeRows:
    """Published rows of one span, with one number of regimes throughout."""

    timeframe: Timeframe
    bars: pd.DataFrame
    """Those that have a row."""
    regimes: pd.DataFrame
    names: tuple[str, ...]
    """Volatility regimes by index, calmest first; also those that never came. Two by a slash where months differ."""
    probabilities: NDArray[np.float64]
    """Filtered, (T, K), as published."""
    held: NDArray[np.intp]
    """The label shown at each row, as published: known at its ts_close, steadier than the most probable state."""
    computed: int
    """Rows that were published without a label; theirs is held by ``label_threshold``."""


def regime_rows(
    bars: pd.DataFrame, regimes: pd.DataFrame, timeframe: Timeframe, *, label_threshold: float
) -> RegimeRows:
    """The rows of a page; ``label_threshold`` is for those of them that were published without a label.

    Raises:
        UsageError: the number of regimes changes within ``regimes``.
    """
    from tradecore_pipeline.models.direction import equal_rows, legend_names  # noqa: PLC0415 (hmmlearn takes a second)

    states = [len(probabilities) for probabilities in regimes["filtered_probability"]]
    for moment, count in zip(regimes.index, states, strict=True):
        if count != states[0]:
            raise UsageError(
                f"there are {states[0]} regimes before {moment:%Y-%m-%d} and {count} from then on (hmm_states was "
                "changed): report the time before and after apart"
            )
    probabilities = np.vstack(regimes["filtered_probability"].to_list())
    published = regimes["held_index"].to_numpy(dtype=np.float64, na_value=np.nan)
    absent = np.isnan(published)
    return RegimeRows(
        timeframe=timeframe,
        bars=bars.loc[bars.index.isin(regimes.index)],
        regimes=regimes,
        names=legend_names(equal_rows(regimes["volatility_regime"].to_numpy()), states=states[0]),
        probabilities=probabilities,
        held=np.where(absent, held_states(probabilities, label_threshold), published).astype(np.intp),
        computed=int(absent.sum()),
    )
