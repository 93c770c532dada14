"""Fitting the LSTM: many-to-many over chunks with burn-in, validated forward in time inside the window."""

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

FIRST_TRAINING_FRACTION = 0.5
"""Share of the window before the first validation block."""
LABEL_HORIZON_BARS = 1
"""Purged before each block: the label of the bar before it lies in it."""
CHUNK_BARS = 240
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

    Inside the window, networks trained on earlier bars are scored on later ones: that sets the number of epochs and
    the weight in the pool. The published ensemble is then trained on the whole window.

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
    if len(bars) < 2 * CHUNK_BARS:
        raise ModelFitError(
            f"{len(bars)} bars are too few for the LSTM (it needs {2 * CHUNK_BARS}): lengthen the training window"
        )
    inputs = forecast_inputs(bars, har, filtered=filtered, features=features).dropna(axis=1, how="all")
    values = inputs.to_numpy(dtype=np.float64)
    spread = np.nanstd(values, axis=0)
    centre, spread = np.nanmean(values, axis=0), np.where(spread > 0, spread, 1.0)
    whole = _part(standardise(values, centre, spread), bars, har, where)
    with one_thread(), torch.random.fork_rng(devices=[0] if where == "cuda" else []):
        epoch, corrections, later = _validate(whole, hidden=hidden, epochs=epochs, seed=seed)
        weight, scores = _pool_weight(later, corrections)
        network = _train(whole, hidden=hidden, epochs=epoch, seed=seed)
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


def _validate(whole: _Part, *, hidden: int, epochs: int, seed: int) -> tuple[int, torch.Tensor, _Part]:
    """The epoch whose score on later bars is best, the corrections there, and the rows they are of.

    The last ``1 - FIRST_TRAINING_FRACTION`` of the window is cut into ``MEMBERS`` blocks; before each, a network is
    trained on what came earlier only, as it will be used. Epoch 0, t-HAR itself, is one of the candidates.
    """
    rows = len(whole.label)
    edges = np.linspace(int(rows * FIRST_TRAINING_FRACTION), rows, MEMBERS + 1).astype(int).tolist()
    tests = [slice(first, last) for first, last in itertools.pairwise(edges)]
    members = [
        _Member(whole, slice(0, test.start - LABEL_HORIZON_BARS), hidden=hidden, seed=seed + k)
        for k, test in enumerate(tests)
    ]
    later = whole.rows(slice(edges[0], None))
    kept, kept_epoch = torch.zeros(len(later.label), 2, device=whole.x.device), 0
    best = _mean_score(later, kept)
    for epoch in range(1, epochs + 1):
        for member in members:
            member.one_epoch()
        corrections = torch.cat([member.corrections(test) for member, test in zip(members, tests, strict=True)])
        score = _mean_score(later, corrections)
        if score > best:
            best, kept, kept_epoch = score, corrections, epoch
        elif epoch - kept_epoch >= PATIENCE_EPOCHS:
            break
    return kept_epoch, kept, later


def _train(whole: _Part, *, hidden: int, epochs: int, seed: int) -> Ensemble:
    """The ensemble, trained for so many epochs on the whole window; its members differ by their seed."""
    members = [_Member(whole, slice(None), hidden=hidden, seed=seed + k) for k in range(MEMBERS)]
    for _ in range(epochs):
        for member in members:
            member.one_epoch()
    return Ensemble([member.network for member in members]).eval()


class _Member:
    """One network in training on consecutive bars, in chunks."""

    def __init__(self, whole: _Part, span: slice, *, hidden: int, seed: int) -> None:
        torch.manual_seed(seed)
        self._whole = whole
        self._train = whole.rows(span)
        self._offsets = np.random.default_rng(seed)
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

    def corrections(self, span: slice) -> torch.Tensor:
        """Corrections of some rows, the memory warmed up on the bars before them."""
        start = max(0, span.start - CHUNK_BARS)
        self.network.eval()
        with torch.inference_mode():
            corrections: torch.Tensor = self.network(self._whole.x[None, start : span.stop])
            return corrections[0, span.start - start :]


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


def _pool_weight(later: _Part, corrections: torch.Tensor) -> tuple[float, dict[str, float]]:
    """The weight of the best validation score, shrunk towards t-HAR by t^2 / (1 + t^2) of the gain's HAC t.

    Shrunk, because the validation score also stopped the training; by the evidence, since a clear gain needs no caution.
    """
    with torch.inference_mode():
        own, har = (
            _log_density(later, change)[later.counts].double().cpu().numpy()
            for change in (corrections, torch.zeros_like(corrections))
        )
    best = float(_POOL_GRID[np.argmax([_pool_scores(own, har, weight).mean() for weight in _POOL_GRID])])
    gain = _pool_scores(own, har, best) - har
    evidence = gain.mean() ** 2 / max(_variance_of_mean(gain, POOL_HAC_LAGS), 1e-300) if best > 0 else 0.0
    scores = {
        "validation_log_score": float(own.mean()),
        "validation_har_log_score": float(har.mean()),
        "validation_gain_t": float(np.sqrt(evidence)),
    }
    return float(best * evidence / (1 + evidence)), scores


def _pool_scores(own: Floats, har: Floats, weight: float) -> Floats:
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(weight) + own, np.log1p(-weight) + har)


def _variance_of_mean(values: Floats, lags: int) -> float:
    """Newey-West variance of the mean of an autocorrelated series."""
    centred = values - values.mean()
    total = centred @ centred
    for lag in range(1, min(lags, len(values) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    return float(total) / len(values) ** 2
