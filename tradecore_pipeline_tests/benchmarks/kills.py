"""Backfills killed at random moments and launched again: the lake must hold the same bytes as an unbroken one's."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from tradecore_pipeline.cli.services import HOST, simulator_process, stop
from tradecore_pipeline_tests.benchmarks.local_exchange import unused_port
from tradecore_pipeline_tests.benchmarks.report import print_report, say

VARIABLE = "BENCHMARK_KILLS"
"""How many kills; 5 by default, since each takes two launches."""
DAYS = 30
FIRST = date(2024, 3, 1)
FILES = 3 * DAYS
"""The days of bars, funding rates and open interest that a whole backfill stores."""


@contextmanager
def _exchange() -> Iterator[str]:
    port, end = unused_port(), FIRST + timedelta(days=60)
    process = simulator_process(
        port=port, seed=7, start=FIRST, end=end, now=datetime(end.year, end.month, end.day, tzinfo=UTC)
    )
    try:
        yield f"http://{HOST}:{port}"
    finally:
        stop(process)


def _launch(home: Path, url: str) -> "subprocess.Popen[bytes]":
    command = [
        *(sys.executable, "-c", "from tradecore_pipeline.cli import main; main()", "backfill"),
        *("binance:BTC/USDT:USDT", "--from", str(FIRST), "--to", str(FIRST + timedelta(days=DAYS - 1))),
    ]
    places = dict.fromkeys(("ARCHIVE", "REST", "SPOT_REST"), url)
    variables = {f"TRADECORE_BINANCE_{name}_URL": value for name, value in places.items()}
    return subprocess.Popen(
        command,
        env=os.environ | variables | {"TRADECORE_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _files(home: Path) -> list[Path]:
    return sorted((home / "lake").rglob("date=*.parquet"))


def _contents(home: Path) -> dict[str, str]:
    return {path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(home)}


def _kill_in_the_middle(home: Path, url: str, dice: random.Random) -> int | None:
    """How many files the killed launch left; None if it ended before it was killed."""
    wanted, pause = dice.randrange(FILES), dice.uniform(0, 0.02)
    process = _launch(home, url)
    while process.poll() is None and len(_files(home)) < wanted:
        time.sleep(0.002)
    time.sleep(pause)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return len(_files(home))


def main() -> None:
    kills, dice = int(os.environ.get(VARIABLE, "5")), random.Random(7)
    survived, left = 0, []
    with TemporaryDirectory() as scratch, _exchange() as url:
        began = time.perf_counter()
        if _launch(Path(scratch) / "unbroken", url).wait():
            sys.exit("the unbroken backfill failed: run `tradecore backfill` by hand against `tradecore simulator`")
        seconds = time.perf_counter() - began
        truth = _contents(Path(scratch) / "unbroken")
        while len(left) < kills:
            home = Path(scratch) / f"killed{len(left)}-{dice.random()}"
            stored = _kill_in_the_middle(home, url, dice)
            if stored is None:
                continue
            left.append(stored)
            whole = _launch(home, url).wait() == 0 and _contents(home) == truth
            survived += whole
            say(
                f"killed with {stored} of {len(truth)} files stored: {'the same bytes' if whole else 'DIFFERENT'} after"
            )
    print_report(
        name="kills",
        ours=survived,
        peer=kills,
        peer_name="kills (SIGKILL)",
        unit="kills survived",
        ratio=survived / kills,
        equal=survived == kills,
        n=kills,
        note=f"{DAYS} simulated days, {len(truth)} files ({VARIABLE} sets the number of kills); an unbroken backfill "
        f"takes {seconds:.1f} s, most of it Dagster's start; killed with {', '.join(map(str, left))} files stored",
    )


if __name__ == "__main__":
    main()
