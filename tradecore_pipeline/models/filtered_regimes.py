"""What a regime model's causal filter says of bars."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.models.density import Floats


@dataclass(frozen=True, slots=True)
class FilteredRegimes:
    """What the filter knows at each ts_close: nothing here depends on later bars."""

    ts_open: pd.DatetimeIndex
    probabilities: Floats
    """(T, K), in order of scale (state 0 is the calmest); rows sum to 1."""
    log_density: Floats
    """(T,), nats: of each observation given those before it."""
    observed: NDArray[np.bool_]
    """(T,), whether a bar showed the model anything (no gap, no feature without a value)."""

    @property
    def index(self) -> NDArray[np.intp]:
        """The most probable state per bar."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> Floats:
        """That state's filtered probability."""
        return self.probabilities.max(axis=1)

    @property
    def frame(self) -> pd.DataFrame:
        """The probabilities as columns ``state_0`` ..., for use as forecast inputs."""
        columns = [f"state_{k}" for k in range(self.probabilities.shape[1])]
        return pd.DataFrame(self.probabilities, index=self.ts_open, columns=columns)
