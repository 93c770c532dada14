"""A backfill of years of days of four instruments, launched as the UI launches it, and how the UI answers meanwhile.

``BENCHMARK_UI_DAYS`` says how many days; 100 by default, 2630 for seven years.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import requests

from tradecore_pipeline.cli.services import HOST
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.storage.coverage import State, coverage
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.benchmarks.backfills import PROGRAM, Exchanges, environment
from tradecore_pipeline_tests.benchmarks.local_exchange import unused_port
from tradecore_pipeline_tests.benchmarks.report import print_report, say

VARIABLE = "BENCHMARK_UI_DAYS"
KEPT = "BENCHMARK_UI_HOME"
"""A folder that keeps the home, to look at it afterwards."""
END = date(2026, 11, 20)
INSTRUMENTS = ("binance:BTC/USDT:USDT", "binance:ETH/USDT:USDT", "binance:BTC/USDT", "bybit:BTC/USDT:USDT")
_LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_STATUS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status runs { status } } } }"""
_PAGE = """query { assetNodeOrError(assetKey: {path: ["market_data", "bars_1m"]}) { ... on AssetNode {
  partitionStats { numMaterialized numFailed numPartitions }
  assetPartitionStatuses { __typename ... on MultiPartitionStatuses { ranges { primaryDimStartKey } } } } } }"""
"""What the asset's page asks for: how many partitions are done, and which."""
_PAUSE = 5.0


class Dagster:
    """`tradecore up` over a home, and its GraphQL."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._url = f"http://{HOST}:{variables['TRADECORE_DAGSTER_PORT']}/graphql"
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "up"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer's data."""
        answer = requests.post(self._url, json={"query": query, "variables": variables}, timeout=120).json()
        if "errors" in answer:
            sys.exit(f"Dagster refused: {answer['errors']}")
        return answer["data"]

    def answers(self) -> bool:
        """Whether it serves yet."""
        try:
            return requests.get(self._url.replace("graphql", "server_info"), timeout=2).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End it and all that it started."""
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        self._process.wait(60)
        for member in family:
            if member.is_running():
                member.kill()


def timed(ask: Callable[[], object], times: list[float]) -> Any:
    """The answer; its seconds are added to ``times``."""
    began = time.perf_counter()
    answer = ask()
    times.append(time.perf_counter() - began)
    return answer


@dataclass(frozen=True)
class Backfill:
    """How a backfill went."""

    launch_seconds: float
    seconds: float
    runs: int


def launch_and_wait(
    dagster: Dagster, assets: Sequence[Sequence[str]], keys: Sequence[str], *, look: Callable[[], str]
) -> Backfill:
    """Launch a backfill of the assets' partitions and wait for it; ``look`` says how far it is, every few seconds."""
    params = {"assetSelection": [{"path": list(path)} for path in assets], "partitionNames": list(keys)}
    launches: list[float] = []
    began = time.perf_counter()
    launched = timed(lambda: dagster.ask(_LAUNCH, params=params), launches)["launchPartitionBackfill"]
    while True:
        time.sleep(_PAUSE)
        found = dagster.ask(_STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
        say(f"{time.perf_counter() - began:.0f} s: {found['status']}, {look()}")
        if found["status"] not in {"REQUESTED", "IN_PROGRESS"}:
            break
    if found["status"] != "COMPLETED_SUCCESS":
        sys.exit(f"the backfill ended as {found['status']}")
    return Backfill(launches[0], time.perf_counter() - began, len(found["runs"]))


def backfill(dagster: Dagster, days: list[date], pages: list[float]) -> Backfill:
    """The backfill of every instrument's days; what the asset's page took to answer is added to ``pages``."""
    keys = [f"{day}|{instrument}" for instrument in INSTRUMENTS for day in days]

    def look() -> str:
        stats = timed(lambda: dagster.ask(_PAGE), pages)["assetNodeOrError"]["partitionStats"]
        return f"{stats['numMaterialized']} of {len(keys)}"

    return launch_and_wait(dagster, [["market_data", "bars_1m"]], keys, look=look)


def main() -> None:
    count = int(os.environ.get(VARIABLE, "100"))
    days = [END - timedelta(days=offset) for offset in range(count, 0, -1)]
    now = datetime(END.year, END.month, END.day, 12, tzinfo=UTC)
    with TemporaryDirectory() as scratch, Exchanges(seed=7, start=days[0], end=END, now=now) as exchanges:
        home = Path(os.environ.get(KEPT) or scratch) / "home"
        ports = {f"TRADECORE_{name}_PORT": str(unused_port()) for name in ("DAGSTER", "MLFLOW")}
        more = {"TRADECORE_INSTRUMENTS": ",".join(INSTRUMENTS), "TRADECORE_BUDGET_DIR": f"{scratch}/budgets"}
        dagster = Dagster(environment(home, exchanges.url, **ports, **more))
        try:
            while not dagster.answers():
                time.sleep(0.2)
            pages: list[float] = []
            done = backfill(dagster, days, pages)
        finally:
            dagster.stop()
        rows = coverage(Ledger(Layout(home)), [Instrument.parse(text) for text in INSTRUMENTS])
        bars = [row for row in rows if row.dataset == "bars_1m"]
    whole_days = sum(row.done_days + row.gap_days for row in bars)
    print_report(
        name="ui_backfill",
        ours=whole_days / done.seconds,
        peer=len(INSTRUMENTS) * count / done.seconds,
        peer_name="the days asked for",
        unit="days/s",
        ratio=whole_days / (len(INSTRUMENTS) * count),
        equal=whole_days == len(INSTRUMENTS) * count,
        n=len(INSTRUMENTS) * count,
        note=f"{count} days of {len(INSTRUMENTS)} instruments ({VARIABLE}), {sum(row.rows for row in bars)} rows; "
        f"launched in {done.launch_seconds:.2f} s, done after {done.seconds:.0f} s in {done.runs} runs; "
        f"meanwhile the asset's page was answered in {median(pages):.2f} s (median of {len(pages)}; "
        f"at most {max(pages):.2f} s); done are days in the states "
        f"{State.DONE} and {State.GAP}",
    )


if __name__ == "__main__":
    main()
