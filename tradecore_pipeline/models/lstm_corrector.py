"""Trained networks with the scaler of their window: what a table of inputs becomes for them, and what they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.inputs import LSTM_REGIMES, PROBABILITIES
from tradecore_pipeline.models.lstm_network import CorrectionNetwork, Ensemble, one_thread
from tradecore_pipeline.models.lstm_reading import Reading, Singles, standardise
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE, LstmShape
from tradecore_pipeline.models.lstm_stream import CorrectionStream


@dataclass(frozen=True, slots=True)
class Corrector:
    """What t-HAR's density is corrected by, bar after bar."""

    reading: Reading
    centre: Floats
    spread: Floats
    shape: LstmShape
    members: int
    weights: Mapping[str, Floats]
    """The networks' tensors by name, for safetensors; float32."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What the networks read."""
        return self.reading.columns

    def prepared(self, inputs: pd.DataFrame) -> tuple[Singles, Singles]:
        """Standardised inputs (T, n) and gates (T, heads).

        Raises:
            MissingInputError: the inputs lack a column that the networks were trained with.
        """
        values, gates = self.reading.split(self.reading.table(inputs))
        return standardise(values, self.centre, self.spread), gates.astype(np.float32)

    def corrections(self, inputs: pd.DataFrame) -> Floats:
        """Corrections (T, 2), each known at its bar's ts_close: a shift in scales, and a change of log scale.

        Raises:
            MissingInputError: as in ``prepared``.
        """
        x, gates = (torch.from_numpy(part) for part in self.prepared(inputs))
        network = self.network()
        with one_thread(), torch.inference_mode():
            return network.run(x, gates).numpy().astype(np.float64)

    def stream(self) -> CorrectionStream:
        """The same one bar at a time, its memory empty."""
        return CorrectionStream(
            self.weights,
            members=self.members,
            layers=self.shape.layers,
            reading=self.reading,
            centre=self.centre,
            spread=self.spread,
        )

    def network(self) -> Ensemble:
        """The networks, ready for inference on the CPU."""
        with torch.random.fork_rng(devices=[]):  # new networks draw weights, which are then replaced
            network = Ensemble(
                [new_network(self.reading, replace(self.shape, dropout=0.0)) for _ in range(self.members)]
            )
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.weights.items()})
        return network.eval()

    def only(self, members: Sequence[int]) -> Self:
        """Some of the networks, by number."""
        kept = {
            f"members.{place}.{name.removeprefix(f'members.{k}.')}": value
            for place, k in enumerate(members)
            for name, value in self.weights.items()
            if name.startswith(f"members.{k}.")
        }
        return replace(self, members=len(members), weights=kept)

    def to_arrays(self) -> dict[str, Floats]:
        """The scaler, for an npz file."""
        return {"centre": self.centre, "spread": self.spread}

    def config(self) -> dict[str, Any]:
        """Everything that is not an array, for a JSON file."""
        return {
            "columns": list(self.reading.columns),
            "states": list(self.reading.states),
            "regimes": self.reading.regimes,
            "shape": self.shape.config(),
            "members": self.members,
        }

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, Floats], *, weights: Mapping[str, Floats]
    ) -> Self:
        """What ``config``, ``to_arrays`` and ``weights`` described; models stored before there were shapes included.

        Raises:
            InvalidDataError: the shape, or what is made of regimes, is unknown here.
        """
        regimes = config.get("regimes", PROBABILITIES)
        if regimes not in LSTM_REGIMES:
            raise InvalidDataError(
                f"the lstm model reads regimes as {regimes!r}, which is unknown: train the month again"
            )
        shape = config.get("shape")
        return cls(
            reading=Reading(tuple(config["columns"]), tuple(config.get("states", ())), regimes),
            centre=arrays["centre"],
            spread=arrays["spread"],
            shape=replace(DEFAULT_SHAPE, hidden=int(config["hidden"]))
            if shape is None
            else LstmShape.from_config(shape),
            members=int(config["members"]),
            weights=dict(weights),
        )


def new_network(reading: Reading, shape: LstmShape) -> CorrectionNetwork:
    """An untrained network that reads so."""
    return CorrectionNetwork(
        reading.inputs,
        hidden=shape.hidden,
        layers=shape.layers,
        dropout=shape.dropout,
        heads=reading.heads,
        states=reading.direct,
    )


def corrected(har: StudentMixture, corrections: Floats) -> StudentMixture:
    """t-HAR's density with the network's corrections (T, 2): a shift in scales, and a change of log scale."""
    scale = har.scales[:, 0]
    located = har.locations[:, 0] + scale * corrections[:, 0]
    return StudentMixture.single(located, scale * np.exp(corrections[:, 1]), har.dfs[:, 0])
