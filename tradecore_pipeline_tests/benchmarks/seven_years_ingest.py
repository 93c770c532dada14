"""Seven years of one instrument's minute bars, from monthly archive zips to a home, in a process of its own."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_range, day_start, month_of
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.archive_ingest import WORKERS, ingest
from tradecore_pipeline_tests.benchmarks.bars import MONTHLY, archive_folder, csv_of, put_zip
from tradecore_pipeline_tests.benchmarks.local_exchange import INSTRUMENT, recorded_exchange
from tradecore_pipeline_tests.benchmarks.report import print_report
from tradecore_pipeline_tests.benchmarks.seven_years import DAYS, FIRST

BAR_SECONDS = 30
TEMPLATES = 31
_MINUTE_MS = 60_000


def main() -> None:
    if len(sys.argv) > 1:
        _child(sys.argv[1], Path(sys.argv[2]))
        return
    with TemporaryDirectory() as scratch:
        served, home = Path(scratch) / "served", Path(scratch) / "home"
        closes, source = _fill(served)
        with recorded_exchange(served) as url:
            command = [sys.executable, "-m", "tradecore_pipeline_tests.benchmarks.seven_years_ingest", url, str(home)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        seconds, peak, before = (float(word) for word in told)
        lake, end = Lake(Layout(home)), FIRST + timedelta(days=DAYS)
        stored = lake.read(BARS_1M, INSTRUMENT, day_start(FIRST), day_start(end), columns=["close"])["close"]
        size = sum(path.stat().st_size for path in (home / "lake").rglob("*.parquet"))
    print_report(
        name="seven_years_ingest",
        ours=seconds,
        peer=BAR_SECONDS,
        peer_name="the bar",
        unit="s",
        ratio=BAR_SECONDS / seconds,
        equal=np.array_equal(stored.to_numpy(), closes),
        n=len(stored),
        note=f"{source}, over and over; {DAYS} days from monthly zips, {WORKERS} workers, {len(stored) / seconds:.0f} "
        f"rows/s; peak memory of the process {peak:.0f} MB (bar 500), {before:.0f} MB of it before the first day; "
        f"{size / len(stored):.1f} bytes/row stored; without Dagster",
    )


def _days() -> Sequence[date]:
    return list(day_range(FIRST, FIRST + timedelta(days=DAYS - 1)))


def _child(url: str, home: Path) -> None:
    before, began = _peak_megabytes(), perf_counter()
    ingest(url, _days(), root=home, workers=WORKERS)
    sys.stdout.write(f"{perf_counter() - began} {_peak_megabytes()} {before}\n")


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _fill(folder: Path) -> tuple[np.ndarray, str]:
    """Monthly zips of ``DAYS`` days, made of a few recorded ones, and the closing prices in them."""
    with archive_folder(TEMPLATES, monthly=False) as (recorded, _, source):
        texts = [csv_of(path) for path in sorted(recorded.rglob("*.zip"))]
    whole = [[line.split(b",") for line in text.split()] for text in texts if text.count(b"\n") == 1440]
    closes: list[np.ndarray] = []
    for month, days in groupby(enumerate(_days()), key=lambda numbered: month_of(numbered[1])):
        lines: list[bytes] = []
        for number, day in days:
            template = whole[number % len(whole)]
            closes.append(np.array([float(fields[4]) for fields in template]))
            opens = range(round(day_start(day).timestamp()) * 1000, sys.maxsize, _MINUTE_MS)
            lines += [_moved(fields, ts_open) for fields, ts_open in zip(template, opens, strict=False)]
        put_zip(folder, f"{MONTHLY}/BTCUSDT-1m-{month:%Y-%m}", b"\n".join([*lines, b""]))
    return np.concatenate(closes), source


def _moved(fields: Sequence[bytes], ts_open: int) -> bytes:
    last = ts_open + _MINUTE_MS - 1
    return b",".join([str(ts_open).encode(), *fields[1:6], str(last).encode(), *fields[7:]])


if __name__ == "__main__":
    main()
