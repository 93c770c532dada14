"""The networks one bar at a time, their memory carried forward: all members in one step of a few array operations."""

from collections.abc import Mapping

import numpy as np

from tradecore_pipeline.domain.errors import FilterStateError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.lstm_reading import Reading, Singles, standardise
from tradecore_pipeline.models.lstm_shape import LOG_SCALE_BOUND, SHIFT_BOUND

_BOUND = np.array((SHIFT_BOUND, LOG_SCALE_BOUND))


class CorrectionStream:
    """The mean correction of several networks, bar after bar; what the batch says, to rounding.

    A sigmoid is half a tanh of half its argument: with the rows of three gates halved beforehand, one tanh serves all
    four gates of all networks.
    """

    def __init__(
        self,
        weights: Mapping[str, Floats],
        *,
        members: int,
        layers: int,
        reading: Reading,
        centre: Floats,
        spread: Floats,
    ) -> None:
        def stacked(name: str) -> Singles:
            return np.stack([np.asarray(weights[f"members.{k}.{name}"], dtype=np.float32) for k in range(members)])

        self._reading, self._centre, self._spread = reading, centre, spread
        self._head, self._head_bias = stacked("head.weight"), stacked("head.bias")
        self._hidden_size = self._head.shape[2]
        half = np.repeat(np.array((0.5, 0.5, 1.0, 0.5), dtype=np.float32), self._hidden_size)
        self._gain, self._offset = half, 1 - half
        self._layers = [
            (
                half[:, None] * stacked(f"lstm.weight_ih_l{k}"),
                half[:, None] * stacked(f"lstm.weight_hh_l{k}"),
                half * (stacked(f"lstm.bias_ih_l{k}") + stacked(f"lstm.bias_hh_l{k}")),
            )
            for k in range(layers)
        ]
        self._states = list(reading.direct)
        self._direct = stacked("direct.weight") if self._states else None
        self._memory = np.zeros((2, layers, members, self._hidden_size), dtype=np.float32)

    @property
    def memory(self) -> Singles:
        """Hidden and cell states (2, layers, members, width) that the bars so far left; a copy, to be kept."""
        return self._memory.copy()

    @memory.setter
    def memory(self, value: Singles) -> None:
        if value.shape != self._memory.shape or not np.isfinite(value).all():
            raise FilterStateError(
                f"an LSTM's memory of shape {value.shape} is not one of these networks' ({self._memory.shape}), or it "
                "is damaged: start anew and run through the bars since the training window's first"
            )
        self._memory = value.astype(np.float32)

    def advance(self, row: Floats) -> tuple[float, float]:
        """The correction after one more bar, known at its ts_close: a shift in scales, and a change of log scale.

        ``row``: the bar's inputs in the order of the reading's columns; NaN where one is missing.
        """
        values, gates = self._reading.split(row[None])
        signal = read = standardise(values, self._centre, self._spread)[0]
        size = self._hidden_size
        for k, (from_input, from_hidden, bias) in enumerate(self._layers):
            hidden, cell = self._memory[:, k]
            now = from_hidden @ hidden[..., None]
            now = now[..., 0] + bias + (from_input @ signal if k == 0 else (from_input @ signal[..., None])[..., 0])
            gate = self._gain * np.tanh(now) + self._offset
            gate_in, keep, new, out = (gate[:, size * j : size * (j + 1)] for j in range(4))
            cell[:] = keep * cell + gate_in * new
            hidden[:] = out * np.tanh(cell)
            signal = hidden
        by_head = (self._head @ signal[..., None])[..., 0] + self._head_bias
        raw = gates[0] @ by_head.reshape(len(by_head), -1, 2)
        if self._direct is not None:
            raw = raw + self._direct @ read[self._states]
        shift, change = (_BOUND * np.tanh(raw / _BOUND)).mean(axis=0)
        return float(shift), float(change)
