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
    temporary = _temporary(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, as ``replacing`` does."""
    temporary = _temporary(path)
    try:
        _write(temporary, data)
        _remove_stale(path.parent)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create_bytes(path: Path, data: bytes) -> bool:
    """Create ``path`` with ``data`` unless it exists; true for the one caller that created it."""
    temporary = _temporary(path)
    try:
        _write(temporary, data)
        # A link, not O_EXCL: a file created empty and filled later could be left empty by a kill.
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)
    return True


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that no other writer uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")


def _write(path: Path, data: bytes) -> None:
    """Create ``path`` with ``data``, on disk when this returns."""
    descriptor = _opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path, flags: int) -> int:
    """A descriptor of the file, whose directory is made where it is missing."""
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_directory(path.parent)
        return os.open(path, flags, 0o666)


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
    handle = _opened(lock, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
