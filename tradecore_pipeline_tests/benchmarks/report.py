"""The one line of JSON that every benchmark ends with."""

import json
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

SKIPPED = 3
"""Exit status of a benchmark that cannot run here; its last line says what it needs."""


def interleaved(ours: Callable[[], object], peer: Callable[[], object], *, repeats: int) -> tuple[float, float]:
    """Median seconds of both, run in turns so that a busy machine is busy for both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for spent, run in zip(times, (ours, peer), strict=True):
            begin = perf_counter()
            run()
            spent.append(perf_counter() - begin)
    return median(times[0]), median(times[1])


def print_report(
    *, name: str, ours: float, peer: float, peer_name: str, unit: str, ratio: float, equal: bool, n: int, note: str
) -> None:
    """``ratio`` is above 1 where ours is better; ``equal`` is true only if the results were compared and agree."""
    line = {
        "name": name,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "unit": unit,
        "ratio": ratio,
        "equal": equal,
        "n": n,
        "note": note,
    }
    say(json.dumps(line))


def say(line: str) -> None:
    """One line of output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
