"""The minute bars of the benchmarks: recorded Binance days where they are found, else seeded or simulated ones."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.csv as pc

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.simulated import SimulatedBackend
from tradecore_pipeline_tests.storage.days import minute_bars

VARIABLE = "BENCHMARK_REAL_DATA"
"""A directory in the archive's own layout (``data/spot/daily/klines/BTCUSDT/1m/*.zip``)."""
_BESIDE_THE_CLONE = Path(__file__).parents[3] / "shared/realdata/binance_vision"
_MINUTES = "data/spot/daily/klines/BTCUSDT/1m"
_FIRST = date(2022, 1, 1)
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


def recorded_root() -> Path | None:
    """The folder that holds recorded archive files: what the variable names, else one beside the clone, else None."""
    root = Path(os.environ.get(VARIABLE) or _BESIDE_THE_CLONE)
    return root if (root / _MINUTES).is_dir() else None


def recorded_zips(count: int) -> list[Path]:
    """The first ``count`` recorded days of BTC/USDT spot at most; none where nothing was recorded."""
    root = recorded_root()
    return sorted((root / _MINUTES).glob("*.zip"))[:count] if root else []


def days_of_bars(count: int) -> tuple[list[tuple[date, pa.Table]], str]:
    """``count`` days of minute bars at most, and a note that says what they are."""
    if zips := recorded_zips(count):
        return [recorded_day(path) for path in zips], "real bars: binance spot BTC/USDT 2022"
    days = [_FIRST + timedelta(days=offset) for offset in range(count)]
    return [(day, minute_bars(day, seed=day.toordinal())) for day in days], f"seeded bars (no {VARIABLE})"


def recorded_day(path: Path) -> tuple[date, pa.Table]:
    """The day and the rows of one recorded zip, prices exact."""
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


@contextmanager
def archive_folder(count: int) -> Iterator[tuple[Path, list[date], str]]:
    """A folder in the archive's layout with ``count`` days of BTC/USDT spot at most, those days, and what they are."""
    with TemporaryDirectory() as name:
        target = Path(name) / _MINUTES
        target.mkdir(parents=True)
        if zips := recorded_zips(count):
            for path in zips:
                shutil.copyfile(path, target / path.name)
            days = [date.fromisoformat(path.stem[-10:]) for path in zips]
            yield Path(name), days, "real bars: binance spot BTC/USDT 2022"
            return
        end = _FIRST + timedelta(days=count)
        backend = SimulatedBackend(SimulatedMarket(demo_parameters(), 7, start=_FIRST, end=end))
        days = list(day_range(_FIRST, end - timedelta(days=1)))
        for day in days:
            key = f"{_MINUTES}/BTCUSDT-1m-{day}.zip"
            (Path(name) / key).write_bytes(backend.archive_object(key, day_start(end + timedelta(days=90))) or b"")
        yield Path(name), days, f"simulated bars (no {VARIABLE})"
