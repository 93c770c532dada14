"""Dagster and MLflow as processes of one command: started together, watched, stopped together."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tradecore_pipeline.cli.demo import DEMO_MARKET, demo_environment, demo_home
from tradecore_pipeline.cli.output import note
from tradecore_pipeline.cli.services import HOST, free_port, simulator_process, stop
from tradecore_pipeline.defs.instance import fail_abandoned_runs, open_instance, write_instance_config
from tradecore_pipeline.domain.errors import TradecoreError, UsageError
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.layout import Layout

_QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "PYTHONWARNINGS": "ignore",
}


def run_services(settings: Settings, *, demo: bool) -> None:
    """Run the services until Ctrl-C, or until one of them ends.

    Raises:
        UsageError: a port is busy, or the home's services are running already.
        TradecoreError: a service ended by itself; its log says why.
    """
    # Also when started in a script's background, where SIGINT is ignored and the services would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environment = dict(os.environ) | _QUIET
    port = free_port(settings.simulator_port, "simulator_port") if demo else 0
    if demo:
        environment |= demo_environment(settings, f"http://{HOST}:{port}")
        settings = Settings.load(home=demo_home(settings))
    environment["TRADECORE_HOME"] = str(settings.home)
    if len({settings.dagster_port, settings.mlflow_port, port}) < 3:
        raise UsageError("two services have the same port: set TRADECORE_DAGSTER_PORT and TRADECORE_MLFLOW_PORT apart")
    dagster_port = free_port(settings.dagster_port, "dagster_port")
    mlflow_port = free_port(settings.mlflow_port, "mlflow_port")
    with _alone(settings):
        environment["DAGSTER_HOME"] = str(write_instance_config(settings))
        with open_instance(settings) as instance:
            for run_id in fail_abandoned_runs(instance, unmarked=True):
                note(f"run {run_id} had lost its process and is marked as failed")
        layout = Layout(settings.home)
        dagster = [
            *(sys.executable, "-m", "dagster", "dev", "-m", "tradecore_pipeline.definitions"),
            *("-h", HOST, "-p", str(dagster_port), "--log-level", "warning"),
        ]
        mlflow = [
            *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
            *("--backend-store-uri", settings.mlflow_uri, "--artifacts-destination", str(layout.mlflow_artifacts)),
        ]
        processes = {"dagster": _start(dagster, environment, layout.log("dagster"))}
        try:
            processes["mlflow"] = _start(mlflow, environment, layout.log("mlflow"))
            if demo:
                processes["simulator"] = simulator_process(port=port, **DEMO_MARKET)
            _announce(settings, demo=demo)
            _watch(processes, layout)
        except KeyboardInterrupt:
            note("stopping ...")
        finally:
            for process in processes.values():
                stop(process)


def _start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )


@contextmanager
def _alone(settings: Settings) -> Generator[None]:
    """Hold the home's services for this process: two daemons on one instance launch everything twice."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"the services of {settings.home} are running already: stop them first") from None
        yield


def _announce(settings: Settings, *, demo: bool) -> None:
    note(f"Dagster  http://{HOST}:{settings.dagster_port}")
    note(f"MLflow   http://{HOST}:{settings.mlflow_port}")
    note(f"home     {settings.home}{' (SIMULATED market)' if demo else ''}; logs in {settings.home / 'logs'}")
    note("Ctrl-C stops everything. The links answer after some seconds.")


def _watch(processes: dict[str, subprocess.Popen[bytes]], layout: Layout) -> None:
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise TradecoreError(f"{name} ended by itself (exit {process.returncode}): see {layout.log(name)}")
        time.sleep(0.5)
