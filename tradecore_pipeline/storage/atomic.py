"""Files that are there whole or not at all: written beside, flushed to disk, renamed into place."""

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_TEMPORARY = ".tmp"
_KEYS = ("date=", "month=")
"""How the names of days and months begin."""


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path in the same directory, to be written in the body and then renamed to ``path``.

    Readers see the old file until the rename and the new one after it; an error in the body leaves ``path`` as it was.
    The content is on disk before it has its name. The name itself may be taken back by a power cut: a day is then as
    it was before, which its ledger entry (or the lack of one) shows, and is fetched again. Flushing directories, too,
    would double the time of storing a day.
    """
    make_directory(path.parent)
    _remove_stale(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def create_bytes(path: Path, data: bytes) -> bool:
    """Create ``path`` with ``data`` unless it exists; true for the one caller that created it."""
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        temporary.write_bytes(data)
        _flush(temporary)
        # A link, not O_EXCL: a file created empty and filled later could be left empty by a kill.
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)
    return True


def make_directory(directory: Path) -> None:
    """Create ``directory`` and its parents, so that they outlive a power cut as their files do."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _flush(directory.parent)


def listed_names(directory: Path, suffix: str) -> list[str]:
    """The names ``<key>=...<suffix>``, sorted: no temporary files and no strangers; empty without the directory."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 (thousands of names: Path objects would triple the time)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(suffix) and name.startswith(_KEYS))


@cache
def _remove_stale(directory: Path) -> None:
    """Remove what killed writers left in ``directory``; once per process, since a directory may hold years of days."""
    for name in os.listdir(directory):  # noqa: PTH208 (likewise)
        if name.startswith(".") and name.endswith(_TEMPORARY):
            process = name.rpartition(".")[0].rpartition(".")[2].partition("-")[0]
            if process.isdecimal() and not _is_running(int(process)):
                (directory / name).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(lock: Path) -> Generator[None]:
    """Hold ``lock``, an empty file made for this, against every other process and thread that asks for it like this.

    A killed holder lets go by itself.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
