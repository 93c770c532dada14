"""The LSTM: a correction to t-HAR's density (zero weights are t-HAR exactly), and the pool that is published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, ModelFitError
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import THar
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart, pooled
from tradecore_pipeline.models.pool_members import HarFamily

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
    weights: pd.DataFrame
    """What the pool gave each member that takes part, by bar."""


@dataclass(frozen=True, slots=True)
class Corrector:
    """Trained networks with the scaler of their window: what t-HAR's density is corrected by, bar after bar."""

    columns: tuple[str, ...]
    centre: Floats
    spread: Floats
    hidden: int
    members: int
    weights: Mapping[str, Floats]
    """The networks' tensors by name, for safetensors; float32."""

    def corrections(self, inputs: pd.DataFrame) -> Floats:
        """Corrections (T, 2), each known at its bar's ts_close: a shift in scales, and a change of log scale.

        Raises:
            MissingInputError: the inputs lack a column that the networks were trained with.
        """
        missing = [name for name in self.columns if name not in inputs]
        if missing:
            raise MissingInputError(f"the LSTM was trained with {', '.join(missing)}: compute these inputs too")
        x = standardise(inputs[list(self.columns)].to_numpy(dtype=np.float64), self.centre, self.spread)
        network = self.network()
        with one_thread(), torch.inference_mode():
            return network.run(torch.from_numpy(x)).numpy().astype(np.float64)

    def network(self) -> Ensemble:
        """The networks, ready for inference on the CPU."""
        with torch.random.fork_rng(devices=[]):  # new networks draw weights, which are then replaced
            network = Ensemble([CorrectionNetwork(len(self.columns), self.hidden, 0.0) for _ in range(self.members)])
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.weights.items()})
        return network.eval()


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

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric but the networks' tensors (``weights``), for an npz file."""
        return self.family.to_arrays() | {"centre": self.corrector.centre, "spread": self.corrector.spread}

    def config(self) -> dict[str, Any]:
        """Everything that is not an array, for a JSON file."""
        return {
            "family": self.family.config(),
            "columns": list(self.corrector.columns),
            "hidden": self.corrector.hidden,
            "members": self.corrector.members,
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
            corrector=Corrector(
                columns=tuple(config["columns"]),
                centre=arrays["centre"],
                spread=arrays["spread"],
                hidden=int(config["hidden"]),
                members=int(config["members"]),
                weights=dict(weights),
            ),
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
