"""One day out of seven years of minute bars, against DuckDB finding it by its time through a glob."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.bars import days_of_bars
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report
from tradecore_pipeline_tests.benchmarks.seven_years import DAYS, FIRST, fill
from tradecore_pipeline_tests.storage.days import BTC

WANTED: date = FIRST + timedelta(days=DAYS // 2)


def main() -> None:
    days, source = days_of_bars(30)
    with TemporaryDirectory() as home:
        layout = Layout(Path(home))
        lake = Lake(layout)
        fill(lake, [table for _, table in days])
        start, end = day_start(WANTED), day_start(WANTED + timedelta(days=1))
        connection = duckdb.connect()
        glob = layout.series(BARS_1M.name, BTC, timeframe=None) / "*.parquet"
        sql = "SELECT * FROM read_parquet($1) WHERE ts_open >= $2 AND ts_open < $3"

        def peer() -> Mapping[str, Any]:
            return connection.execute(sql, [str(glob), start, end]).fetchnumpy()

        ours, theirs = interleaved(lambda: lake.read(BARS_1M, BTC, start, end), peer, repeats=9)
        equal = lake.read(BARS_1M, BTC, start, end)["close"].tolist() == peer()["close"].tolist()
        with Catalog(layout, [BTC], [], []).connect() as views:
            view = "SELECT * FROM bars_1m WHERE ts_open >= $1 AND ts_open < $2"
            by_view, _ = interleaved(lambda: views.execute(view, [start, end]).fetchall(), lambda: None, repeats=5)
        connection.close()
    print_report(
        name="one_day_read",
        ours=ours * 1e3,
        peer=theirs * 1e3,
        peer_name=f"duckdb {duckdb.__version__} glob + filter",
        unit="ms",
        ratio=theirs / ours,
        equal=equal,
        n=1440,
        note=f"{source}; {DAYS} daily files (bar 5 ms); the same day through the SQL view {by_view * 1e3:.0f} ms",
    )


if __name__ == "__main__":
    main()
