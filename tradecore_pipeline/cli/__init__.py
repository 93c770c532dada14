"""The `tradecore` command: one line of error instead of a traceback, and exit codes 0, 1 (failure), 2 (usage), 130."""

import errno
import logging
import os
import re
import signal
import sqlite3
import sys
import threading
import warnings
from pathlib import Path

from rich.console import Console

from tradecore_pipeline.domain.errors import TradecoreError, UsageError

_INTERRUPTED = 130
_SOON_SECONDS = 0.02
_LONGEST_COMPLAINT = 1_000
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_ROOM = re.compile("disk is full|disk I/O error")


def main() -> None:
    """Run the command line and leave with its exit code."""
    code = run()
    logging.shutdown()
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk, or a reader who has left
        code = _complain(error, 1)
    sys.stderr.flush()
    # The bindings of torch and DuckDB report each other's leaks, a page of them, while an interpreter is torn down.
    os._exit(code)


def run() -> int:  # noqa: PLR0911 (one return per way out)
    """Run the command line and return its exit code."""
    # Dagster's own notices about its interfaces are for whoever writes definitions, not for whoever runs them.
    warnings.filterwarnings(
        "ignore", message=r"(?s).*(MultiPartitionMapping|backfill_policy|allow_nonexistent_upstream_partitions)"
    )
    sys.unraisablehook = _interrupt_again
    # A Ctrl-C that falls into the closing of a connection is passed on, but not without a page in the log.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        from tradecore_pipeline.cli.app import app  # noqa: PLC0415 (after the filter above)

        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer turns Ctrl-C into it, and says nothing
            return _say_interrupted()
        return end.code if isinstance(end.code, int) else 0
    except UsageError as error:
        return _complain(error, 2)
    except TradecoreError as error:
        return _complain(error, 1)
    except OSError as error:
        return _complain(_explained(error), 1)
    except KeyboardInterrupt:
        return _say_interrupted()
    except Exception as error:
        if (reason := _full_disk(error)) is None:
            raise
        return _complain(reason, 1)
    return 0


def _explained(error: OSError) -> str:
    """What to do where this user may not read or write; all other errors (a full disk) name their file themselves."""
    if error.errno not in _NOT_ALLOWED or not isinstance(error.filename, str):
        return str(error)
    path = Path(error.filename).absolute()
    if error.errno != errno.EROFS and os.path.isfile(path) and not os.access(path, os.R_OK):  # noqa: PTH113 (as below)
        return f"{path} cannot be read ({error.strerror}): give this user access to it"
    folder = next(folder for folder in (path, *path.parents) if os.path.isdir(folder))  # noqa: PTH112 (is_dir may raise)
    return (
        f"{folder} cannot be written to ({error.strerror}): make it writable for this user, or choose another folder "
        "(the home's is set by TRADECORE_HOME)"
    )


def _full_disk(error: BaseException | None) -> str | None:
    """What to say where a database of Dagster's or MLflow's found the disk full; None for all other errors."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or (isinstance(error, sqlite3.OperationalError) and _NO_ROOM.search(str(error))):
            return f"the disk is full ({error}): free some space, then run the same command again"
        error = error.__cause__ or error.__context__
    return None


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """Repeat a Ctrl-C that arrived where Python can raise nothing (while it collects garbage): it would be lost."""
    if lost.exc_type.__name__ in {"KeyboardInterrupt", "DagsterExecutionInterruptedError"}:
        threading.Timer(_SOON_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


def _say_interrupted() -> int:
    return _complain("interrupted: what was finished is kept, the same command goes on from there", _INTERRUPTED)


def _complain(message: object, code: int) -> int:
    # What a server or a file said may hold anything: one line of a length that a person reads.
    text = " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())
    shown = text if len(text) <= _LONGEST_COMPLAINT else f"{text[:_LONGEST_COMPLAINT]}..."
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"tradecore: {shown}", markup=False)
    return code
