"""Training the LSTM in chunks against the usual loop over one window per bar (Dataset, DataLoader): speed and score."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from time import process_time

import numpy as np
import torch

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, tuned_features
from tradecore_pipeline.models.har import fit_har
from tradecore_pipeline.models.lstm import forecast_inputs
from tradecore_pipeline.models.lstm_members import (
    CHUNKS_PER_STEP,
    EMBARGO_BARS,
    WEIGHT_DECAY,
    Member,
    Part,
    Training,
    log_density,
)
from tradecore_pipeline.models.lstm_network import CorrectionNetwork, Memory, one_thread
from tradecore_pipeline.models.lstm_reading import Reading, reading_of, standardise
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline_tests.benchmarks.report import print_report, say
from tradecore_pipeline_tests.models.markets import simulate

HOUR = Timeframe("1h")
TRAIN_BARS, VALIDATION_BARS = 4_320, 1_440
WINDOWS = (60, 120)
"""Bars of the loop's windows: the least that a chunk's targets have before them (150 on average), and twice that."""
BATCHES = (32, 64, 256)
PEER_BATCH = 64
"""The peer's, of both measures: larger ones are about as fast and learn less (.003 nats at 256), 32 is slower."""
LOOP_DROPOUT, LOOP_LEARNING_RATE = 0.2, 2e-3
"""What suits the loop: with the chunks' own values and their way to drop it learns less (see docs/benchmarks.md)."""
SEEDS = (1, 2, 3, 4, 5)
LOOP_EPOCHS, EPOCHS = 10, 120
SPEED_BAR, TIME_BAR = 50.0, 1 / 3
_REPEATS = 5

Curve = list[tuple[float, float]]
"""CPU seconds of training so far, and the score on the validation bars, by epoch."""


@dataclass(frozen=True)
class Task:
    """Bars with their inputs; the last ones are for validation."""

    whole: Part
    reading: Reading

    @property
    def validation(self) -> Part:
        return self.whole.rows(slice(TRAIN_BARS, None))


class Windows(torch.utils.data.Dataset[tuple[torch.Tensor, ...]]):
    """One window of inputs per bar, with what its last bar's forecast is scored by."""

    def __init__(self, part: Part, after: int, *, bars: int) -> None:
        counts = part.counts.numpy()
        self._part = part
        self._window_bars = bars
        self._bars = [bar for bar in range(bars - 1, after) if counts[bar]]

    def __len__(self) -> int:
        return len(self._bars)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, ...]:
        bar, part = self._bars[item], self._part
        window = slice(bar - self._window_bars + 1, bar + 1)
        return (
            part.x[window], part.gates[window], part.surprise[bar], part.df[bar], part.constant[bar], part.counts[bar],
        )  # fmt: skip


class UsualNetwork(CorrectionNetwork):
    """The same layers, which leave out each value by itself and no recurrent weight."""

    def _hidden(self, x: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        return self.lstm(self._dropped(x), memory)

    def _dropped(self, sequences: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(sequences, LOOP_DROPOUT, training=self.training)


class Loop:
    """The same layers, trained in the usual way: a window per bar, scored by its last step."""

    def __init__(self, task: Task, *, batch: int, seed: int, window_bars: int = WINDOWS[0]) -> None:
        torch.manual_seed(seed)
        reading, shape = task.reading, DEFAULT_SHAPE
        self.network = UsualNetwork(
            reading.inputs, hidden=shape.hidden, layers=shape.layers, dropout=LOOP_DROPOUT, heads=reading.heads,
            states=reading.direct,
        )  # fmt: skip
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=LOOP_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        windows = Windows(task.whole, TRAIN_BARS - EMBARGO_BARS, bars=window_bars)
        self.targets = len(windows)
        self._loader = torch.utils.data.DataLoader(windows, batch_size=batch, shuffle=True)

    def one_epoch(self) -> None:
        self.network.train()
        for x, gates, *rest in self._loader:
            part = Part(x, gates, *rest)
            loss = -log_density(part, self.network(x.transpose(0, 1), gates.transpose(0, 1))[-1]).mean()
            self._optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._optimiser.step()


def task() -> Task:
    """A market that switches too often for t-HAR to follow, the usual indicators, and a noisy one of the next state.

    That one is known only because this market says so: there has to be something to learn, and to remember.
    """
    rows = TRAIN_BARS + VALIDATION_BARS
    market = simulate(rows, scales=(0.3, 1.5), stay=0.8, df=5.0, seed=11, frequency="1h", minutes=60)
    bars, noise = market.bars, np.random.default_rng(11).normal(size=rows)
    train = bars.iloc[:TRAIN_BARS]
    har = fit_har(train, timeframe=HOUR, seasonal=SeasonalScale.fit(train))
    tuned = tuned_features(bars, DEFAULT_PARAMETERS, timeframe=HOUR).assign(
        noisy_state=np.append(market.states[1:], 0) + noise
    )
    inputs = forecast_inputs(bars, har, filtered=None, features=tuned).dropna(axis=1, how="all")
    values = inputs.to_numpy(dtype=np.float64)
    centre, spread = np.nanmean(values[:TRAIN_BARS], axis=0), np.nanstd(values[:TRAIN_BARS], axis=0)
    x = standardise(values, centre, np.where(spread > 0, spread, 1.0))
    gates = np.ones((rows, 1), dtype=np.float32)
    return Task(Part.of(x, gates, bars, har, device="cpu"), reading_of(inputs, filtered=(), regimes="none"))


def chunked(given: Task, *, seed: int) -> Member:
    """Ours: the validation bars are what it does not train on."""
    block = slice(TRAIN_BARS, TRAIN_BARS + VALIDATION_BARS)
    return Member(given.whole, block, given.reading, Training(DEFAULT_SHAPE, EPOCHS, seed, CHUNKS_PER_STEP))


def targets_an_epoch(member: Member) -> float:
    """Of ours, the mean over offsets: a target comes after its first chunk's burn-in."""
    counts, burn_in = member.train_counts.numpy(), DEFAULT_SHAPE.burn_in_bars
    offsets = range(DEFAULT_SHAPE.chunk_bars - burn_in)
    return float(np.mean([counts[offset + burn_in :].sum() for offset in offsets]))


def loop_score(loop: Loop, given: Task) -> float:
    """Mean log score on the validation bars, each from the window before it."""
    loop.network.eval()
    bars = WINDOWS[0]
    x = given.whole.x.unfold(0, bars, 1).permute(2, 0, 1)[:, TRAIN_BARS - bars + 1 :]
    with torch.inference_mode():
        return _mean_score(given, loop.network(x, torch.ones(*x.shape[:2], 1))[-1])


def own_score(member: Member, given: Task) -> float:
    """The same of ours, its memory running through."""
    return _mean_score(given, member.held_out_corrections())


def _mean_score(given: Task, corrections: torch.Tensor) -> float:
    part = given.validation
    return float(log_density(part, corrections)[part.counts].double().mean())


def speeds(given: Task) -> tuple[float, dict[tuple[int, int], float]]:
    """Targets per CPU-second, ours and the loop's by window and batch, measured in turns."""
    member = chunked(given, seed=1)
    loops = {
        (window, batch): Loop(given, batch=batch, seed=1, window_bars=window) for window in WINDOWS for batch in BATCHES
    }
    member.one_epoch()
    ours: list[float] = []
    theirs: dict[tuple[int, int], list[float]] = {name: [] for name in loops}
    for _ in range(_REPEATS):
        for name, loop in loops.items():
            theirs[name].append(loop.targets / _seconds(loop))
            ours.append(targets_an_epoch(member) / _seconds(member))
    return median(ours), {name: median(rates) for name, rates in theirs.items()}


def curves(given: Task, *, seed: int) -> tuple[Curve, Curve]:
    """How ours and the loop learn, of one seed."""
    loop = Loop(given, batch=PEER_BATCH, seed=seed)
    theirs = _curve(loop, lambda: loop_score(loop, given), epochs=LOOP_EPOCHS)
    member = chunked(given, seed=seed)  # after the loop: both seed torch as they begin
    ours = _curve(member, lambda: own_score(member, given), epochs=EPOCHS)
    for name, curve in (("the loop", theirs), ("ours", ours)):
        spent, best = max(curve, key=lambda point: point[1])
        say(f"seed {seed}: {name} is best with {best:.4f} nats after {spent:.2f} s of {curve[-1][0]:.2f} s")
    return ours, theirs


def _curve(trained: Member | Loop, score: Callable[[], float], *, epochs: int) -> Curve:
    spent, found = 0.0, Curve()
    for _ in range(epochs):
        spent += _seconds(trained)
        found.append((spent, score()))
    return found


def _until(curve: Curve, wanted: float) -> float:
    """Seconds until a score is reached; infinite where it never is."""
    return next((spent for spent, score in curve if score >= wanted), np.inf)


def _seconds(trained: Member | Loop) -> float:
    begin = process_time()
    trained.one_epoch()
    return process_time() - begin


def main() -> None:
    with one_thread():
        given = task()
        ours, peers = speeds(given)
        listed = ", ".join(f"{window}/{batch}: {rate:,.0f}" for (window, batch), rate in peers.items())
        say(f"targets per CPU-second: ours {ours:,.0f}; the loop's by window and batch {listed}")
        say(f"t-HAR itself scores {_mean_score(given, torch.zeros(VALIDATION_BARS, 2)):.4f}")
        found = [curves(given, seed=seed) for seed in SEEDS]
    best = [max(theirs, key=lambda point: point[1]) for _, theirs in found]
    spent, usual = (float(np.mean(values)) for values in zip(*best, strict=True))
    to_usual = [_until(own, usual) for own, _ in found]
    to_same = [_until(own, score) for (own, _), (_, score) in zip(found, best, strict=True)]
    peer = peers[WINDOWS[0], PEER_BATCH]
    print_report(
        name="lstm_training",
        ours=ours,
        peer=peer,
        peer_name=f"torch {version('torch')} DataLoader, a window of {WINDOWS[0]} bars per bar, batch {PEER_BATCH}",
        unit="targets per CPU-second, one thread",
        ratio=ours / peer,
        equal=bool(np.mean(to_usual) <= TIME_BAR * spent),
        n=TRAIN_BARS,
        note=f"bar {SPEED_BAR:.0f}; {ours / max(peers.values()):.0f} times the fastest; by window/batch {listed}; the "
        f"loop is best of {LOOP_EPOCHS} epochs (its cap) with {usual:.4f} nats after {spent:.2f} s, means of "
        f"{len(SEEDS)} seeds; ours reaches that in {np.isfinite(to_usual).sum()} seeds, in "
        f"{np.mean(to_usual) / spent:.2f} of its time (bar {TIME_BAR:.2f}; equal: this), and the same seed's own best "
        f"in {np.isfinite(to_same).sum()}",
    )


if __name__ == "__main__":
    main()
