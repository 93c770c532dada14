"""Backfills that run out of disk at different moments: one clear line, nothing lost, and afterwards they go on.

The home lies on a small file system of its own, in a mount namespace that needs no privileges; where the machine allows
none, the benchmark is skipped.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tradecore_pipeline.domain.tables import MARKET_DATA
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.benchmarks.backfills import Exchanges, contents, environment, last_line, launch, litter
from tradecore_pipeline_tests.benchmarks.report import SKIPPED, print_report, say
from tradecore_pipeline_tests.benchmarks.truth import INSTRUMENTS, TABLES

SEED = 7
START, END = date(2025, 2, 4), date(2025, 2, 20)
NOW = datetime(2025, 2, 14, 15, 30, 20, tzinfo=UTC)
HELD, WANTED = date(2025, 2, 6), date(2025, 2, 12)
"""Days up to the first are stored while there is room, those up to the second are wanted when there is none."""
MEGABYTES = 24
CASES = ((0, "all"), (256, "all"), (640, "all"), (0, "data"), (16, "data"), (48, "data"), (96, "data"), (160, "data"))
"""How many KB are free when the disk is about to be full (the less, the earlier it ends), and what lies on it: all
of the home, where Dagster's SQLite is the first to notice, or just the data, that is lake, ledger and views."""
INSTRUMENT = INSTRUMENTS[0]
_BLOCK = 4096


def possible() -> bool:
    """Whether this machine lets everybody mount in a namespace of their own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def inside(mount: Path, url: str, free_kilobytes: int, what: str) -> list[str]:
    """What went wrong when ``mount``, a file system of ``MEGABYTES``, ran full; then with room again."""
    home, said = mount / "home", mount.parent / "said"
    if what == "data":
        home.mkdir()
        (mount.parent / "dagster").mkdir()
        (home / "dagster").symlink_to(mount.parent / "dagster")
    variables = environment(home, url, TRADECORE_BUDGET_DIR=str(mount.parent / "budgets"))

    def backfill(last: date) -> int:
        return launch(("backfill", str(INSTRUMENT), "--from", str(START), "--to", str(last)), variables, said).wait()

    if backfill(HELD):
        return [f"the first days could not be stored: {last_line(said)}"]
    before = contents(home)
    _fill(mount, free_kilobytes)
    code, line = backfill(WANTED), last_line(said)
    faults = damage(home, before)
    lines = len(said.read_text().strip().splitlines())
    if code != 1 or not line.startswith("tradecore: ") or "Traceback" in said.read_text():
        faults.append(f"exit {code}, {lines} lines, the last: {line}")
    say(f"{free_kilobytes} KB free for {what}: {len(contents(home)) - len(before)} more files, then: {line[:160]}")
    (mount / "ballast").unlink()
    if backfill(WANTED):
        faults.append(f"with room again: {last_line(said)}")
    missing = [table.name for table in TABLES if len(Ledger(Layout(home)).days(table.name, INSTRUMENT)) != _days()]
    return faults + damage(home, before) + [f"{name} of some days was never stored" for name in missing]


def _days() -> int:
    return (WANTED - START).days + 1


def _fill(mount: Path, free_kilobytes: int) -> None:
    state = os.statvfs(mount)
    ballast = state.f_bavail * state.f_frsize - free_kilobytes * 1024
    with (mount / "ballast").open("wb") as file:
        for _ in range(ballast // _BLOCK):
            file.write(bytes(_BLOCK))


def damage(home: Path, before: dict[str, str]) -> list[str]:
    """What was lost or torn, or is listed though it was never finished."""
    now, lake, ledger = contents(home), Lake(Layout(home)), Ledger(Layout(home))
    faults = [f"{name} was lost or changed" for name, sha256 in before.items() if now.get(name) != sha256]
    for table in MARKET_DATA.values():
        faults += [
            f"{table.name} of {entry.day} is in the ledger only"
            for entry in ledger.entries(table.name, INSTRUMENT)
            if not lake.holds(table, INSTRUMENT, entry.day, sha256=entry.sha256)
        ]
        for day in lake.days(table, INSTRUMENT):
            lake.rows(table, INSTRUMENT, day)  # raises where the file is torn
    return faults + [f"{name} was left behind" for name in litter(home)]


def main() -> None:
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(inside(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])) + "\n")
        return
    if not possible():
        say("disk_full needs `unshare -rm` and tmpfs (Linux with user namespaces)")
        sys.exit(SKIPPED)
    faults: list[str] = []
    with Exchanges(seed=SEED, start=START, end=END, now=NOW) as exchanges:
        for free, what in CASES:
            faults += [f"{free} KB free for {what}: {fault}" for fault in on_small_disk(exchanges.url, free, what)]
    for fault in faults:
        say(f"FAULT: {fault}")
    print_report(
        name="disk_full",
        ours=len(faults),
        peer=0,
        peer_name="the bar: a clear line, and an intact lake",
        unit="faults found",
        ratio=0.0 if faults else 1.0,
        equal=not faults,
        n=len(CASES),
        note=f"backfills on a file system of {MEGABYTES} MB that ran full, with room for "
        f"{', '.join(f'{free} KB of {what}' for free, what in CASES)}; each went on once there was room",
    )


def on_small_disk(url: str, free_kilobytes: int, what: str) -> list[str]:
    """``inside`` in a process that has a small file system to itself."""
    with TemporaryDirectory() as scratch:
        mount = Path(scratch) / "disk"
        mount.mkdir()
        script = 'mount -t tmpfs -o size="$1"m tmpfs "$2" && shift 2 && exec "$@"'
        module = [sys.executable, "-m", "tradecore_pipeline_tests.benchmarks.disk_full"]
        command = ["unshare", "-rm", "sh", "-c", script, "sh", str(MEGABYTES), str(mount)]
        done = subprocess.run(
            [*command, *module, str(mount), url, str(free_kilobytes), what], check=False, capture_output=True, text=True
        )
        if done.returncode:
            return [f"the check itself failed: {done.stderr.strip()[-300:]}"]
        *told, last = done.stdout.splitlines()
        for line in told:
            say(line)
        return list(json.loads(last))


if __name__ == "__main__":
    main()
