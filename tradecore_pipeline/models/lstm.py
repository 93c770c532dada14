"""The LSTM: a correction to t-HAR's density (zero weights are t-HAR exactly), and the pool that is published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import THar
from tradecore_pipeline.models.lstm_corrector import Corrector, corrected
from tradecore_pipeline.models.lstm_stream import CorrectionStream
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart, pooled
from tradecore_pipeline.models.pool_members import HarFamily


@dataclass(frozen=True, slots=True)
class LstmForecast:
    """Densities in percent of the bar after each one, known at ts_close; NaN rows where t-HAR has none."""

    har: StudentMixture
    lstm: StudentMixture
    pooled: StudentMixture
    weights: pd.DataFrame
    """What the pool gave each member that takes part, by bar."""


@dataclass(frozen=True, slots=True)
class LstmForecaster:
    """A month's forecaster: t-HAR, the switching HAR and the LSTM's corrections, and how their pool begins."""

    family: HarFamily
    corrector: Corrector
    start: PoolStart
    """How the pool begins the month."""
    report: Mapping[str, float]
    """Of the fit: the epoch kept, and the mean score in nats a bar that stopped it, beside t-HAR's on the same bars."""

    @property
    def har(self) -> THar:
        """The baseline that the network corrects."""
        return self.family.har

    @property
    def weights(self) -> Mapping[str, Floats]:
        """The networks' tensors by name."""
        return self.corrector.weights

    @property
    def pool_weight(self) -> float:
        """Share of the LSTM in the pool as the month begins, 0 to 1."""
        return self.start.weights.get(NETWORK, 0.0)

    def forecast(self, bars: pd.DataFrame, inputs: pd.DataFrame) -> LstmForecast:
        """Densities of the bar after each of ``bars``, known at ts_close.

        The networks' memory starts empty at the first row and runs through all of them: with the same first row (the
        training window's start, say) a row is the same to the last bit, however many follow it. So do the pool's
        weights, which stand still inside the window.

        Args:
            bars: consecutive bars; a week before the first row that matters.
            inputs: ``forecast_inputs`` of those bars.

        Raises:
            MissingInputError: the inputs lack a column that the model was trained with.
        """
        parts = self.family.whole.forecasts(bars)
        har = parts[BASELINE]
        lstm = parts[NETWORK] = corrected(har, self.corrector.corrections(inputs))
        scores = self.family.whole.scores({name: parts[name] for name in self.start.log_weights}, bars)
        since = int(np.count_nonzero(bars.index < self.family.window_end))
        pool, weights = pooled(parts, scores, start=self.start, since=since)
        return LstmForecast(har, lstm, pool, weights.set_axis(bars.index))

    def stream(self) -> CorrectionStream:
        """The networks' correction one bar at a time, with an empty memory: as ``forecast`` begins."""
        return self.corrector.stream()

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric but the networks' tensors (``weights``), for an npz file."""
        return self.family.to_arrays() | self.corrector.to_arrays()

    def config(self) -> dict[str, Any]:
        """Everything that is not an array, for a JSON file."""
        return {
            "family": self.family.config(),
            **self.corrector.config(),
            "pool": {"log_weights": dict(self.start.log_weights), "evidence": dict(self.start.evidence)},
            "report": dict(self.report),
        }

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, Floats], *, weights: Mapping[str, Floats]
    ) -> Self:
        """The forecaster that ``config``, ``to_arrays`` and ``weights`` described.

        Raises:
            InvalidDataError: it was stored before forecasts were pooled by their past scores.
        """
        if "family" not in config:
            raise InvalidDataError("the lstm model was stored by an earlier version: train the month again")
        return cls(
            family=HarFamily.from_parts(config["family"], arrays),
            corrector=Corrector.from_parts(config, arrays, weights=weights),
            start=PoolStart(**config["pool"]),
            report=dict(config["report"]),
        )


def forecast_inputs(
    bars: pd.DataFrame, har: THar, *, filtered: pd.DataFrame | None, features: pd.DataFrame | None
) -> pd.DataFrame:
    """What the network reads at each ts_close: t-HAR's terms, filtered regime probabilities, tuned features.

    Log variances are taken relative to the longest horizon's: their level is t-HAR's, and a network that saw it
    would extrapolate wherever the market leaves the levels of its training window.

    Raises:
        MissingInputError: a frame is not on the bars' index.
    """
    terms = har.terms(bars)
    relative = np.column_stack((terms[:, :-2] - terms[:, [-2]], terms[:, -1]))
    names = [f"relative_variance_{i}" for i in range(relative.shape[1] - 1)] + ["seasonal_next"]
    frames = [pd.DataFrame(relative, index=bars.index, columns=names)]
    for frame in (filtered, features):
        if frame is None:
            continue
        if not frame.index.equals(bars.index):
            raise MissingInputError(f"inputs {', '.join(map(str, frame.columns))} are not on the same bars")
        frames.append(frame)
    return pd.concat(frames, axis=1)
