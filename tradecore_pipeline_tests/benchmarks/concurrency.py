"""Two processes store the same days over and over while eight read them: no reader fails, none sees half a day.

``BENCHMARK_SECONDS`` says for how long; 10 by default.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from tradecore_pipeline.domain.errors import MissingInputError, TradecoreError
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start, utc_now
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.connection import first_line
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.benchmarks.report import print_report, say
from tradecore_pipeline_tests.storage.days import BTC, DAY, fetched, minute_bars

VARIABLE = "BENCHMARK_SECONDS"
WRITERS = 2
DAYS = 5
VERSIONS = 4
"""Different rows that each day is given in turns."""
_STAMP = timedelta(days=1)
_SUM = "SELECT ts_open::DATE AS day, count(*), sum(volume) FROM bars_1m GROUP BY day ORDER BY day"


def version(offset: int, number: int) -> pa.Table:
    """One of the versions of one day."""
    return minute_bars(DAY + offset * _STAMP, seed=100 * number + offset)


def write(home: Path, seconds: float, seed: int) -> int:
    """Store days until the time is over; how many."""
    lake, ledger, catalog = Lake(Layout(home)), Ledger(Layout(home)), _catalog(home)
    prepared = {(o, n): version(o, n) for o in range(DAYS) for n in range(VERSIONS)}
    end, stored = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        # Both writers go over the same days, one of them backwards.
        offset = stored % DAYS if seed else DAYS - 1 - stored % DAYS
        rows = prepared[offset, (stored // DAYS + seed) % VERSIONS]
        day = fetched(rows, day=DAY + offset * _STAMP)
        store_day(lake, ledger, day, now=utc_now(), seconds=0.0, launch=f"writer {seed}")
        if stored % DAYS == 0:
            catalog.publish_database()
        stored += 1
    return stored


def read(home: Path, seconds: float, way: str, known: set[str]) -> tuple[int, list[str]]:
    """Read one way until the time is over: how often, and each error; a day that was never published is one."""
    ask, end, reads = _ways(home)[way], time.monotonic() + seconds, 0
    errors: list[str] = []
    while time.monotonic() < end:
        try:
            found = ask()
        except (duckdb.Error, TradecoreError, OSError) as error:
            errors.append(f"{way}: {type(error).__name__}: {first_line(error)}")
            continue
        for day, rows, total in found:
            if rows != 1440 or _key(day, total) not in known:
                errors.append(f"{way}: {day} with {rows} rows and volume {total!r} was never published")
        reads += 1
    return reads, errors


WAYS = ("days", "one_day", "views", "query")


def _ways(home: Path) -> dict[str, Callable[[], list[tuple[date, int, float]]]]:
    layout = Layout(home)
    lake, catalog = Lake(layout), _catalog(home)

    def days(first: int, last: int) -> list[tuple[date, int, float]]:
        start, end = day_start(DAY + first * _STAMP), day_start(DAY + (last + 1) * _STAMP)
        volume: Any = lake.read(BARS_1M, BTC, start, end, columns=["volume"])["volume"]
        found = [(day, len(one), float(one.sum())) for day, one in volume.groupby(volume.index.date)]
        if len(found) != last - first + 1:
            raise MissingInputError(f"{len(found)} of {last - first + 1} days were there")
        return found

    def views() -> list[tuple[date, int, float]]:
        with duckdb.connect(str(layout.database), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            # As people do: the second time over files and a database that have been replaced since it was opened.
            return [row for _ in range(2) for row in connection.execute(_SUM).fetchall()]

    return {
        "days": lambda: days(0, DAYS - 1),
        "one_day": lambda: days(2, 2),
        "views": views,
        "query": lambda: [(row[0], row[1], row[2]) for row in catalog.query(_SUM).rows],
    }


def _catalog(home: Path) -> Catalog:
    return Catalog(Layout(home), [BTC], [], [])


def _key(day: date, total: float) -> str:
    """A day's version by its volume; sums differ in their last digits by the order of adding."""
    return f"{day} {total:.3f}"


def known_versions() -> set[str]:
    """The key of every version of every day."""
    tables = [(offset, version(offset, number)) for offset in range(DAYS) for number in range(VERSIONS)]
    return {_key(DAY + offset * _STAMP, float(rows["volume"].to_numpy().sum())) for offset, rows in tables}


def run(home: Path, seconds: float, *, ways: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """How often each process came round, by what it does, and what went wrong."""
    lake, ledger = Lake(Layout(home)), Ledger(Layout(home))
    for offset in range(DAYS):
        day = fetched(version(offset, 0), day=DAY + offset * _STAMP)
        store_day(lake, ledger, day, now=utc_now(), seconds=0.0, launch="first")
    _catalog(home).publish_database()
    jobs = [("write", str(seed)) for seed in range(WRITERS)] + [("read", way) for way in ways for _ in range(2)]
    command = [sys.executable, "-m", "tradecore_pipeline_tests.benchmarks.concurrency", str(home), str(seconds)]
    processes = [
        (what, how, subprocess.Popen([*command, what, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        for what, how in jobs
    ]
    counts = {"write": 0} | dict.fromkeys(ways, 0)
    faults: list[str] = []
    for what, how, process in processes:
        out, err = process.communicate(timeout=seconds + 120)
        if process.returncode:
            faults.append(f"{what} {how}: {err.strip().splitlines()[-1]}")
            continue
        done, errors = json.loads(out)
        counts[how if what == "read" else what] += done
        faults += errors
    return counts, faults + after(home)


def after(home: Path) -> list[str]:
    """What is wrong with the home once all have ended: each day's entry must vouch for its file."""
    lake, ledger = Lake(Layout(home)), Ledger(Layout(home))
    faults: list[str] = []
    for entry in ledger.entries(BARS_1M.name, BTC):
        path = lake.layout.day(BARS_1M.name, BTC, entry.day, timeframe=None)
        if not entry.complete or hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
            faults.append(f"the entry of {entry.day} does not vouch for its file")
    litter = [p for p in home.rglob("*.tmp") if p.is_file()]
    return faults + [f"{path.name} was left behind" for path in litter]


def main() -> None:
    if len(sys.argv) > 1:
        home, seconds, what, how = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
        if what == "write":
            told: tuple[int, list[str]] = (write(home, seconds, int(how)), [])
        else:
            told = read(home, seconds, how, known_versions())
        sys.stdout.write(json.dumps(told) + "\n")
        return
    seconds = float(os.environ.get(VARIABLE, "10"))
    with TemporaryDirectory() as scratch:
        counts, faults = run(Path(scratch) / "home", seconds, ways=WAYS)
    for fault in faults:
        say(f"FAULT: {fault}")
    writes = counts.pop("write")
    print_report(
        name="concurrency",
        ours=len(faults),
        peer=0,
        peer_name="the bar: no reader fails",
        unit="errors",
        ratio=0.0 if faults else 1.0,
        equal=not faults,
        n=sum(counts.values()),
        note=f"reads by {2 * len(WAYS)} processes in {seconds:.0f} s ({VARIABLE}), two each through "
        f"{', '.join(WAYS)}, while {WRITERS} stored {writes} days ({DAYS} days, {VERSIONS} versions each, the same "
        f"ones at once); every day read was one of the versions, whole; reads: {json.dumps(counts)}",
    )


if __name__ == "__main__":
    main()
