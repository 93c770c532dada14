"""Fitting the LSTM and starting its pool: many-to-many over chunks with burn-in, one network per held-out block."""

import copy
import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.bootstrap import block_length
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import THar
from tradecore_pipeline.models.inputs import CHUNK_BARS, LEAST_LSTM_BARS
from tradecore_pipeline.models.lstm import (
    CorrectionNetwork,
    Corrector,
    Ensemble,
    LstmForecaster,
    corrected,
    forecast_inputs,
    one_thread,
    resolve_device,
    standardise,
)
from tradecore_pipeline.models.pool import BASELINE, NETWORK, pool_start
from tradecore_pipeline.models.pool_members import SWITCHING, SWITCHING_LEAST_T, HarFamily
from tradecore_pipeline.models.returns import next_percent_returns

EMBARGO_BARS = 24
"""Bars around a held-out block that its member is not trained on: labels overlap by one, volatility lasts longer."""
BURN_IN_BARS = 60
CHUNKS_PER_STEP = 4
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
DROPOUT = 0.2
PATIENCE_EPOCHS = 12
MEMBERS = 5
LSTM_LEAST_T = 2.0
"""Thousands of weights have to prove what they add; below this the network stays out of the month's pool."""
_GRADIENT_NORM = 1.0
_LEAST_T = {SWITCHING: SWITCHING_LEAST_T, NETWORK: LSTM_LEAST_T}


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


@dataclasses.dataclass(frozen=True, slots=True)
class HeldOut:
    """The last part of a window, as members saw it that were fitted on the part before it alone."""

    bars: pd.DataFrame
    """The whole window: forecasts need a run-up."""
    forecasts: Mapping[str, StudentMixture]
    """Densities of the bar after each of ``bars`` by member; none where the first part is too short for t-HAR."""
    scores: Mapping[str, Floats]
    """Their log scores in nats, NaN before the last part."""


@dataclasses.dataclass(frozen=True, slots=True)
class FittedForecaster:
    """A forecaster, and what there is to know of its fit that forecasting does not need."""

    model: LstmForecaster
    held_out: HeldOut
    learning_curve: tuple[float, ...]
    """The held-out score in nats a bar that stops the training, by epoch; the first is t-HAR's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """What the LSTM is trained on beside t-HAR's terms, and how."""

    filtered: pd.DataFrame | None
    """Filtered probabilities, or None."""
    features: pd.DataFrame | None
    """Tuned features, or None."""
    hidden: int
    """Width of each LSTM."""
    epochs: int
    """Most passes over the window."""
    seed: int
    """Of weights, chunk offsets and dropout."""
    device: str
    """``cpu``, ``cuda`` or ``auto``."""

    @property
    def choices(self) -> dict[str, str | int]:
        """How it is trained, in plain values."""
        return {"hidden": self.hidden, "epochs": self.epochs, "seed": self.seed, "device": self.device}

    def inputs(self, bars: pd.DataFrame, har: THar) -> pd.DataFrame:
        """What the network reads of ``bars``, which are among those of the frames."""
        filtered, features = (
            frame if frame is None else frame.loc[bars.index] for frame in (self.filtered, self.features)
        )
        return forecast_inputs(bars, har, filtered=filtered, features=features)


def fit_lstm(
    bars: pd.DataFrame,
    *,
    family: HarFamily,
    filtered: pd.DataFrame | None,
    features: pd.DataFrame | None,
    hidden: int,
    epochs: int,
    seed: int,
    device: str,
) -> LstmForecaster:
    """``fit_forecaster``'s model alone."""
    recipe = Recipe(filtered, features, hidden, epochs, seed, device)
    return fit_forecaster(bars, family=family, recipe=recipe).model


def fit_forecaster(bars: pd.DataFrame, *, family: HarFamily, recipe: Recipe) -> FittedForecaster:
    """The forecaster of a training window and its evidence; labels are next returns inside ``bars``.

    The window is cut into ``MEMBERS`` blocks; each network of the ensemble is trained without one of them (and
    ``EMBARGO_BARS`` around it). Together the blocks held out cover the window, and their score stops the training. A
    score that was chosen by is no evidence: so the same is done on the window's first part alone, and the pool begins
    with what all members' fits there said of the rest.

    Args:
        bars: the window, indexed by ts_open.
        family: t-HAR, which the network corrects, and the pool's other members, fitted on the window.
        recipe: the network's inputs, on the same index, and its training.

    Raises:
        ModelFitError: the window is too short, or there is no such device.
    """
    if len(bars) < LEAST_LSTM_BARS:
        raise ModelFitError(
            f"{len(bars)} bars are too few for the LSTM (it needs {LEAST_LSTM_BARS}): lengthen the training window"
        )
    held_out = _held_out(bars, family, recipe)
    corrector, curve = _fit_corrector(bars, family.har, recipe)
    report = {"epochs": float(np.argmax(curve)), "stopping_log_score": max(curve), "stopping_har_log_score": curve[0]}
    start = pool_start(held_out.scores, least_t=_LEAST_T, lags=block_length(family.har.timeframe))
    model = LstmForecaster(family, corrector, start, report)
    return FittedForecaster(model, held_out, tuple(curve))


def _held_out(bars: pd.DataFrame, family: HarFamily, recipe: Recipe) -> HeldOut:
    forecasts, first = family.held_out(bars)
    if family.early is not None:
        early = bars.loc[bars.index < family.held_out_from]
        corrector, _ = _fit_corrector(early, family.early.har, recipe)
        corrections = corrector.corrections(recipe.inputs(bars, family.early.har))
        forecasts[NETWORK] = corrected(forecasts[BASELINE], corrections)
    return HeldOut(bars, forecasts, family.held_out_scores(forecasts, bars, first))


def _fit_corrector(bars: pd.DataFrame, har: THar, recipe: Recipe) -> tuple[Corrector, list[float]]:
    where = resolve_device(recipe.device)
    inputs = recipe.inputs(bars, har).dropna(axis=1, how="all")
    values = inputs.to_numpy(dtype=np.float64)
    spread = np.nanstd(values, axis=0)
    centre, spread = np.nanmean(values, axis=0), np.where(spread > 0, spread, 1.0)
    whole = _part(standardise(values, centre, spread), bars, har, where)
    with one_thread(), torch.random.fork_rng(devices=[0] if where == "cuda" else []):
        network, curve = _train(whole, recipe)
    weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    columns = tuple(str(name) for name in inputs.columns)
    return Corrector(columns, centre, spread, recipe.hidden, MEMBERS, weights), curve


def _part(x: np.ndarray, bars: pd.DataFrame, har: THar, device: str) -> _Part:
    density, label = har.forecast(bars), next_percent_returns(bars, har.timeframe)
    scale = density.scales[:, 0]
    counts = ~np.isnan(label) & ~np.isnan(scale)
    location, log_scale, df, labels = (
        torch.from_numpy(np.where(counts, column, 1.0)).float().to(device)
        for column in (density.locations[:, 0], np.log(scale), density.dfs[:, 0], label)
    )
    return _Part(torch.from_numpy(x).to(device), location, log_scale, df, labels, torch.from_numpy(counts).to(device))


def _train(whole: _Part, recipe: Recipe) -> tuple[Ensemble, list[float]]:
    """The ensemble at the epoch whose held-out score is best, and that score by epoch.

    Epoch 0, t-HAR itself, is one of the candidates. One epoch for all members: its choice then rests on every bar of
    the window, not on one block.
    """
    edges = np.linspace(0, len(whole.label), MEMBERS + 1).astype(int)
    blocks = [slice(first, last) for first, last in itertools.pairwise(edges.tolist())]
    members = [_Member(whole, block, hidden=recipe.hidden, seed=recipe.seed + k) for k, block in enumerate(blocks)]
    kept, curve = _states(members), [_mean_score(whole, torch.zeros(len(whole.label), 2, device=whole.x.device))]
    for epoch in range(1, recipe.epochs + 1):
        for member in members:
            member.one_epoch()
        score = _mean_score(whole, torch.cat([member.held_out_corrections() for member in members]))
        if score > max(curve):
            kept = _states(members)
        curve.append(score)
        if epoch - int(np.argmax(curve)) >= PATIENCE_EPOCHS:
            break
    for member, state in zip(members, kept, strict=True):
        member.network.load_state_dict(state)
    return Ensemble([member.network for member in members]).eval(), curve


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
