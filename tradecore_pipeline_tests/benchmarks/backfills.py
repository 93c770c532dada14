"""A backfill of four exchanges in a process of its own, and the simulated exchanges it asks."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from tradecore_pipeline.cli.services import HOST, simulator_process, stop
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.benchmarks.local_exchange import unused_port
from tradecore_pipeline_tests.benchmarks.truth import INSTRUMENTS

PROGRAM = "from tradecore_pipeline.cli import main; main()"
"""The `tradecore` command."""


class Exchanges:
    """The simulated exchanges in a process of their own, which can be killed and started again on the same port."""

    def __init__(self, *, seed: int, start: date, end: date, now: datetime) -> None:
        self.port = unused_port()
        self._market: dict[str, Any] = {"seed": seed, "start": start, "end": end}
        self._now = now
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self, *, now: datetime | None = None) -> None:
        """Serve; at another moment where one is given."""
        self._now = now or self._now
        self._process = simulator_process(port=self.port, now=self._now, **self._market)

    def kill(self) -> None:
        """SIGKILL, as if the exchange vanished."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End politely."""
        if self._process is not None:
            stop(self._process)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def environment(home: Path, url: str, **more: str) -> dict[str, str]:
    """The variables under which commands work on ``home`` and ask the exchanges at ``url``, and nobody else."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TRADECORE_", "DAGSTER_"))}
    urls = {f"TRADECORE_{name.upper()}": url for name in Settings.model_fields if name.endswith("_rest_url")}
    return (
        own
        | urls
        | {
            "TRADECORE_BINANCE_ARCHIVE_URL": url,
            "TRADECORE_HOME": str(home),
            "TRADECORE_BUDGET_DIR": str(home.parent / "budgets"),
            "TRADECORE_REQUEST_SHARE": "1.0",
            "TRADECORE_INSTRUMENTS": ",".join(map(str, INSTRUMENTS)),
        }
        | more
    )


def launch(command: Sequence[str], variables: dict[str, str], said: Path) -> "subprocess.Popen[bytes]":
    """`tradecore <command>` as the leader of a group of its own; stderr goes to the file ``said``."""
    said.parent.mkdir(parents=True, exist_ok=True)
    with said.open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *command],
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def last_line(said: Path) -> str:
    """What a command said last."""
    lines = said.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def contents(home: Path) -> dict[str, str]:
    """The hash of every file of the lake that a reader lists, by its path there."""
    paths = sorted((home / "lake").rglob("date=*.parquet"))
    return {path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def litter(home: Path) -> list[str]:
    """Files below lake and ledger that a writer which is gone left unfinished; locks are meant to stay."""
    found = [path for top in ("lake", "ledger") for path in (home / top).rglob("*") if path.is_file()]
    return [
        path.relative_to(home).as_posix() for path in found if not path.name.startswith(("date=", "exchange=", ".lock"))
    ]
