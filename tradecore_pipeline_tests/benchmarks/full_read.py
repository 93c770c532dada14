"""Seven years of minute bars as arrays, against the same rows in a native DuckDB table."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.bars import days_of_bars
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report
from tradecore_pipeline_tests.benchmarks.seven_years import DAYS, FIRST, fill
from tradecore_pipeline_tests.storage.days import BTC

COLUMNS = ("open", "high", "low", "close", "volume")
_SELECT = f"SELECT ts_open, {', '.join(COLUMNS)} FROM"


def main() -> None:
    days, source = days_of_bars(30)
    with TemporaryDirectory() as home:
        layout = Layout(Path(home))
        lake = Lake(layout)
        rows = fill(lake, [table for _, table in days])
        start, end = day_start(FIRST), day_start(FIRST + timedelta(days=DAYS))
        month = start + timedelta(days=DAYS // 2)
        with Catalog(layout, [BTC], [], []).connect() as views, duckdb.connect() as native:
            shown = views.sql(f"{_SELECT} bars_1m ORDER BY ts_open").to_arrow_table()
            native.execute("CREATE TABLE bars AS SELECT * FROM shown")

            def ours() -> dict[str, np.ndarray]:
                frame = lake.read(BARS_1M, BTC, start, end, columns=COLUMNS)
                return {name: frame[name].to_numpy() for name in COLUMNS}

            def peer() -> Mapping[str, Any]:
                return native.execute(f"{_SELECT} bars").fetchnumpy()

            mine, theirs = interleaved(ours, peer, repeats=7)
            whole, by_view = interleaved(
                lambda: lake.read(BARS_1M, BTC, start, end),
                lambda: views.execute(f"{_SELECT} bars_1m").fetchnumpy(),
                repeats=3,
            )
            month_end = month + timedelta(days=30)
            one_month, _ = interleaved(lambda: lake.read(BARS_1M, BTC, month, month_end), lambda: None, repeats=9)
            left, right = ours(), peer()
            equal = shown.num_rows == rows and all(np.array_equal(left[name], right[name]) for name in COLUMNS)
    print_report(
        name="full_read",
        ours=mine,
        peer=theirs,
        peer_name=f"duckdb {duckdb.__version__} native table, fetchnumpy",
        unit="s",
        ratio=theirs / mine,
        equal=equal,
        n=rows,
        note=f"{source}; {DAYS} daily files, five columns and the time (bar: ratio .33); all ten columns "
        f"{whole:.2f} s; five through the SQL view {by_view:.2f} s; a month with all columns {one_month * 1e3:.1f} ms "
        "(bar 30)",
    )


if __name__ == "__main__":
    main()
