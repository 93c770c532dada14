"""Every rule of the backtest engine at once, over almost five years of minutes."""

from statistics import median
from time import perf_counter

import numpy as np

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline_tests.benchmarks.backtest_markets import START, minutes
from tradecore_pipeline_tests.benchmarks.report import print_report

ROWS, BAR_MS, REPEATS = 2_500_000, 50.0, 15
EIGHT_HOURS = 8 * 3600 * 10**9


def main() -> None:
    random = np.random.default_rng(7)
    times = START + EIGHT_HOURS * np.arange(ROWS // 480)
    bars = minutes(ROWS, funding=Funding.of(times, random.normal(1e-4, 1e-4, len(times)), None))
    entered = random.random(ROWS) < 0.005
    orders = Orders.of(
        np.where(entered, random.choice([-1.0, 1.0], ROWS) * random.uniform(0.2, 1.0, ROWS), np.nan),
        stop=random.uniform(0.01, 0.03, ROWS), profit=random.uniform(0.02, 0.05, ROWS), trail=0.02,
        trail_activation=0.01,
    )  # fmt: skip
    rules = Rules(
        sizing=Sizing.EQUITY, distance=Distance.FRACTION, stop_first=True, leverage=3.0, maintenance_margin=0.005,
        isolated=True, lot=0.0, minimum_notional=0.0, resize_step=0.1, trail_by_bar=False,
    )  # fmt: skip
    costs = Costs(maker=0.0, taker=0.0001, slippage=0.00005)
    trades, seconds = 0, []
    for _ in range(REPEATS):
        begin = perf_counter()
        trades = run_backtest(bars, orders, costs=costs, rules=rules, capital=1e6).totals.trades
        seconds.append(perf_counter() - begin)
    ours = median(seconds[1:]) * 1e3
    print_report(
        name="backtest_full_loop",
        ours=ours,
        peer=BAR_MS,
        peer_name="the bar",
        unit="ms",
        ratio=BAR_MS / ours,
        equal=False,
        n=ROWS,
        note=f"funding, stop, target, trailing, sizing by equity, leverage; {trades} trades; "
        f"{ROWS / ours / 1e3:.0f} million bars/s; without the compiling of the first run ever; equality: engine_twin",
    )


if __name__ == "__main__":
    main()
