"""Fitting the LSTM: many-to-many over chunks with burn-in, one member of the ensemble per held-out block."""

import copy
import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import torch

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.har import THar
from tradecore_pipeline.models.inputs import CHUNK_BARS, LEAST_LSTM_BARS
from tradecore_pipeline.models.lstm import (
    CorrectionNetwork,
    Ensemble,
    LstmForecaster,
    forecast_inputs,
    one_thread,
    resolve_device,
    standardise,
)
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.statistics import variance_of_mean

EMBARGO_BARS = 24
"""Bars around a held-out block that its member is not trained on: labels overlap by one, volatility lasts longer."""
BURN_IN_BARS = 60
CHUNKS_PER_STEP = 4
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
DROPOUT = 0.2
PATIENCE_EPOCHS = 12
MEMBERS = 5
POOL_HAC_LAGS = 48
_GRADIENT_NORM = 1.0
_POOL_GRID = np.linspace(0, 1, 21)


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """Tensors of consecutive bars: inputs (T, n), t-HAR's density and labels (T,), and which labels count."""

    x: torch.Tensor
    location: torch.Tensor
    log_scale: torch.Tensor
    df: torch.Tensor
    label: torch.Tensor
    counts: torch.Tensor

    def rows(self, index: slice | torch.Tensor) -> "_Part":
        return _Part(*(getattr(self, name)[index] for name in self.__slots__))


def fit_lstm(
    bars: pd.DataFrame,
    *,
    har: THar,
    filtered: pd.DataFrame | None,
    features: pd.DataFrame | None,
    hidden: int,
    epochs: int,
    seed: int,
    device: str,
) -> LstmForecaster:
    """The LSTM forecaster of a training window; labels are next returns inside ``bars`` only.

    The window is cut into ``MEMBERS`` blocks; each member of the ensemble is trained without one of them (and
    ``EMBARGO_BARS`` around it). Together the blocks held out cover the window: their score stops the training and sets
    the pool weight.

    Args:
        bars: the window, indexed by ts_open.
        har: t-HAR fitted on the window.
        filtered: filtered probabilities on the same index, or None.
        features: tuned features on the same index, or None.
        hidden: width of each LSTM.
        epochs: most passes over the window.
        seed: of weights, chunk offsets and dropout.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        ModelFitError: the window is too short, or there is no such device.
    """
    where = resolve_device(device)
    if len(bars) < LEAST_LSTM_BARS:
        raise ModelFitError(
            f"{len(bars)} bars are too few for the LSTM (it needs {LEAST_LSTM_BARS}): lengthen the training window"
        )
    inputs = forecast_inputs(bars, har, filtered=filtered, features=features).dropna(axis=1, how="all")
    values = inputs.to_numpy(dtype=np.float64)
    spread = np.nanstd(values, axis=0)
    centre, spread = np.nanmean(values, axis=0), np.where(spread > 0, spread, 1.0)
    whole = _part(standardise(values, centre, spread), bars, har, where)
    with one_thread(), torch.random.fork_rng(devices=[0] if where == "cuda" else []):
        network, held_out, epoch = _train(whole, hidden=hidden, epochs=epochs, seed=seed)
        weight, scores = _pool_weight(whole, held_out)
    return LstmForecaster(
        har=har,
        columns=tuple(str(name) for name in inputs.columns),
        centre=centre,
        spread=spread,
        hidden=hidden,
        members=MEMBERS,
        weights={name: value.detach().cpu().numpy() for name, value in network.state_dict().items()},
        pool_weight=weight,
        report={"epochs": float(epoch), **scores},
    )


def _part(x: np.ndarray, bars: pd.DataFrame, har: THar, device: str) -> _Part:
    density, label = har.forecast(bars), next_percent_returns(bars, har.timeframe)
    scale = density.scales[:, 0]
    counts = ~np.isnan(label) & ~np.isnan(scale)
    location, log_scale, df, labels = (
        torch.from_numpy(np.where(counts, column, 1.0)).float().to(device)
        for column in (density.locations[:, 0], np.log(scale), density.dfs[:, 0], label)
    )
    return _Part(torch.from_numpy(x).to(device), location, log_scale, df, labels, torch.from_numpy(counts).to(device))


def _train(whole: _Part, *, hidden: int, epochs: int, seed: int) -> tuple[Ensemble, torch.Tensor, int]:
    """The ensemble at the epoch whose held-out score is best, its held-out corrections (T, 2), and that epoch.

    Epoch 0, t-HAR itself, is one of the candidates. One epoch for all members: its choice then rests on every bar of
    the window, not on one block.
    """
    edges = np.linspace(0, len(whole.label), MEMBERS + 1).astype(int)
    blocks = [slice(first, last) for first, last in itertools.pairwise(edges.tolist())]
    members = [_Member(whole, block, hidden=hidden, seed=seed + k) for k, block in enumerate(blocks)]
    kept, kept_held_out, kept_epoch = _states(members), torch.zeros(len(whole.label), 2), 0
    best = _mean_score(whole, kept_held_out.to(whole.x.device))
    for epoch in range(1, epochs + 1):
        for member in members:
            member.one_epoch()
        held_out = torch.cat([member.held_out_corrections() for member in members])
        score = _mean_score(whole, held_out)
        if score > best:
            best, kept, kept_held_out, kept_epoch = score, _states(members), held_out, epoch
        elif epoch - kept_epoch >= PATIENCE_EPOCHS:
            break
    for member, state in zip(members, kept, strict=True):
        member.network.load_state_dict(state)
    return Ensemble([member.network for member in members]).eval(), kept_held_out.to(whole.x.device), kept_epoch


class _Member:
    """One network in training: everything but its block, in chunks."""

    def __init__(self, whole: _Part, block: slice, *, hidden: int, seed: int) -> None:
        torch.manual_seed(seed)
        self._whole = whole
        self._block = block
        self._offsets = np.random.default_rng(seed)
        counts = whole.counts.clone()
        counts[max(0, block.start - EMBARGO_BARS) : block.stop + EMBARGO_BARS] = False
        self._train = dataclasses.replace(whole, counts=counts)
        self.network = CorrectionNetwork(whole.x.shape[1], hidden, DROPOUT).to(whole.x.device)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def one_epoch(self) -> None:
        """One pass over chunks that overlap by the burn-in, from a random offset, in random order."""
        self.network.train()
        stride = CHUNK_BARS - BURN_IN_BARS
        last = len(self._train.label) - CHUNK_BARS
        starts = np.arange(int(self._offsets.integers(0, min(stride, last + 1))), last + 1, stride)
        self._offsets.shuffle(starts)
        for first in range(0, len(starts), CHUNKS_PER_STEP):
            index = torch.from_numpy(starts[first : first + CHUNKS_PER_STEP, None] + np.arange(CHUNK_BARS))
            batch = self._train.rows(index.to(self._train.x.device))
            counts = batch.counts[:, BURN_IN_BARS:]
            score = _log_density(batch, self.network(batch.x))[:, BURN_IN_BARS:]
            loss = -(score * counts).sum() / counts.sum().clamp(min=1)
            self._optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM)
            self._optimiser.step()

    def held_out_corrections(self) -> torch.Tensor:
        """Corrections in the block, the memory warmed up on the bars before it."""
        start = max(0, self._block.start - CHUNK_BARS)
        self.network.eval()
        with torch.inference_mode():
            corrections: torch.Tensor = self.network(self._whole.x[None, start : self._block.stop])
            return corrections[0, self._block.start - start :]


def _states(members: list[_Member]) -> list[dict[str, torch.Tensor]]:
    return [copy.deepcopy(member.network.state_dict()) for member in members]


def _log_density(part: _Part, corrections: torch.Tensor) -> torch.Tensor:
    log_scale = part.log_scale + corrections[..., 1]
    location = part.location + torch.exp(part.log_scale) * corrections[..., 0]
    df = part.df
    z = (part.label - location) * torch.exp(-log_scale)
    constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(df * math.pi)
    return constant - log_scale - (df + 1) / 2 * torch.log1p(z * z / df)


def _mean_score(whole: _Part, corrections: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(_log_density(whole, corrections)[whole.counts].double().mean())


def _pool_weight(whole: _Part, held_out: torch.Tensor) -> tuple[float, dict[str, float]]:
    """The weight of the best held-out score, shrunk towards t-HAR by t^2 / (1 + t^2) of the gain's HAC t.

    Shrunk, because the held-out score also stopped the training; by the evidence, since a clear gain needs no caution.
    """
    with torch.inference_mode():
        own, har = (
            _log_density(whole, corrections)[whole.counts].double().cpu().numpy()
            for corrections in (held_out, torch.zeros_like(held_out))
        )
    best = float(_POOL_GRID[np.argmax([_pool_scores(own, har, weight).mean() for weight in _POOL_GRID])])
    gain = _pool_scores(own, har, best) - har
    evidence = gain.mean() ** 2 / max(variance_of_mean(gain, lags=POOL_HAC_LAGS), 1e-300) if best > 0 else 0.0
    scores = {
        "held_out_log_score": float(own.mean()),
        "held_out_har_log_score": float(har.mean()),
        "held_out_gain_t": float(np.sqrt(evidence)),
    }
    return float(best * evidence / (1 + evidence)), scores


def _pool_scores(own: Floats, har: Floats, weight: float) -> Floats:
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(weight) + own, np.log1p(-weight) + har)
