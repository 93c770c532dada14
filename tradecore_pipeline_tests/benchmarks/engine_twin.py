"""The compiled backtest engine against its twin in plain Python, on 10,000 random cases."""

from time import perf_counter

import numpy as np

from tradecore_pipeline_tests.backtest.cases import both, difference, random_case
from tradecore_pipeline_tests.benchmarks.report import print_report, say

CASES, BARS, CAPITAL = 10_000, 200, 10_000.0


def main() -> None:
    begin = perf_counter()
    survived = identical = fills = 0
    for seed in range(CASES):
        fast, slow = both(*random_case(seed, BARS), CAPITAL)
        apart = difference(fast, slow)
        survived += not apart
        identical += np.array_equal(fast.equity, np.array(slow.equity))
        fills += len(fast.fill_rows)
        if apart:
            say(f"case {seed}: {apart}")
    print_report(
        name="engine_twin",
        ours=float(survived),
        peer=float(CASES),
        peer_name="cases",
        unit="cases that agree",
        ratio=survived / CASES,
        equal=survived == CASES,
        n=CASES,
        note=f"equity, fills and trades to 1e-12 relative; {identical} equity curves bit for bit; {fills} fills; "
        f"{perf_counter() - begin:.0f} s",
    )


if __name__ == "__main__":
    main()
