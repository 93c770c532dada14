"""The Dagster instance of a home: its configuration, and the runs that a killed process left behind."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml
from dagster._core.instance.ref import InstanceRef
from filelock import FileLock

from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.layout import Layout

PID_TAG = "tradecore/process"
"""``<pid>.<start time>`` of the process a run executes in: pids are reused, start times are not."""

_UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def instance_config(root: Path, *, max_concurrent_runs: int) -> dict[str, Any]:
    """The content of ``dagster.yaml`` for an instance whose files lie under ``root``."""
    return {
        "storage": {"sqlite": {"base_dir": str(root / "storage")}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(root / "artifacts")},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(root / "logs")},
        },
        "telemetry": {"enabled": False},
        "concurrency": {
            "runs": {"max_concurrent_runs": max_concurrent_runs},
            # With "step" a killed run keeps its slot; with "run" the queue counts the runs that are alive.
            "pools": {"default_limit": max_concurrent_runs, "granularity": "run"},
        },
        # A run whose process died is run again; one that failed by itself says why and waits for a person.
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 300},
    }


def write_instance_config(settings: Settings) -> Path:
    """Write the home's ``dagster.yaml`` (absolute paths: Dagster counts relative ones from the current directory)."""
    folder = Layout(settings.home).dagster
    folder.mkdir(parents=True, exist_ok=True)
    config = instance_config(folder, max_concurrent_runs=settings.max_concurrent_runs)
    text = "# Written by tradecore from its settings at every start.\n" + yaml.safe_dump(config, sort_keys=False)
    (folder / ".nux").mkdir(exist_ok=True)
    (folder / ".nux" / "nux.yaml").write_text("seen: 1\n")  # the UI need not ask for an e-mail address
    path = folder / "dagster.yaml"
    if not path.exists() or path.read_text() != text:
        draft = folder / f".dagster.yaml.{os.getpid()}"
        draft.write_text(text)
        draft.replace(path)
    return folder


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The home's persistent instance, for runs in this process: their output stays on this terminal."""
    folder = write_instance_config(settings)
    # Several commands may be the first on a home: Dagster's tables are made by one of them.
    with FileLock(folder / "creation.lock"):
        instance = _open(folder)
        instance.run_storage.alembic_version()
        instance.event_log_storage.alembic_version()
        if instance.schedule_storage is not None:
            instance.schedule_storage.alembic_version()
    return instance


def _open(folder: Path) -> dg.DagsterInstance:
    quiet = {
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    }
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=quiet))


def this_process() -> str:
    """This process as ``PID_TAG`` names it."""
    process = psutil.Process()
    return f"{process.pid}.{process.create_time():.2f}"


def _is_alive(tag: str) -> bool:
    pid, _, started = tag.partition(".")
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False


def fail_abandoned_runs(instance: dg.DagsterInstance, *, unmarked: bool) -> list[str]:
    """Mark runs as failed whose process is gone, and return their ids.

    A killed daemon or command leaves its runs STARTED for ever, and the queue counts them. The daemon runs those again
    that it had launched (``run_retries``). A run is marked with its process at its first asset: one without a mark may
    be about to start, so it is given up only where ``unmarked`` says that no daemon is running.
    """
    abandoned: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        tag = run.tags.get(PID_TAG)
        if unmarked if tag is None else not _is_alive(tag):
            instance.report_run_failed(run, "The process that executed this run is gone.")
            abandoned.append(run.run_id)
    return abandoned
