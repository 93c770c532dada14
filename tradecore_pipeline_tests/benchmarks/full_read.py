"""Seven years of minute bars as a DataFrame, against pandas reading the same files."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.bars import days_of_bars
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report
from tradecore_pipeline_tests.benchmarks.seven_years import DAYS, FIRST, fill
from tradecore_pipeline_tests.storage.days import BTC, PRICE_NAMES


def main() -> None:
    days, source = days_of_bars(30)
    with TemporaryDirectory() as home:
        layout = Layout(Path(home))
        lake = Lake(layout)
        rows = fill(lake, [table for _, table in days])
        files = sorted(layout.series(BARS_1M.name, BTC, timeframe=None).iterdir())
        start, end = day_start(FIRST), day_start(FIRST + timedelta(days=DAYS))

        def peer() -> pd.DataFrame:
            frame = pd.concat([pd.read_parquet(path, partitioning=None) for path in files])
            return frame.astype(dict.fromkeys(PRICE_NAMES, "float64")).set_index("ts_open")

        ours, theirs = interleaved(lambda: lake.read(BARS_1M, BTC, start, end), peer, repeats=3)
        half_end = start + timedelta(days=180)
        half, _ = interleaved(lambda: lake.read(BARS_1M, BTC, start, half_end), lambda: None, repeats=5)
        mine, other = lake.read(BARS_1M, BTC, start, end), peer()
    names = list(other.columns)
    print_report(
        name="full_read",
        ours=ours,
        peer=theirs,
        peer_name=f"pandas {pd.__version__} read_parquet per file",
        unit="s",
        ratio=theirs / ours,
        equal=bool((mine[names].to_numpy() == other[names].to_numpy()).all() and (mine.index == other.index).all()),
        n=rows,
        note=f"{source}; {DAYS} daily files; 180 days in {half * 1e3:.0f} ms",
    )


if __name__ == "__main__":
    main()
