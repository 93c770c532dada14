"""A study of a strategy's parameters: 1,000 choices on 60,000 bars, each planned and simulated with all costs."""

import os
from time import perf_counter, process_time

import numpy as np

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.strategies.reading import variant
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.tuning.strategies import Rolling, TuningPlan, best_values, choices_of, knobs_of
from tradecore_pipeline_tests.benchmarks.report import print_report
from tradecore_pipeline_tests.strategies.worlds import HOUR, series

BARS, TRIALS, THREADS, SEED = 60_000, 1_000, 2, 7
BAR_SECONDS = 10.0


def main() -> None:
    market, config = series(SEED, HOUR, BARS), variant("balanced")
    times = market.bars.index.as_unit("ns").asi8[8::8]
    funding = Funding.of(times, np.random.default_rng(SEED).normal(1e-4, 1e-4, len(times)), None)
    seconds: dict[int, float] = {}
    processor: dict[int, float] = {}
    found = {}
    for threads, trials in ((1, 20), (THREADS, TRIALS), (1, TRIALS)):
        plan = TuningPlan(BARS, trials, SEED, threads)
        rolling = Rolling(config, Registry(), {market.instrument: market}, {market.instrument: funding}, plan)
        worth, knobs = rolling.objective({market.instrument: (0, BARS)}), knobs_of(config)
        own = choices_of(config, plan)[0]
        began, spent = perf_counter(), process_time()
        found[threads] = best_values(worth, knobs, own, plan)
        seconds[threads], processor[threads] = perf_counter() - began, process_time() - spent
    print_report(
        name="strategy_study",
        ours=seconds[THREADS],
        peer=BAR_SECONDS,
        peer_name="the bar",
        unit="s",
        ratio=BAR_SECONDS / seconds[THREADS],
        equal=found[1] == found[THREADS],
        n=TRIALS,
        note=f"{TRIALS} choices of {len(knobs_of(config))} parameters on {BARS} bars with funding, costs, stop "
        f"and target, on {THREADS} threads ({seconds[1]:.1f} s on one, {processor[1]:.1f} s of its processor); load "
        f"{os.getloadavg()[0]:.1f}; "
        "equal: the same choice on one thread",
    )


if __name__ == "__main__":
    main()
