"""Files that are there whole or not at all: written beside, flushed to disk, renamed into place."""

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = ".tmp"
_KEYS = ("date=", "month=")
"""How the names of days and months begin."""


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path in the same directory, to be written in the body and then renamed to ``path``.

    Readers see the old file until the rename and the new one after it. What killed writers of ``path`` left behind
    is removed first; an error in the body leaves ``path`` as it was.
    """
    make_directory(path.parent)
    _remove_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)


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


def _remove_stale(path: Path) -> None:
    prefix = f".{path.name}."
    for name in os.listdir(path.parent):  # noqa: PTH208 (likewise)
        if name.startswith(prefix) and name.endswith(_TEMPORARY):
            process = name.removeprefix(prefix).partition("-")[0]
            if not (process.isdecimal() and _is_running(int(process))):
                path.with_name(name).unlink(missing_ok=True)


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
def exclusive(directory: Path) -> Generator[None]:
    """Hold ``directory`` (made if need be) against every other process and thread that asks for it like this.

    A killed holder lets go by itself.
    """
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
