"""The LSTM forecaster: a correction to t-HAR's density, and the pool of the two. Zero weights are t-HAR exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from tradecore_pipeline.domain.errors import MissingInputError, ModelFitError
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import THar

CLIP = 5.0
"""Standardised inputs beyond this say no more than this."""
SHIFT_BOUND, LOG_SCALE_BOUND = 0.25, 0.5
"""Corrections stay inside this many scales, and this change of log scale: a crash lies outside what was learned."""

BLOCK_BARS = 256
"""Bars that the networks are given at once when they forecast."""

Memory = tuple[torch.Tensor, torch.Tensor]
"""Hidden and cell state of an LSTM."""


class CorrectionNetwork(torch.nn.Module):
    """An LSTM whose head starts at zero: per bar a shift (in scales) and a change of log scale, both bounded."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(dropout)
        self.lstm = torch.nn.LSTM(inputs, hidden, batch_first=True)
        self.head = torch.nn.Linear(hidden, 2)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Corrections (B, T, 2) from inputs (B, T, n); step t sees inputs up to t only."""
        return self.advance(x, None)[0]

    def advance(self, x: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """Corrections (B, T, 2), and the memory after them; ``memory`` is what earlier inputs left."""
        hidden, left = self.lstm(self.dropout(x), memory)
        bound = x.new_tensor((SHIFT_BOUND, LOG_SCALE_BOUND))
        return bound * torch.tanh(self.head(self.dropout(hidden)) / bound), left


class Ensemble(torch.nn.Module):
    """Networks that differ by their seed; their mean correction varies less with it than any one of them."""

    def __init__(self, members: list[CorrectionNetwork]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean corrections (B, T, 2) from inputs (B, T, n)."""
        return torch.stack([member(x) for member in self.members]).mean(dim=0)

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Mean corrections (T, 2) from inputs (T, n), block by block, so that later rows change no bit of earlier ones.

        How a sum is split up, and so its last bits, depends on how many rows a network is given at once.
        """
        blocks = torch.nn.functional.pad(x, (0, 0, 0, -len(x) % BLOCK_BARS)).split(BLOCK_BARS)
        memories: list[Memory | None] = [None] * len(self.members)
        results: list[torch.Tensor] = []
        for block in blocks:
            steps = [member.advance(block[None], m) for member, m in zip(self.networks, memories, strict=True)]
            memories = [memory for _, memory in steps]
            results.append(torch.stack([correction[0] for correction, _ in steps]).mean(dim=0))
        return torch.cat(results)[: len(x)]

    @property
    def networks(self) -> list[CorrectionNetwork]:
        """The members, typed."""
        return [member for member in self.members if isinstance(member, CorrectionNetwork)]


@dataclass(frozen=True, slots=True)
class LstmForecast:
    """Densities in percent of the bar after each one, known at ts_close; NaN rows where t-HAR has none."""

    har: StudentMixture
    lstm: StudentMixture
    pooled: StudentMixture


@dataclass(frozen=True, slots=True)
class LstmForecaster:
    """A fitted LSTM on top of a t-HAR, with the scaler of its training window and its weight in the pool."""

    har: THar
    columns: tuple[str, ...]
    centre: Floats
    spread: Floats
    hidden: int
    members: int
    weights: Mapping[str, Floats]
    """The network's tensors by name, for safetensors; float32."""
    pool_weight: float
    """Share of the LSTM in the pool, 0 to 1; the rest is t-HAR's."""
    report: Mapping[str, float]
    """Of the fit: the epoch kept, held-out scores in nats a bar, and the t of the gain over t-HAR."""

    def forecast(self, bars: pd.DataFrame, inputs: pd.DataFrame) -> LstmForecast:
        """Densities of the bar after each of ``bars``, known at ts_close.

        The network's memory starts empty at the first row and runs through all of them: with the same first row (the
        training window's start, say) a row is the same to the last bit, however many follow it.

        Args:
            bars: consecutive bars; a week before the first row that matters.
            inputs: ``forecast_inputs`` of those bars.

        Raises:
            MissingInputError: the inputs lack a column that the model was trained with.
        """
        missing = [name for name in self.columns if name not in inputs]
        if missing:
            raise MissingInputError(f"the LSTM was trained with {', '.join(missing)}: compute these inputs too")
        x = standardise(inputs[list(self.columns)].to_numpy(dtype=np.float64), self.centre, self.spread)
        network = self.network()
        with one_thread(), torch.inference_mode():
            corrections = network.run(torch.from_numpy(x)).numpy().astype(np.float64)
        har = self.har.forecast(bars)
        lstm = corrected(har, corrections)
        return LstmForecast(har, lstm, lstm.pooled(har, weight=self.pool_weight))

    def network(self) -> Ensemble:
        """The trained networks, ready for inference on the CPU."""
        network = Ensemble([CorrectionNetwork(len(self.columns), self.hidden, 0.0) for _ in range(self.members)])
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.weights.items()})
        return network.eval()

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric but the network's tensors (``weights``), for an npz file."""
        return self.har.to_arrays() | {"centre": self.centre, "spread": self.spread}

    def config(self) -> dict[str, Any]:
        """Everything that is not an array, for a JSON file."""
        return {
            "har": self.har.config(),
            "columns": list(self.columns),
            "hidden": self.hidden,
            "members": self.members,
            "pool_weight": self.pool_weight,
            "report": dict(self.report),
        }

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, Floats], *, weights: Mapping[str, Floats]
    ) -> Self:
        """The forecaster that ``config``, ``to_arrays`` and ``weights`` described."""
        return cls(
            har=THar.from_parts(config["har"], arrays),
            columns=tuple(config["columns"]),
            centre=arrays["centre"],
            spread=arrays["spread"],
            hidden=int(config["hidden"]),
            members=int(config["members"]),
            weights=dict(weights),
            pool_weight=float(config["pool_weight"]),
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


def standardise(values: Floats, centre: Floats, spread: Floats) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Inputs in units of the training window, clipped; a missing value counts as average."""
    scaled = np.clip((values - centre) / spread, -CLIP, CLIP)
    return np.nan_to_num(scaled, nan=0.0).astype(np.float32)


def corrected(har: StudentMixture, corrections: Floats) -> StudentMixture:
    """t-HAR's density with the network's corrections (T, 2): a shift in scales, and a change of log scale."""
    scale = har.scales[:, 0]
    located = har.locations[:, 0] + scale * corrections[:, 0]
    return StudentMixture.single(located, scale * np.exp(corrections[:, 1]), har.dfs[:, 0])


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ModelFitError: cuda was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelFitError("no CUDA device is available here: set lstm_device to auto or cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


class one_thread:  # noqa: N801 (reads as the statement it makes: with one_thread())
    """Runs torch on one thread inside the block: two are many times slower where the machine is busy."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
