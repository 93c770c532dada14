"""Which files an import reads: those named, and those in named folders that can hold what was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.importing.names import why_not
from tradecore_pipeline.importing.notes import Notes

SUFFIXES = (
    *(".zip", ".csv", ".csv.gz", ".json", ".json.gz"),
    *(".parquet", ".pq", ".feather", ".arrow"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to read, each once, and how many in the folders were passed over."""

    paths: tuple[Path, ...]
    skipped: int


def select_files(paths: Sequence[Path], table: Table, instrument: Instrument, *, notes: Notes) -> Selection:
    """The files named by ``paths``, folders searched to their depth.

    A file in a folder whose name says that it holds something else is passed over with a note; naming it is an error.

    Raises:
        UsageError: a path does not exist or is of an unknown kind, a named file holds something else, or nothing is
            left.
    """
    chosen: dict[Path, Path] = {}
    skipped = 0
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist: name files or folders to import")
        if not (path.is_dir() or path.is_file()):
            raise UsageError(f"{path} is neither a file nor a folder: name files or folders to import")
        named = not path.is_dir()
        for file in [path] if named else _files_in(path):
            reason = _unread(file) or why_not(file, table, instrument)
            if reason is None:
                chosen.setdefault(file.resolve(), file)
            elif named:
                raise UsageError(f"{file.name} {reason}: it is no {table.name} of {instrument}")
            else:
                skipped += 1
                notes.add(f"skipped: {reason}", file.name)
    if not chosen:
        raise UsageError(f"there is nothing to import as {table.name} of {instrument}{_first(notes)}")
    return Selection(tuple(chosen.values()), skipped)


def suffix_of(path: Path) -> str:
    """The part of the name that tells the format, in lower case; empty for one that is not read."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), "")


def _files_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(".CHECKSUM"):
            yield path


def _unread(path: Path) -> str | None:
    return None if suffix_of(path) else f"is none of {', '.join(SUFFIXES)}"


def _first(notes: Notes) -> str:
    line = next(notes.lines(), None)
    return "" if line is None else f" ({line})"
