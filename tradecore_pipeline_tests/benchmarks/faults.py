"""Seeded faults over four exchanges: stored days equal the truth, or say that they do not, or failed with a reason.

``BENCHMARK_FAULTS`` says how many faults must have fired before it ends, ``BENCHMARK_FAULTS_SEED`` the first scenario.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from tradecore_pipeline_tests.benchmarks.fault_scenarios import Tally, run_scenarios
from tradecore_pipeline_tests.benchmarks.report import print_report, say

VARIABLE, SEED_VARIABLE = "BENCHMARK_FAULTS", "BENCHMARK_FAULTS_SEED"
_AT_ONCE = 20
_PROCESSES = 2


def main() -> None:
    wanted, first = int(os.environ.get(VARIABLE, "200")), int(os.environ.get(SEED_VARIABLE, "0"))
    began, tally, scenarios = time.perf_counter(), Tally(), 0
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        while tally.fired.total() < wanted:
            starts = [first + scenarios + _AT_ONCE * number for number in range(_PROCESSES)]
            scenarios += _AT_ONCE * _PROCESSES
            for done in as_completed([pool.submit(run_scenarios, range(s, s + _AT_ONCE)) for s in starts]):
                tally.add(done.result())
            say(f"{scenarios} scenarios, {tally.fired.total()} faults fired, {len(tally.faults)} findings")
    for found in tally.faults:
        say(f"FOUND: {found}")
    say(f"fired: {dict(tally.fired.most_common())}")
    say(f"errors: {dict(tally.errors.most_common())}")
    days = ", ".join(f"{count} {kind}" for kind, count in tally.days.most_common())
    print_report(
        name="faults",
        ours=len(tally.faults),
        peer=0,
        peer_name="the bar: no wrong, empty or open row is ever final",
        unit="findings",
        ratio=0.0 if tally.faults else 1.0,
        equal=not tally.faults,
        n=tally.fired.total(),
        note=f"faults that fired ({VARIABLE} sets how many at least) in {scenarios} scenarios from seed {first} on, "
        f"{tally.lasting} of them lasting, {len(tally.fired)} kinds; days: {days}; afterwards repair or verify found "
        f"every day that was not true, and another launch mended it; {time.perf_counter() - began:.0f} s",
    )


if __name__ == "__main__":
    main()
