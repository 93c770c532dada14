"""The minute bars that the storage benchmarks store: real Binance days where they are found, else seeded ones."""

import os
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.csv as pc

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline_tests.storage.days import minute_bars

VARIABLE = "BENCHMARK_REAL_DATA"
"""A directory in the archive's own layout (``data/spot/daily/klines/BTCUSDT/1m/*.zip``)."""
_ARCHIVE_NAMES = [
    "ts_open",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "ts_last",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignored",
]


def days_of_bars(count: int) -> tuple[list[tuple[date, pa.Table]], str]:
    """``count`` days of minute bars at most, and a note that says what they are."""
    root = os.environ.get(VARIABLE)
    zips = sorted(Path(root).glob("data/spot/daily/klines/BTCUSDT/1m/*.zip")) if root else []
    if zips:
        return [_real_day(path) for path in zips[:count]], "real bars: binance spot BTC/USDT 2022"
    first = date(2022, 1, 1)
    days = [first + timedelta(days=offset) for offset in range(count)]
    return [(day, minute_bars(day, seed=day.toordinal())) for day in days], f"seeded bars (no {VARIABLE})"


def _real_day(path: Path) -> tuple[date, pa.Table]:
    with ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    exact = {name: pa.string() for name in ("open", "high", "low", "close")}
    rows = pc.read_csv(
        BytesIO(text),
        read_options=pc.ReadOptions(column_names=_ARCHIVE_NAMES),
        convert_options=pc.ConvertOptions(column_types=exact),
    )
    table = pa.table([rows[field.name].cast(field.type) for field in BARS_1M.schema], schema=BARS_1M.schema)
    return datetime.fromtimestamp(rows["ts_open"][0].as_py() / 1000, UTC).date(), table
