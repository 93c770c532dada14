"""Commands that run services or look at the machine: up, simulator, doctor."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from tradecore_pipeline.cli.output import JsonFlag, note, print_json, print_table
from tradecore_pipeline.domain.errors import TradecoreError, UsageError
from tradecore_pipeline.domain.time import parse_day
from tradecore_pipeline.settings import Settings

HOST = "127.0.0.1"
_STOP_SECONDS = 15
_KILL_SECONDS = 5


def free_port(port: int, name: str) -> int:
    """``port``, which nothing listens on.

    Raises:
        UsageError: something does; the message names the setting to change.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"port {port} is busy: stop what listens there, or set TRADECORE_{name.upper()} to another port"
            ) from error
    return port


def any_free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def simulator(
    port: Annotated[
        int | None, typer.Option(min=1024, max=65535, help="Port on 127.0.0.1; by default TRADECORE_SIMULATOR_PORT.")
    ] = None,
    archive_dir: Annotated[
        Path | None, typer.Option(help="Serve recorded files in the archive's own layout (a folder that holds data/).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated market.")] = 7,
    start: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="First day of the simulated market.")] = "2025-01-01",
    end: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Day after its last.")] = "2025-10-28",
    now: Annotated[str | None, typer.Option(metavar="ISO", help="Freeze the exchange's clock at this moment.")] = None,
    faults: Annotated[
        Path | None, typer.Option(help="Start with this fault plan (JSON, see docs/simulator.md).")
    ] = None,
) -> None:
    """A local exchange: REST and archive over a simulated market or recorded files, on 127.0.0.1."""
    from tradecore_pipeline.simulator.faults import FaultPlan  # noqa: PLC0415 (only this command needs it)
    from tradecore_pipeline.simulator.parameters import demo_parameters  # noqa: PLC0415 (only this command needs it)
    from tradecore_pipeline.simulator.server import build_recorded, build_simulated, serve  # noqa: PLC0415 (as above)

    moment = _moment(now)
    plan = None if faults is None else FaultPlan.load(faults)
    if archive_dir is not None:
        if not (archive_dir / "data").is_dir():
            raise UsageError(f"{archive_dir} holds no data folder: give the folder that mirrors the archive's root")
        app = build_recorded(archive_dir, now=moment, faults=plan)
    else:
        first, last = parse_day(start), parse_day(end)
        if first >= last:
            raise UsageError(f"--start {first} is not before --end {last}")
        app = build_simulated(demo_parameters(), seed, start=first, end=last, now=moment, faults=plan)
    where = free_port(port or Settings.load().simulator_port, "simulator_port")
    note(f"simulator on http://{HOST}:{where} (Ctrl-C stops it); to use it:")
    for name in ("BINANCE_ARCHIVE", "BINANCE_REST", "BINANCE_SPOT_REST", "BYBIT_REST", "OKX_REST", "HYPERLIQUID_REST"):
        note(f"  export TRADECORE_{name}_URL=http://{HOST}:{where}")
    serve(app, port=where)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a moment: write 2024-06-01T12:00:00+00:00") from None


def simulator_process(*, port: int, seed: int, start: date, end: date, now: datetime) -> subprocess.Popen[bytes]:
    """A simulated exchange in a process of its own, ready to answer."""
    command = [
        *(sys.executable, "-c", "from tradecore_pipeline.cli import main; main()", "simulator"),
        *("--port", str(port), "--seed", str(seed), "--start", str(start), "--end", str(end), "--now", now.isoformat()),
    ]
    # A file and not a pipe: nobody reads a pipe once the simulator answers, and a full one would stop it.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if process.poll() is not None:
                said.seek(0)
                lines = said.read().decode(errors="replace").split("\n")
                reason = next((line for line in reversed(lines) if line.strip()), "no reason given")
                raise TradecoreError(f"the simulator did not start: {reason}")
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    return process
            time.sleep(0.05)
    stop(process)
    raise TradecoreError("the simulator did not answer within 30 seconds")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started in its session: politely, then for good."""
    for sign, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + seconds
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(0.05)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a leader that has ended must be reaped, or its group never empties
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def up(
    *, demo: Annotated[bool, typer.Option("--demo", help="Over the demo's home, with its simulated exchange.")] = False
) -> None:
    """Dagster's UI and daemon and MLflow's UI over this home, on 127.0.0.1; one Ctrl-C stops all."""
    from tradecore_pipeline.cli.up import run_services  # noqa: PLC0415 (Dagster takes a second to import)

    run_services(Settings.load(), demo=demo)


def doctor(*, json: JsonFlag = False) -> None:
    """Check clock, disk, ports, home, versions, and whether exchange and archive can be reached."""
    from tradecore_pipeline.cli.doctor import run_checks  # noqa: PLC0415 (only this command needs the network)

    checks = run_checks(Settings.load())
    if json:
        print_json({"checks": [check.to_json() for check in checks]})
    else:
        print_table(("check", "", "what"), [(c.name, "ok" if c.passed else "LOOK", c.detail) for c in checks])
    if not all(check.passed for check in checks if check.needed):
        raise typer.Exit(1)
