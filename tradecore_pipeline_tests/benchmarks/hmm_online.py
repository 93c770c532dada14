"""The filter one bar at a time, against the same step in plain numpy, and all that a streamed bar costs."""

from datetime import UTC, date, datetime
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import forward_filter
from tradecore_pipeline.models.online import OnlineFilter, parameters_id
from tradecore_pipeline.models.regimes import fit_regimes
from tradecore_pipeline.serving.next_bars import BAR_COLUMNS
from tradecore_pipeline.serving.online_regimes import OnlineRegimes, reach_bars
from tradecore_pipeline_tests.benchmarks.chains import STATES, planted_chain
from tradecore_pipeline_tests.benchmarks.report import print_report
from tradecore_pipeline_tests.models.markets import simulate

BARS = 20_000
BAR_MICROSECONDS = 10.0
WINDOW, STREAMED = 2_000, 500
LATER = datetime(2022, 12, 1, tzinfo=UTC)


def streamed() -> tuple[float, bool]:
    """Median milliseconds of ``OnlineRegimes.update`` of one bar, and whether its rows are the batch's to 1e-9."""
    bars = simulate(
        WINDOW + STREAMED, scales=(0.2, 0.6, 1.8), stay=0.98, df=5.0, seed=4, frequency="5min", minutes=5
    ).bars
    model = fit_regimes(
        bars.iloc[:WINDOW], timeframe=Timeframe("5m"), states=3, restarts=2, emission="return_variance", features=(),
        carry_bars=(1, 3), seed=1,
    )  # fmt: skip
    batch = model.filter(bars).probabilities
    filtering = OnlineFilter(model.startprob, model.transmat, parameters_id(model.to_arrays()))
    filtering.probabilities, filtering.bars = batch[WINDOW - 1].copy(), WINDOW
    online = OnlineRegimes(
        instrument=Instrument.parse("binance:BTC/USDT:USDT"), month=date(2022, 1, 1), model=model, hmm_run_id="none",
        direction_significant=False, label_threshold=0.6, clock=lambda: LATER, filtering=filtering,
        recent=bars.iloc[WINDOW - reach_bars(model) : WINDOW][list(BAR_COLUMNS)],
        held_index=int(batch[WINDOW - 1].argmax()),
    )  # fmt: skip
    times: list[float] = []
    rows: list[pd.DataFrame] = []
    for t in range(WINDOW, WINDOW + STREAMED):
        begin = perf_counter()
        rows.append(online.update(bars.iloc[t : t + 1]))
        times.append(perf_counter() - begin)
    found = np.vstack(pd.concat(rows)["filtered_probability"].to_list())
    return median(times) * 1e3, bool(np.abs(found - batch[WINDOW:]).max() < 1e-9)


def main() -> None:
    chain = planted_chain(features=2)
    likelihood = chain.log_likelihood[:BARS]
    online = OnlineFilter(chain.startprob, chain.transmat, "benchmark")
    state = {"probabilities": chain.startprob, "transmat": np.eye(STATES)}

    def plain(row: Floats) -> Floats:
        weight = (state["probabilities"] @ state["transmat"]) * np.exp(row - row.max())
        state["probabilities"], state["transmat"] = weight / weight.sum(), chain.transmat
        return state["probabilities"]

    times: tuple[list[float], list[float]] = ([], [])
    rows: tuple[list[Floats], list[Floats]] = ([], [])
    for row in likelihood:
        for spent, found, update in zip(times, rows, (online.update_from, plain), strict=True):
            begin = perf_counter()
            probabilities = update(row)
            spent.append(perf_counter() - begin)
            found.append(probabilities)
    batch, _ = forward_filter(chain.startprob, chain.transmat, likelihood)
    ours, peer = median(times[0]) * 1e6, median(times[1]) * 1e6
    milliseconds, same = streamed()
    print_report(
        name="hmm_online",
        ours=ours,
        peer=peer,
        peer_name=f"the same step in numpy {np.__version__}",
        unit="us per bar",
        ratio=peer / ours,
        equal=same and bool(max(np.abs(np.array(found) - batch).max() for found in rows) < 1e-12),
        n=BARS,
        note=f"{STATES} states, from a bar's log-likelihoods to filtered probabilities; bar {BAR_MICROSECONDS:.0f} us; "
        f"p99 {np.quantile(times[0], 0.99) * 1e6:.1f} us; the whole of OnlineRegimes.update, one bar checked, filtered "
        f"and named: {milliseconds:.2f} ms; equal: to 1e-12 of the batch, the stream's rows to 1e-9",
    )


if __name__ == "__main__":
    main()
