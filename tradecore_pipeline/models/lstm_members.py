"""Training the networks: many-to-many over chunks with burn-in, one network per held-out block of the window."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln

from tradecore_pipeline.models.har import THar
from tradecore_pipeline.models.lstm_corrector import new_network
from tradecore_pipeline.models.lstm_network import Ensemble
from tradecore_pipeline.models.lstm_optimiser import WholeAdamW
from tradecore_pipeline.models.lstm_reading import Reading, Singles
from tradecore_pipeline.models.lstm_shape import LstmShape
from tradecore_pipeline.models.returns import next_percent_returns

EMBARGO_BARS = 24
"""Bars around a held-out block that its member is not trained on: labels overlap by one, volatility lasts longer."""
CHUNKS_PER_STEP = 24
"""All that a month's window has: by the bar it is several times as fast as a few."""
WEIGHT_DECAY = 1e-2
PATIENCE_EPOCHS = 12
MEMBERS = 5


@dataclass(frozen=True, slots=True)
class Part:
    """Tensors of consecutive bars: inputs and gates (T, n), labels beside t-HAR's density (T,), and which count."""

    x: torch.Tensor
    gates: torch.Tensor
    surprise: torch.Tensor
    """How far the label lies from t-HAR's location, in its scales."""
    df: torch.Tensor
    constant: torch.Tensor
    """What of the log density no correction changes."""
    counts: torch.Tensor

    @classmethod
    def of(cls, x: Singles, gates: Singles, bars: pd.DataFrame, har: THar, *, device: str) -> "Part":
        """The bars' inputs and gates beside what t-HAR says of the bars after them."""
        density, label = har.forecast(bars), next_percent_returns(bars, har.timeframe)
        scale, df = density.scales[:, 0], density.dfs[:, 0]
        counts = ~np.isnan(label) & ~np.isnan(scale)
        constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi) - np.log(scale)
        columns = ((label - density.locations[:, 0]) / scale, df, constant)
        surprise, dfs, constants = (
            torch.from_numpy(np.where(counts, column, 1.0)).float().to(device) for column in columns
        )
        read, gate, known = (torch.from_numpy(values).to(device) for values in (x, gates, counts))
        return cls(read, gate, surprise, dfs, constants, known)

    def rows(self, index: slice) -> "Part":
        """Some of the bars."""
        return Part(*(getattr(self, name)[index] for name in self.__slots__))

    def gathered(self, index: torch.Tensor) -> "Part":
        """The bars of these numbers, in the shape of ``index``."""
        # Several times as fast as an index in brackets: whole rows are copied.
        parts = (getattr(self, name) for name in self.__slots__)
        return Part(*(part.index_select(0, index.flatten()).view(*index.shape, *part.shape[1:]) for part in parts))


@dataclass(frozen=True, slots=True)
class Training:
    """How networks are trained, beside what on."""

    shape: LstmShape
    epochs: int
    """Most passes over the bars."""
    seed: int
    """Of weights, chunk offsets and dropout; each member adds its number."""
    chunks_per_step: int
    """Chunks that each step of the optimiser looks at."""


def train(whole: Part, reading: Reading, training: Training, *, members: Sequence[int]) -> tuple[Ensemble, list[float]]:
    """The ensemble at the epoch whose held-out score is best, and that score in nats a bar by epoch.

    Epoch 0, t-HAR itself, is one of the candidates. One epoch for all members: its choice then rests on every bar that
    one of them was not trained on, not on one block.

    Args:
        whole: the bars, which are cut into ``MEMBERS`` blocks.
        reading: how the networks read.
        training: how they are trained.
        members: which of the blocks are held out from a member; all of them, or fewer for a cheaper ensemble.
    """
    edges = np.linspace(0, len(whole.df), MEMBERS + 1).astype(int)
    blocks = [slice(first, last) for first, last in itertools.pairwise(edges.tolist())]
    trained = [Member(whole, blocks[k], reading, replace(training, seed=training.seed + k)) for k in members]
    held_out = whole.gathered(
        torch.cat([torch.arange(blocks[k].start, blocks[k].stop) for k in members]).to(whole.x.device)
    )
    curve = [_mean_score(held_out, torch.zeros(len(held_out.df), 2, device=whole.x.device))]
    for epoch in range(1, training.epochs + 1):
        for member in trained:
            member.one_epoch()
        score = _mean_score(held_out, torch.cat([member.held_out_corrections() for member in trained]))
        if score > max(curve):
            for member in trained:
                member.optimiser.keep()
        curve.append(score)
        if epoch - int(np.argmax(curve)) >= PATIENCE_EPOCHS:
            break
    for member in trained:
        member.optimiser.go_back()
    return Ensemble([member.network for member in trained]).eval(), curve


class Member:
    """One network in training: everything but its block, in chunks."""

    def __init__(self, whole: Part, block: slice, reading: Reading, training: Training) -> None:
        torch.manual_seed(training.seed)
        shape = training.shape
        self._whole = whole
        self._block = block
        self._chunks_per_step = training.chunks_per_step
        self._chunk_bars = min(shape.chunk_bars, len(whole.df))
        self._burn_in_bars = min(shape.burn_in_bars, self._chunk_bars // 4)
        self._offsets = np.random.default_rng(training.seed)
        counts = whole.counts.clone()
        counts[max(0, block.start - EMBARGO_BARS) : block.stop + EMBARGO_BARS] = False
        self._own = replace(whole, counts=counts)
        self._counted = np.append(0, np.cumsum(counts.cpu().numpy()))
        self.network = new_network(reading, shape).to(whole.x.device)
        self.optimiser = WholeAdamW(self.network, learning_rate=shape.learning_rate, weight_decay=WEIGHT_DECAY)

    @property
    def train_counts(self) -> torch.Tensor:
        """Which labels it is trained on (T,)."""
        return self._own.counts

    def one_epoch(self) -> None:
        """One pass over chunks that overlap by the burn-in, from a random offset, in random order."""
        self.network.train()
        starts, within = self._starts(), torch.arange(self._chunk_bars)[:, None]
        for first in range(0, len(starts), self._chunks_per_step):
            chosen = torch.from_numpy(starts[first : first + self._chunks_per_step])
            chunks = self._own.gathered((chosen + within).to(self._own.x.device))
            targets = chunks.rows(slice(self._burn_in_bars, None))
            score = log_density(targets, self.network.after(chunks.x, chunks.gates, burn_in=self._burn_in_bars))
            loss = -(score * targets.counts).sum() / targets.counts.sum().clamp(min=1)
            loss.backward()
            self.optimiser.step()

    def _starts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """First bars of an epoch's chunks: those in which something counts."""
        burn_in, stride = self._burn_in_bars, self._chunk_bars - self._burn_in_bars
        last = len(self._own.df) - self._chunk_bars
        starts = np.arange(int(self._offsets.integers(0, min(stride, last + 1))), last + 1, stride)
        self._offsets.shuffle(starts)
        return starts[self._counted[starts + self._chunk_bars] > self._counted[starts + burn_in]]

    def held_out_corrections(self) -> torch.Tensor:
        """Corrections in the block, the memory warmed up on the bars before it."""
        start = max(0, self._block.start - self._chunk_bars)
        rows = slice(start, self._block.stop)
        self.network.eval()
        with torch.inference_mode():
            corrections: torch.Tensor = self.network(self._whole.x[rows, None], self._whole.gates[rows, None])
            return corrections[self._block.start - start :, 0]


def log_density(part: Part, corrections: torch.Tensor) -> torch.Tensor:
    """Log density in nats of t-HAR's forecast with ``corrections`` (..., 2) at the labels; also where none counts."""
    shift, change = corrections.unbind(-1)
    z = (part.surprise - shift) * torch.exp(-change)
    return part.constant - change - (part.df + 1) / 2 * torch.log1p(z * z / part.df)


def _mean_score(whole: Part, corrections: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(log_density(whole, corrections)[whole.counts].double().mean())
