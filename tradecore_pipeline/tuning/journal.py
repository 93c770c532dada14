"""The file an Optuna study lives in, made safe against processes that are killed while they write to it."""

import fcntl
import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


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


def open_journal(path: Path) -> JournalStorage:
    """The storage in the file at ``path``, created where absent, its last line cut off if it was left half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = KernelLock(path.with_name(f"{path.name}.lock"))
    lock.acquire()
    try:
        _cut_torn_line(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
