"""Fitting the month's forecaster: the LSTM's networks, how its pool begins, and what its inputs are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.bootstrap import block_length
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import THar
from tradecore_pipeline.models.inputs import LEAST_LSTM_BARS, NONE, WITHOUT_REGIMES, WITHOUT_TUNED
from tradecore_pipeline.models.lstm import LstmForecaster, forecast_inputs
from tradecore_pipeline.models.lstm_corrector import Corrector, corrected
from tradecore_pipeline.models.lstm_members import CHUNKS_PER_STEP, MEMBERS, Part, Training, train
from tradecore_pipeline.models.lstm_network import one_thread, resolve_device
from tradecore_pipeline.models.lstm_reading import reading_of, standardise
from tradecore_pipeline.models.lstm_shape import LstmShape
from tradecore_pipeline.models.pool import BASELINE, NETWORK, pool_start
from tradecore_pipeline.models.pool_members import SWITCHING, SWITCHING_LEAST_T, HarFamily

LSTM_LEAST_T = 2.0
"""Thousands of weights have to prove what they add; below this the network stays out of the month's pool."""
ABLATION_MEMBERS = (0, 2, 4)
"""Networks that a cheaper ensemble has: enough to compare two such ensembles by, at three fifths of the time."""
_LEAST_T = {SWITCHING: SWITCHING_LEAST_T, NETWORK: LSTM_LEAST_T}
_ALL = tuple(range(MEMBERS))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The last part of a window, as members saw it that were fitted on the part before it alone."""

    bars: pd.DataFrame
    """The whole window: forecasts need a run-up."""
    forecasts: Mapping[str, StudentMixture]
    """Densities of the bar after each of ``bars`` by member; none where the first part is too short for t-HAR."""
    scores: Mapping[str, Floats]
    """Their log scores in nats, NaN before the last part."""
    ablations: Mapping[str, Floats]
    """Likewise of the LSTM's correction without some of its inputs, and of all of them beside (``NETWORK``), each by
    ``ABLATION_MEMBERS`` networks; none where they were not asked for."""


@dataclass(frozen=True, slots=True)
class FittedForecaster:
    """A forecaster, and what there is to know of its fit that forecasting does not need."""

    model: LstmForecaster
    held_out: HeldOut
    learning_curve: tuple[float, ...]
    """The held-out score in nats a bar that stops the training, by epoch; the first is t-HAR's."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the LSTM is trained on beside t-HAR's terms, and how."""

    filtered: pd.DataFrame | None
    """Filtered probabilities, or None."""
    features: pd.DataFrame | None
    """Tuned indicators and other columns, or None."""
    regimes: str
    """What is made of filtered probabilities: a word of ``inputs.LSTM_REGIMES``."""
    shape: LstmShape
    """Of the networks and their training."""
    epochs: int
    """Most passes over the bars."""
    seed: int
    """Of weights, chunk offsets and dropout."""
    device: str
    """``cpu``, ``cuda`` or ``auto``."""
    history: pd.DataFrame | None
    """Bars of several windows, the month's the last of them, for shapes that ask for them: the frames above are on its
    index then. None for the month's alone."""

    @property
    def choices(self) -> dict[str, str | int | float]:
        """How it is trained, in plain values."""
        own = {"regimes": self.regimes, "epochs": self.epochs, "seed": self.seed, "device": self.device}
        return own | self.shape.config()

    @property
    def ablations(self) -> Mapping[str, "Recipe"]:
        """The same without one kind of input, by name."""
        regimes = self.filtered is not None and self.regimes != NONE
        found = {WITHOUT_REGIMES: replace(self, filtered=None)} if regimes else {}
        return found | ({} if self.features is None else {WITHOUT_TUNED: replace(self, features=None)})

    def inputs(self, bars: pd.DataFrame, har: THar) -> pd.DataFrame:
        """What the network reads of ``bars``, which are among those of the frames."""
        frames = (None if self.regimes == NONE else self.filtered, self.features)
        filtered, features = (frame if frame is None else frame.loc[bars.index] for frame in frames)
        return forecast_inputs(bars, har, filtered=filtered, features=features)

    def fit(self, bars: pd.DataFrame, har: THar, *, members: Sequence[int]) -> tuple[Corrector, list[float]]:
        """Networks trained on ``bars`` alone to correct ``har``, and the held-out score by epoch that stopped them."""
        where = resolve_device(self.device)
        inputs = self.inputs(bars, har).dropna(axis=1, how="all")
        filtered = [] if self.filtered is None else [str(name) for name in self.filtered.columns]
        reading = reading_of(inputs, filtered=filtered, regimes=self.regimes)
        values, gates = reading.split(reading.table(inputs))
        spread = np.nanstd(values, axis=0)
        centre, spread = np.nanmean(values, axis=0), np.where(spread > 0, spread, 1.0)
        x = standardise(values, centre, spread)
        whole = Part.of(x, gates.astype(np.float32), bars, har, device=where)
        training = Training(self.shape, self.epochs, self.seed, CHUNKS_PER_STEP)
        with one_thread(), torch.random.fork_rng(devices=[0] if where == "cuda" else []):
            network, curve = train(whole, reading, training, members=members)
        weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
        return Corrector(reading, centre, spread, self.shape, len(members), weights), curve


def fit_forecaster(bars: pd.DataFrame, *, family: HarFamily, recipe: Recipe, ablations: bool) -> FittedForecaster:
    """The forecaster of a training window and its evidence; labels are next returns inside its bars.

    The bars are cut into ``MEMBERS`` blocks; each network of the ensemble is trained without one of them (and
    ``EMBARGO_BARS`` around it). Together the blocks held out cover the bars, and their score stops the training. A
    score that was chosen by is no evidence: so the same is done on what was before the window's last part alone, and
    the pool begins with what all members' fits there said of that part.

    Args:
        bars: the window, indexed by ts_open.
        family: t-HAR, which the network corrects, and the pool's other members, fitted on the window.
        recipe: the network's inputs, on the index of its bars, and its training.
        ablations: whether fits without some inputs are held against the last part, too.

    Raises:
        ModelFitError: the window is too short, or there is no such device.
    """
    if len(bars) < LEAST_LSTM_BARS:
        raise ModelFitError(
            f"{len(bars)} bars are too few for the LSTM (it needs {LEAST_LSTM_BARS}): lengthen the training window"
        )
    longest = bars if recipe.history is None else recipe.history
    held_out = _held_out(bars, longest, family, recipe, ablations=ablations)
    corrector, curve = recipe.fit(longest, family.har, members=_ALL)
    report = {
        "epochs": float(np.argmax(curve)),
        "stopping_log_score": max(curve),
        "stopping_har_log_score": curve[0],
        "lstm_bars": float(len(longest)),
        "lstm_windows": len(longest) / len(bars),
    }
    start = pool_start(held_out.scores, least_t=_LEAST_T, lags=block_length(family.har.timeframe))
    model = LstmForecaster(family, corrector, start, report)
    return FittedForecaster(model, held_out, tuple(curve))


def _held_out(
    bars: pd.DataFrame, longest: pd.DataFrame, family: HarFamily, recipe: Recipe, *, ablations: bool
) -> HeldOut:
    forecasts, first = family.held_out(bars)
    if family.early is None:
        return HeldOut(bars, forecasts, {}, {})
    har, early = family.early.har, longest.loc[longest.index < family.held_out_from]
    usual, _ = recipe.fit(early, har, members=_ALL)
    found = {NETWORK: usual.only(ABLATION_MEMBERS)} if ablations else {}
    for name, other in recipe.ablations.items() if ablations else ():
        found[name], _ = other.fit(early, har, members=ABLATION_MEMBERS)
    inputs, baseline = recipe.inputs(bars, har), forecasts[BASELINE]
    forecasts[NETWORK] = corrected(baseline, usual.corrections(inputs))
    others = {name: corrected(baseline, corrector.corrections(inputs)) for name, corrector in found.items()}
    scores = family.held_out_scores(forecasts, bars, first)
    return HeldOut(bars, forecasts, scores, family.held_out_scores(others, bars, first))
