"""The backtest engine on half a million bars, against three others with the same orders, fees and fills."""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline_tests.benchmarks.backtest_markets import crossing, minutes
from tradecore_pipeline_tests.benchmarks.backtest_peers import (
    CAPITAL,
    FEE,
    with_backtesting,
    with_backtrader,
    with_vectorbt,
)
from tradecore_pipeline_tests.benchmarks.report import SKIPPED, print_report, say

ROWS = 500_000
PEERS = {
    "vectorbt": (with_vectorbt, 50.0, 9),
    "backtesting": (with_backtesting, 1_000.0, 3),
    "backtrader": (with_backtrader, 10_000.0, 3),
}
RULES = Rules(
    sizing=Sizing.UNITS, distance=Distance.PRICE, stop_first=True, leverage=1.0, maintenance_margin=0.0, isolated=True,
    lot=0.0, minimum_notional=0.0, resize_step=0.0, trail_by_bar=False,
)  # fmt: skip


def timed(run: Callable[[], float]) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of the processor, and the final equity."""
    begin, worked = perf_counter(), process_time()
    equity = run()
    return perf_counter() - begin, process_time() - worked, equity


def main() -> int:
    absent = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if absent:
        say(f"backtest_engine needs {', '.join(absent)}: pip install -e '.[bench]'")
        return SKIPPED
    bars = minutes(ROWS, funding=Funding.none())
    target = crossing(bars.close)
    costs = Costs(maker=FEE, taker=FEE, slippage=0.0)

    def ours() -> float:
        result = run_backtest(bars, Orders.of(target), costs=costs, rules=RULES, capital=CAPITAL)
        return float(result.equity[-1])

    timed(ours)
    least, found, agree, our_times = float("inf"), list[str](), True, list[float]()
    for name, (build, bar, repeats) in PEERS.items():
        run = build(bars, target)
        if name == "vectorbt":
            run()  # it compiles on its first call
        theirs, mine = list[tuple[float, float, float]](), list[tuple[float, float, float]]()
        for _ in range(repeats):
            theirs.append(timed(run))
            mine += [timed(ours) for _ in range(5)]
        apart = abs(theirs[0][2] / mine[0][2] - 1)
        agree = agree and apart <= 1e-9
        ratio, worked = (median(t[k] for t in theirs) / median(m[k] for m in mine) for k in range(2))
        our_times += [seconds for seconds, *_ in mine]
        least = min(least, ratio / bar)
        found.append(
            f"{name} {importlib.metadata.version(name)}: {median(t[0] for t in theirs):.4g} s, {ratio:,.0f} times (bar "
            f"{bar:,.0f}), {worked:,.0f} by processor time, apart {apart:.1g}"
        )
        say(found[-1])
    print_report(
        name="backtest_engine",
        ours=median(our_times) * 1e3,
        peer=1.0,
        peer_name="least of (ratio / bar) over vectorbt, backtesting.py, backtrader",
        unit="ms",
        ratio=least,
        equal=agree,
        n=ROWS,
        note="; ".join(found) + "; orders, fills, trades and equity by bar; final equity to 1e-9 relative",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
