"""Seven years of minutes to bars and stored features of every timeframe, against the second or two they may take."""

from datetime import datetime, timedelta
from time import perf_counter

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import TIMEFRAME_MINUTES, Timeframe
from tradecore_pipeline.features.bars import CONTEXT, aggregate_bars
from tradecore_pipeline.features.registry import FEATURE_NAMES, compute_features, warm_up_bars
from tradecore_pipeline_tests.benchmarks.features import seeded_minutes
from tradecore_pipeline_tests.benchmarks.report import print_report, say

ROWS = 3_800_000
BAR_SECONDS = 2.0
TIMEFRAME = "1h"
REPEATS = 5
DAYS_ALONE = 20
TOLERANCE = 1e-9
_DAY = timedelta(days=1)


def _perpetual(minutes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Settlements every eight hours and snapshots every five minutes, as long as the minutes."""
    random = np.random.default_rng(8)
    settled = minutes.index[::480].rename("ts_settle")
    taken = minutes.index[::5].rename("ts_event")
    contracts = 9e4 * np.exp(np.cumsum(random.normal(0, 1e-4, len(taken))))
    return (
        pd.DataFrame({"funding_rate": random.normal(1e-4, 5e-5, len(settled))}, index=settled),
        pd.DataFrame({"open_interest_base": contracts}, index=taken),
    )


def _compute(
    rows: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], timeframe: Timeframe, *, start: datetime, end: datetime
) -> pd.DataFrame:
    minutes, funding, open_interest = rows
    bars = aggregate_bars(minutes, timeframe, start=start, end=end)
    return compute_features(bars, funding, open_interest, timeframe=timeframe)


def _days_apart(
    rows: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], whole: pd.DataFrame, timeframe: Timeframe
) -> float:
    """The largest difference of days computed alone, each from its own minutes and those of its warm-up."""
    opened = whole.index.normalize().unique()
    worst = 0.0
    for start in opened[np.linspace(1, len(opened) - 2, DAYS_ALONE).astype(int)]:
        first = start - warm_up_bars(timeframe) * timeframe.duration
        given = tuple(frame.loc[first - CONTEXT : start + _DAY] for frame in rows)
        alone = _compute(given, timeframe, start=first, end=start + _DAY).loc[start:]
        names = list(FEATURE_NAMES)
        mine, expected = alone[names].to_numpy(), whole.loc[alone.index, names].to_numpy()
        if not np.array_equal(np.isnan(mine), np.isnan(expected)):
            return float("inf")
        worst = max(worst, float(np.nanmax(np.abs(mine - expected) / np.maximum(1.0, np.abs(expected)))))
    return worst


def main() -> None:
    minutes = seeded_minutes(ROWS)
    rows = (minutes, *_perpetual(minutes))
    start, end = minutes.index[0], minutes.index[-1] + timedelta(minutes=1)
    seconds: dict[str, float] = {}
    apart: dict[str, float] = {}
    for name in TIMEFRAME_MINUTES:
        timeframe = Timeframe.parse(name)
        spent: list[float] = []
        for _ in range(REPEATS):
            begin = perf_counter()
            whole = _compute(rows, timeframe, start=start, end=end)
            spent.append(perf_counter() - begin)
        seconds[name] = float(np.median(spent))
        apart[name] = _days_apart(rows, whole, timeframe)
        say(f"{name}: {len(whole)} bars, first time {spent[0]:.3f} s, median {seconds[name]:.3f} s")
    print_report(
        name="bars_and_features",
        ours=seconds[TIMEFRAME],
        peer=BAR_SECONDS,
        peer_name="the bar",
        unit="s",
        ratio=BAR_SECONDS / seconds[TIMEFRAME],
        equal=max(apart.values()) <= TOLERANCE,
        n=ROWS,
        note=f"seeded minutes to {TIMEFRAME} bars and all stored features; equal compares {DAYS_ALONE} days computed "
        f"alone at each timeframe with the full history (largest difference {max(apart.values()):.0e})",
    )


if __name__ == "__main__":
    main()
