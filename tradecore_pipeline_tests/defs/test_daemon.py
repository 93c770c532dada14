"""A backfill as the UI launches it, against a real daemon that is killed in the middle."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running

pytestmark = pytest.mark.slow

INSTRUMENT = "binance:BTC/USDT:USDT"
FIRST, DAYS = date(2025, 3, 1), 60
LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status runs { status } } } }"""


@pytest.fixture
def exchange() -> Iterator[str]:
    end = FIRST + timedelta(days=DAYS)
    now = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=3)
    with running(build_simulated(demo_parameters(), 11, start=FIRST, end=end, now=now)) as url:
        yield url


def environment(home: Path, url: str) -> dict[str, str]:
    ports = [free_port(), free_port()]
    own = {
        "TRADECORE_HOME": str(home),
        "TRADECORE_INSTRUMENTS": INSTRUMENT,
        "TRADECORE_BINANCE_ARCHIVE_URL": url,
        "TRADECORE_BINANCE_REST_URL": url,
        "TRADECORE_BINANCE_SPOT_REST_URL": url,
        "TRADECORE_DOWNLOAD_WORKERS": "1",
        "TRADECORE_DAGSTER_PORT": str(ports[0]),
        "TRADECORE_MLFLOW_PORT": str(ports[1]),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("TRADECORE_")} | own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from tradecore_pipeline.cli import main; main()", *arguments]


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process and everything below it: what a power cut leaves."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        if member.is_running():
            member.kill()
    psutil.wait_procs(family, timeout=10)
    process.wait()


def wait_for(condition: Callable[[], object], seconds: float, pause: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("what the test waits for did not happen in time")
        time.sleep(pause)


def ask(env: dict[str, str], query: str, **variables: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{env['TRADECORE_DAGSTER_PORT']}/graphql"
    answer = requests.post(url, json={"query": query, "variables": variables}, timeout=30).json()
    assert "errors" not in answer, answer
    return answer["data"]


def answers(env: dict[str, str]) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{env['TRADECORE_DAGSTER_PORT']}/server_info", timeout=2).ok
    except requests.RequestException:
        return False


def stored_days(home: Path) -> int:
    return len(list((home / "ledger").rglob("date=*.json")))


def lake_hashes(home: Path) -> dict[str, str]:
    lake = home / "lake"
    files = sorted(path for path in lake.rglob("*") if path.is_file())
    return {str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_backfill_survives_a_killed_daemon_and_stores_the_same_bytes_as_an_unbroken_one(
    exchange: str, tmp_path: Path
) -> None:
    unbroken = environment(tmp_path / "unbroken", exchange)
    last = FIRST + timedelta(days=DAYS - 1)
    backfill = command("backfill", INSTRUMENT, "--from", str(FIRST), "--to", str(last), "--datasets", "bars_1m")
    subprocess.run(backfill, env=unbroken, check=True, capture_output=True)

    home = tmp_path / "killed"
    env = environment(home, exchange)
    services = subprocess.Popen(command("up"), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(env), 90)
        keys = [f"{FIRST + timedelta(days=k)}|{INSTRUMENT}" for k in range(DAYS)]
        params = {"assetSelection": [{"path": ["market_data", "bars_1m"]}], "partitionNames": keys}
        launched = ask(env, LAUNCH, params=params)["launchPartitionBackfill"]
        wait_for(lambda: stored_days(home) >= 5, 120)
    finally:
        kill_all(services)
    left = stored_days(home)
    assert 5 <= left < DAYS, "the kill came too late to test anything"

    env |= {"TRADECORE_DAGSTER_PORT": str(free_port()), "TRADECORE_MLFLOW_PORT": str(free_port())}
    services = subprocess.Popen(command("up"), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(env), 90)

        def finished() -> bool:
            found = ask(env, STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
            assert found["status"] not in {"COMPLETED_FAILED", "FAILED", "CANCELED"}, found
            return found["status"] == "COMPLETED_SUCCESS"

        wait_for(finished, 240, pause=1)
    finally:
        services.terminate()
        services.wait(60)

    assert lake_hashes(home) == lake_hashes(tmp_path / "unbroken")
