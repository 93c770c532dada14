"""A backfill that is killed again and again ends with the same files as one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import (
    BTC,
    ONE_DAY,
    START,
    Chain,
    lake_files,
    small_settings,
    span,
    tradecore,
    variables,
)

LAST = START + timedelta(days=59)
TABLES = ("bars_1m", "funding_rates", "open_interest", "gaps")


def start_backfill(settings: Settings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from tradecore_pipeline.cli import main; main()"]
    command += ["backfill", str(BTC), *span(START - ONE_DAY, LAST), "--json"]
    return subprocess.Popen(
        command,
        env=os.environ | variables(settings),
        cwd=settings.home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def ledger_days(settings: Settings) -> int:
    return sum(1 for _ in (settings.home / "ledger").rglob("date=*.json"))


def kill_after(process: subprocess.Popen[bytes], settings: Settings, days: int) -> bool:
    """Kill the whole group once ``days`` more ledger entries are there; False if it had ended before."""
    goal, deadline = ledger_days(settings) + days, time.monotonic() + 30
    while ledger_days(settings) < goal and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def until_last(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name[-18:-8] <= LAST.isoformat()}


def test_three_kills_lose_nothing_tear_nothing_and_change_no_byte(
    chain: Chain, simulator_url: str, tmp_path: Path
) -> None:
    settings = small_settings(tmp_path / "home", simulator_url)
    moments = random.Random(17)
    for _ in range(3):
        assert kill_after(start_backfill(settings), settings, moments.randint(3, 40)), "it was faster than the killer"
    kept = ledger_days(settings)
    assert kept >= 9
    last = start_backfill(settings)
    out, _ = last.communicate(timeout=60)
    assert last.returncode == 0
    report = json.loads(out.splitlines()[-1])
    days = (LAST - START).days + 2
    assert {row["days"] for row in report["datasets"].values()} == {days}
    assert sum(row["skipped"] for row in report["datasets"].values()) >= kept - 3
    for table in TABLES:
        expected = {
            name: content
            for name, content in until_last(lake_files(chain.settings.home, table)).items()
            if name[-18:-8] >= (START - ONE_DAY).isoformat()
        }
        assert lake_files(settings.home, table) == expected, table
    assert ledger_days(settings) == 3 * days
    rows = {row["dataset"]: row for row in tradecore(settings, "coverage", "--json").json["coverage"]}
    assert rows["bars_1m"]["rows"] == days * 1440 - 1440 - 70
    assert {row["days"] for row in rows.values()} == {days}
    assert [path for path in (settings.home / "lake").rglob("*") if path.is_file() and path.suffix != ".parquet"] == []
