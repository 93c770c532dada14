"""The one line of JSON that every benchmark ends with."""

import json
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter


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
    *, name: str, ours: float, peer: float, peer_name: str, unit: str, equal: bool, n: int, note: str
) -> None:
    line = {
        "name": name,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "unit": unit,
        "ratio": peer / ours,
        "equal": equal,
        "n": n,
        "note": note,
    }
    sys.stdout.write(json.dumps(line) + "\n")
