"""The LSTM one bar at a time, its memory carried forward: five networks in one step, against torch's own modules."""

from importlib.metadata import version
from statistics import median
from time import perf_counter

import numpy as np
import torch

from tradecore_pipeline.models.inputs import PROBABILITIES
from tradecore_pipeline.models.lstm_corrector import Corrector, new_network
from tradecore_pipeline.models.lstm_members import MEMBERS
from tradecore_pipeline.models.lstm_network import Ensemble, Memory, one_thread
from tradecore_pipeline.models.lstm_reading import Reading
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline_tests.benchmarks.report import print_report

BARS = 10_000
INPUTS, STATES = 16, 3
BAR_MICROSECONDS = 100.0
TOLERANCE = 1e-5


def corrector() -> Corrector:
    """Networks of the published shape and number, as large as trained ones, with heads that say something."""
    states = tuple(f"state_{k}" for k in range(STATES))
    reading = Reading((*(f"input_{k}" for k in range(INPUTS - STATES)), *states), states, PROBABILITIES)
    torch.manual_seed(4)
    ensemble = Ensemble([new_network(reading, DEFAULT_SHAPE) for _ in range(MEMBERS)])
    weights = {name: value.numpy() for name, value in ensemble.state_dict().items()}
    random = np.random.default_rng(4)
    for name, value in weights.items():
        if "head" in name or "direct" in name:
            value[:] = random.normal(scale=0.1, size=value.shape)
    return Corrector(reading, np.zeros(INPUTS), np.ones(INPUTS), DEFAULT_SHAPE, MEMBERS, weights)


def main() -> None:
    own = corrector()
    table = np.random.default_rng(5).normal(size=(BARS, INPUTS))
    network, stream = own.network(), own.stream()
    rows, gate = torch.from_numpy(table.astype(np.float32)), torch.ones(1, 1, 1)
    times: tuple[list[float], list[float]] = ([], [])
    found: tuple[list[tuple[float, float]], list[torch.Tensor]] = ([], [])
    memories: list[Memory | None] = [None] * MEMBERS
    with one_thread(), torch.inference_mode():
        for t in range(BARS):
            begin = perf_counter()
            found[0].append(stream.advance(table[t]))
            between = perf_counter()
            steps = [
                member.advance(rows[[t], None], gate, memory)
                for member, memory in zip(network.networks, memories, strict=True)
            ]
            memories = [memory for _, memory in steps]
            found[1].append(torch.stack([correction[0, 0] for correction, _ in steps]).mean(dim=0))
            times[0].append(between - begin)
            times[1].append(perf_counter() - between)
        batch = network.run(rows, torch.ones(BARS, 1)).numpy()
    away = max(float(np.abs(np.array(each) - batch).max()) for each in (found[0], torch.stack(found[1]).numpy()))
    ours, peer = median(times[0]) * 1e6, median(times[1]) * 1e6
    print_report(
        name="lstm_inference",
        ours=ours,
        peer=peer,
        peer_name=f"the same modules of torch {version('torch')}, one bar at a time",
        unit="us per bar, median",
        ratio=peer / ours,
        equal=away < TOLERANCE,
        n=BARS,
        note=f"{MEMBERS} networks of {DEFAULT_SHAPE.hidden}, {INPUTS} inputs; from a bar's inputs to its correction, "
        f"memory carried forward; bar {BAR_MICROSECONDS:.0f} us; p99 {np.quantile(times[0], 0.99) * 1e6:.0f} us; "
        f"equal: to {TOLERANCE:g} of the batch over {BARS:,} bars ({away:.1e})",
    )


if __name__ == "__main__":
    main()
