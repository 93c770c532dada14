"""A user's own Python files: read, run, and what goes wrong in them told in one line.

Such a file may do whatever the user may: it is run only because he named it.
"""

import sys
from asyncio import CancelledError
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tradecore_pipeline.domain.errors import UsageError

FAILURES = (Exception, SystemExit, GeneratorExit, CancelledError)
"""What a user's code may raise that is its own mistake; a Ctrl-C, and Dagster's word for it, are none."""


def read_source(path: Path, *, holds: str) -> bytes:
    """The bytes of a user's file, in which he has ``holds``.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a Python file with {holds} in it") from error


def run_source(path: Path, source: bytes, *, holds: str) -> ModuleType:
    """The module that the file makes; nothing of it is kept anywhere, so that a changed file is read anew.

    Raises:
        UsageError: it is no text, or cannot be run; the message has the line.
    """
    try:
        text = source.decode("utf-8-sig")  # some editors on Windows begin a file with a mark of its encoding
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read (it is no text in UTF-8): name a Python file with {holds}") from error
    module = ModuleType(f"own_{holds}_in_{path.stem}")
    module.__file__ = str(path)
    try:
        with _importable(module):
            exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102 (the user's own code, which he named)
    except FAILURES as error:
        raise UsageError(f"{path} cannot be run: {told(error, path)}") from error
    return module


def told(error: BaseException, path: Path) -> str:
    """The error in one line, with the line of the user's file where there is one."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    words = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split()) or "no message"
    return f"{type(error).__name__} ({words})" + ("" if line is None else f" in line {line}")


@contextmanager
def _importable(module: ModuleType) -> Generator[None]:
    """Let what runs in the module's body find the module by its name, as dataclasses do."""
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]
