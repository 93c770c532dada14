"""Restarts of EM in step with each other, their E-steps on two threads, against one restart after the other."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from time import process_time

import numpy as np

from tradecore_pipeline.models.gaussian_hmm import GaussianHMM
from tradecore_pipeline_tests.benchmarks.chains import ROWS, STATES, Chain, planted_chain
from tradecore_pipeline_tests.benchmarks.hmm_engines import FEATURES, gaussian, restored
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

RESTARTS, ITERATIONS, REPEATS, THREADS = 4, 10, 7, 2
BAR = 1.7
"""What two threads must gain for restarts to run on threads."""


class Restarts:
    """Models that begin a little apart, with the memory that a fit keeps, and what their runs cost."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.models = [gaussian(GaussianHMM, chain, "full", "log") for _ in range(RESTARTS)]
        self.seconds: list[float] = []

    def begin(self) -> None:
        for number, model in enumerate(self.models):
            restored(model, self.chain)
            model.means_ = model.means_ + 0.01 * number

    def in_turn(self) -> None:
        self.begin()
        before = process_time()
        for model in self.models:
            for _ in range(ITERATIONS):
                model._do_mstep(model._do_estep(self.chain.X, None)[0])
        self.seconds.append(process_time() - before)

    def in_step(self, pool: ThreadPoolExecutor) -> None:
        self.begin()
        before = process_time()
        for _ in range(ITERATIONS):
            found = pool.map(lambda model: model._do_estep(self.chain.X, None)[0], self.models)
            for model, stats in zip(self.models, found, strict=True):
                model._do_mstep(stats)
        self.seconds.append(process_time() - before)


def same(one: GaussianHMM, other: GaussianHMM) -> bool:
    names = ("startprob_", "transmat_", "means_", "_covars_")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def main() -> None:
    chain = planted_chain(features=FEATURES)
    together, alone = Restarts(chain), Restarts(chain)
    with ThreadPoolExecutor(THREADS) as pool:
        ours, peer = interleaved(partial(together.in_step, pool), alone.in_turn, repeats=REPEATS)
    print_report(
        name="hmm_restarts",
        ours=ours,
        peer=peer,
        peer_name="one restart after the other, one core",
        unit="s",
        ratio=peer / ours,
        equal=all(map(same, together.models, alone.models)),
        n=ROWS,
        note=f"{RESTARTS} restarts of {STATES} states, {FEATURES} features, full covariance, {ITERATIONS} iterations "
        f"each, E-steps on {THREADS} threads: nobody's restarts run so unless that gains {BAR}; seconds of processor "
        f"{median(together.seconds):.2f} against {median(alone.seconds):.2f}; load {os.getloadavg()[0]:.1f}: beside "
        "other work the ratio says nothing; equal: to the last bit",
    )


if __name__ == "__main__":
    main()
