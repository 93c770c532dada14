"""A user's own mixins: a Python file that he names is run, and each class in it that enters or exits is checked.

The file is the user's own code and may do whatever he may: it is run only because he named it.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.features.own import FAILURES, importable
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import Section


def load_mixins(paths: Sequence[Path], registry: Registry) -> Registry:
    """``registry``, and the mixins of these files.

    A class with a method ``signals`` is an entry, one with ``exits`` an exit; names with a leading underscore are the
    file's own business.

    Raises:
        UsageError: a file cannot be read or run, has no mixin, or one that cannot be used; the message names the file
            and says what to change.
    """
    entries, exits = dict(registry.entries), dict(registry.exits)
    for path in paths:
        classes = _classes(path)
        if not classes:
            raise UsageError(
                f"{path} has no mixins: write a class with `signals` or `exits`, as docs/strategies.md shows"
            )
        for name, cls in classes.items():
            _check(path, name, cls)
            if name in entries or name in exits:
                raise UsageError(f"{path}: there is already a mixin {name}: choose another name")
            (entries if hasattr(cls, "signals") else exits)[name] = cls
    return Registry(entries, exits)


def _classes(path: Path) -> dict[str, Any]:
    """The file's mixins by name; nothing of it is kept anywhere, so that a changed file is read anew."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({_told(error, path)}): name a Python file with mixins") from None
    module = ModuleType(f"own_mixins_in_{path.stem}")
    module.__file__ = str(path)
    try:
        with importable(module):
            exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102 (the user's own code, which he named)
    except FAILURES as error:
        raise UsageError(f"{path} cannot be run: {_told(error, path)}") from error
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and (hasattr(value, "signals") or hasattr(value, "exits"))
    }


def _check(path: Path, name: str, cls: Any) -> None:
    where = f"{path}: {name}"
    if not issubclass(cls, Section):
        raise UsageError(f"{where}: a mixin is a subclass of tradecore_pipeline.strategies.schema.Section")
    if hasattr(cls, "signals") and hasattr(cls, "exits"):
        raise UsageError(f"{where}: a mixin has either `signals` or `exits`: make it two classes")
    if not isinstance(getattr(cls, "warm_up_bars", None), property):
        raise UsageError(f"{where}: give it a property `warm_up_bars`, the bars before a row that its values need")
    lacking = [key for key, field in cls.model_fields.items() if field.is_required()]
    if lacking:
        raise UsageError(f"{where}: {lacking[0]} has no default: every parameter needs one")


def _told(error: BaseException, path: Path) -> str:
    """The error in one line, with the line of the user's file where there is one."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = error.msg if isinstance(error, SyntaxError) else getattr(error, "strerror", None) or error
    words = " ".join(str(text).split()) or "no message"
    return f"{type(error).__name__} ({words})" + ("" if line is None else f" in line {line}")
