"""The file an Optuna study lives in, made safe against processes that are killed while they write to it."""

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from tradecore_pipeline.domain.errors import InvalidDataError


class KernelLock(JournalFileOpenLock):
    """A file lock that the kernel drops with its process.

    Optuna's own locks are files that outlive a killed process: others then wait half a minute, and for ever where the
    path is relative.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


class Journal(JournalFileBackend):
    """Optuna's file of one JSON object per line, which is brought to the disk when a trial's result is written.

    Optuna does so with every parameter of every trial: most of the time of a study of many lengths. What a power cut
    takes of the trial at work is asked for again; a killed process loses nothing that it wrote.
    """

    def __init__(self, path: Path, lock: KernelLock) -> None:
        super().__init__(str(path), lock_obj=lock)
        self._path = path
        self._own_lock = lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write the lines at once, alone."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._own_lock.acquire()
        try:
            with self._path.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                if any("values" in log for log in logs):
                    os.fsync(file.fileno())
        finally:
            self._own_lock.release()


def open_journal(path: Path) -> JournalStorage:
    """The storage in the file at ``path``, created where absent, its last line cut off if it was left half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = KernelLock(path.with_name(f"{path.name}.lock"))
    lock.acquire()
    try:
        _cut_torn_line(path)
    finally:
        lock.release()
    return JournalStorage(Journal(path, lock))


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Turn what a damaged file makes of reading it into one line that says what to do.

    Raises:
        InvalidDataError: the file at ``path`` is damaged.
    """
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise InvalidDataError(
            f"the study in {path} is damaged ({type(error).__name__}): remove the file, and the study starts again"
        ) from error


def _cut_torn_line(path: Path) -> None:
    if path.is_dir():
        raise InvalidDataError(f"the study in {path} is a folder, not a file: remove it, and the study starts again")
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
