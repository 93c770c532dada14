"""The minute bars of the benchmarks: recorded Binance days where they are found, else seeded or simulated ones."""

import hashlib
import os
from calendar import monthrange
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile

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
DAILY = "data/spot/daily/klines/BTCUSDT/1m"
MONTHLY = "data/spot/monthly/klines/BTCUSDT/1m"
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
    return root if (root / DAILY).is_dir() else None


def recorded_zips(count: int) -> list[Path]:
    """The first ``count`` recorded days of BTC/USDT spot at most; none where nothing was recorded."""
    root = recorded_root()
    return sorted((root / DAILY).glob("*.zip"))[:count] if root else []


def days_of_bars(count: int) -> tuple[list[tuple[date, pa.Table]], str]:
    """``count`` days of minute bars at most, and a note that says what they are."""
    if zips := recorded_zips(count):
        return [recorded_day(path) for path in zips], "real bars: binance spot BTC/USDT 2022"
    days = [_FIRST + timedelta(days=offset) for offset in range(count)]
    return [(day, minute_bars(day, seed=day.toordinal())) for day in days], f"seeded bars (no {VARIABLE})"


def recorded_day(path: Path) -> tuple[date, pa.Table]:
    """The day and the rows of one recorded zip, prices exact."""
    exact = {name: pa.string() for name in ("open", "high", "low", "close")}
    rows = pc.read_csv(
        BytesIO(csv_of(path)),
        read_options=pc.ReadOptions(column_names=_ARCHIVE_NAMES),
        convert_options=pc.ConvertOptions(column_types=exact),
    )
    table = pa.table([rows[field.name].cast(field.type) for field in BARS_1M.schema], schema=BARS_1M.schema)
    return datetime.fromtimestamp(rows["ts_open"][0].as_py() / 1000, UTC).date(), table


@contextmanager
def archive_folder(count: int, *, monthly: bool) -> Generator[tuple[Path, list[date], str]]:
    """A folder in the archive's layout with ``count`` days of BTC/USDT spot at most, those days, and what they are.

    Each zip has its checksum beside it, as in the archive. ``monthly``: whole months in one zip each, as the archive
    has them beside the daily ones; days of months that are not whole are left out.
    """
    with TemporaryDirectory() as name:
        zips, source = recorded_zips(count), "real bars: binance spot BTC/USDT 2022"
        if not zips:
            zips, source = _simulated_zips(Path(name) / "simulated", count), f"simulated bars (no {VARIABLE})"
        months = [(month, list(members)) for month, members in groupby(zips, key=lambda path: path.stem[-10:-3])]
        whole = [(month, members) for month, members in months if len(members) == monthrange(*_year_month(month))[1]]
        if monthly:
            for month, members in whole:
                put_zip(Path(name), f"{MONTHLY}/BTCUSDT-1m-{month}", b"".join(csv_of(path) for path in members))
            zips = [path for _, members in whole for path in members]
        else:
            for path in zips:
                put_file(Path(name) / DAILY / path.name, path.read_bytes())
        yield Path(name), [date.fromisoformat(path.stem[-10:]) for path in zips], source


def put_zip(folder: Path, stem: str, csv: bytes) -> None:
    """A zip under the key ``stem`` with ``csv`` in it, and its checksum."""
    data = BytesIO()
    with ZipFile(data, "w", ZIP_DEFLATED) as archive:
        archive.writestr(f"{stem.rpartition('/')[2]}.csv", csv)
    put_file(folder / f"{stem}.zip", data.getvalue())


def put_file(path: Path, data: bytes) -> None:
    """A file, and its checksum beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")


def _simulated_zips(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    end = _FIRST + timedelta(days=count)
    backend = SimulatedBackend(SimulatedMarket(demo_parameters(), 7, start=_FIRST, end=end))
    paths: list[Path] = []
    for day in day_range(_FIRST, end - timedelta(days=1)):
        paths.append(folder / f"BTCUSDT-1m-{day}.zip")
        data = backend.archive_object(f"{DAILY}/{paths[-1].name}", day_start(end + timedelta(days=90)))
        paths[-1].write_bytes(data or b"")
    return paths


def _year_month(month: str) -> tuple[int, int]:
    year, _, number = month.partition("-")
    return int(year), int(number)


def csv_of(path: Path) -> bytes:
    with ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])
