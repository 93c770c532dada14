"""A forecast of its own: realized variance carried over HAR's horizons, with states for what they do not foresee.

The states of this fit are short shocks, not regimes: nothing is labelled by them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import horizon_bars
from tradecore_pipeline.models.hmm_fits import stationary
from tradecore_pipeline.models.kernels import forward_filter
from tradecore_pipeline.models.return_variance import ReturnVarianceEmission, fit_return_variance
from tradecore_pipeline.models.seasonality import SeasonalScale


@dataclass(frozen=True, slots=True)
class SwitchingHar:
    """A fitted switching HAR: K joint densities of return and variance on a scale that HAR's horizons carry."""

    timeframe: Timeframe
    emission: ReturnVarianceEmission
    transmat: Floats

    def forecast(self, bars: pd.DataFrame) -> StudentMixture:
        """Density in percent of the bar after each one, known at ts_close; ``bars`` need a week before the first use.

        Rows without a full longest horizon before them are NaN.
        """
        likelihood = self.emission.log_likelihood(bars, None, timeframe=self.timeframe)
        filtered, _ = forward_filter(stationary(self.transmat), self.transmat, likelihood)
        full = np.arange(1, len(bars) + 1) >= max(self.emission.scaling.carry_bars)
        known = np.where(full, 1.0, np.nan)[:, None]
        parts = (filtered @ self.transmat, *self.emission.next_return(bars, timeframe=self.timeframe))
        return StudentMixture(*(known * part for part in parts))

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        return {"transmat": self.transmat} | self.emission.to_arrays()

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file."""
        return {"timeframe": self.timeframe.name, "states": len(self.transmat)} | self.emission.config()

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The model that ``config`` and ``to_arrays`` described."""
        emission = ReturnVarianceEmission.from_parts(config, arrays)
        return cls(Timeframe.parse(config["timeframe"]), emission, np.ascontiguousarray(arrays["transmat"]))


def fit_switching_har(
    bars: pd.DataFrame, *, timeframe: Timeframe, seasonal: SeasonalScale, states: int, restarts: int, seed: int
) -> SwitchingHar:
    """The switching HAR of a training window; nothing outside ``bars`` is read.

    Args:
        bars: the window, indexed by ts_open.
        timeframe: the length of the bars.
        seasonal: the window's own.
        states: two, or three, which is as good and slower.
        restarts: seeded starts of EM.
        seed: of the starts.

    Raises:
        ModelFitError: no acceptable model came out; the message says why.
    """
    fitted = fit_return_variance(
        bars,
        timeframe=timeframe,
        seasonal=seasonal,
        states=states,
        restarts=restarts,
        carry_bars=horizon_bars(timeframe),
        persistence=0.0,
        seed=seed,
        anchor=None,
    )
    return SwitchingHar(timeframe, fitted.emission, fitted.transmat)
