"""The filter one bar at a time, against the same bar in plain numpy."""

from statistics import median
from time import perf_counter

import numpy as np

from tradecore_pipeline.models.density import Floats, student_t_log_density
from tradecore_pipeline.models.kernels import forward_filter, student_t_log_likelihood
from tradecore_pipeline.models.online import OnlineFilter, student_t_densities
from tradecore_pipeline_tests.benchmarks.chains import STATES, planted_chain
from tradecore_pipeline_tests.benchmarks.report import print_report

BARS = 20_000
BAR_MICROSECONDS = 10.0


def main() -> None:
    chain = planted_chain(features=2)
    X, dfs = chain.X[:BARS], np.full_like(chain.scales, 5.0)
    online = OnlineFilter(
        chain.startprob, chain.transmat, "benchmark", student_t_densities(chain.means, chain.scales, dfs)
    )

    state = {"probabilities": chain.startprob, "transmat": np.eye(STATES)}

    def plain(x: Floats) -> Floats:
        logs = student_t_log_density(x, chain.means, chain.scales, dfs).sum(axis=1)
        weight = (state["probabilities"] @ state["transmat"]) * np.exp(logs - logs.max())
        state["probabilities"], state["transmat"] = weight / weight.sum(), chain.transmat
        return state["probabilities"]

    times: tuple[list[float], list[float]] = ([], [])
    rows: tuple[list[Floats], list[Floats]] = ([], [])
    for x in X:
        for spent, found, update in zip(times, rows, (online.update, plain), strict=True):
            begin = perf_counter()
            probabilities = update(x)
            spent.append(perf_counter() - begin)
            found.append(probabilities)
    batch, _ = forward_filter(
        chain.startprob, chain.transmat, student_t_log_likelihood(X, chain.means, chain.scales, dfs)
    )
    ours, peer = median(times[0]) * 1e6, median(times[1]) * 1e6
    print_report(
        name="hmm_online",
        ours=ours,
        peer=peer,
        peer_name=f"the same step in numpy {np.__version__}",
        unit="us per bar",
        ratio=peer / ours,
        equal=bool(max(np.abs(np.array(found) - batch).max() for found in rows) < 1e-12),
        n=BARS,
        note=f"{STATES} states, 2 features, Student-t, from the observation to filtered probabilities; bar "
        f"{BAR_MICROSECONDS:.0f} us; p99 {np.quantile(times[0], 0.99) * 1e6:.1f} us; equal: to 1e-12 of the batch",
    )


if __name__ == "__main__":
    main()
