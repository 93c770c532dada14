"""Bytes on disk per row of minute bars, against the same rows as pyarrow writes them by default (prices as floats)."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import perf_counter

import pyarrow as pa
import pyarrow.parquet as pq

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.bars import days_of_bars
from tradecore_pipeline_tests.benchmarks.report import print_report
from tradecore_pipeline_tests.storage.days import BTC, PRICE_NAMES

_OHLCV = replace(BARS_1M, name="ohlcv", columns=BARS_1M.columns[:6])


def _as_floats(rows: pa.Table) -> pa.Table:
    fields = [field.with_type(pa.float64()) if field.name in PRICE_NAMES else field for field in rows.schema]
    return rows.cast(pa.schema(fields))


def _default_size(rows: pa.Table, compression: str) -> int:
    sink = BytesIO()
    pq.write_table(rows, sink, compression=compression)
    return sink.tell()


def main() -> None:
    days, source = days_of_bars(60)
    rows = sum(table.num_rows for _, table in days)
    with TemporaryDirectory() as home:
        lake = Lake(Layout(Path(home)))
        begin = perf_counter()
        stored = [lake.publish(BARS_1M, BTC, day, table, timeframe=None) for day, table in days]
        seconds = perf_counter() - begin
        equal = all(lake.rows(BARS_1M, BTC, day).equals(table) for day, table in days)
        metadata = [pq.ParquetFile(s.path).metadata.row_group(0) for s in stored]
        small = [
            lake.publish(_OHLCV, BTC, day, table.select(_OHLCV.schema.names), timeframe=None) for day, table in days
        ]
    prices = sum(group.column(index).total_compressed_size for group in metadata for index in range(1, 5)) / rows
    ohlcv = sum(s.bytes for s in small) / rows
    snappy = sum(_default_size(_as_floats(table), "snappy") for _, table in days) / rows
    ours = sum(s.bytes for s in stored) / rows
    zstd = sum(_default_size(_as_floats(table), "zstd") for _, table in days) / rows
    print_report(
        name="bytes_per_row",
        ours=ours,
        peer=snappy,
        peer_name=f"pyarrow {pa.__version__} defaults (float64, dictionaries, snappy)",
        unit="bytes/row",
        ratio=snappy / ours,
        equal=equal,
        n=rows,
        note=f"{source}; all columns and the footer; our prices take {prices:.1f}, files of nothing but time, "
        f"prices and volume {ohlcv:.1f} (bar 14); the peer with zstd {zstd:.1f}; "
        f"publishing a day took {seconds / len(days) * 1e3:.2f} ms, {mean(s.bytes for s in stored) / 1024:.0f} KiB",
    )


if __name__ == "__main__":
    main()
