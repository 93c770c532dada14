"""A user's own mixins: a Python file that he names is run, and each class in it that enters or exits is checked.

The file is the user's own code and may do whatever he may: it is run only because he named it.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import create_model

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.own_code import FAILURES, read_source, run_source, told
from tradecore_pipeline.strategies.answers import checked_exits, checked_signals
from tradecore_pipeline.strategies.contracts import Exits, Sides, Signals
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import Section, StrategyConfig

_HELD = "mixins"


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
            (entries if hasattr(cls, "signals") else exits)[name] = _guarded(path, name, cls)
    return Registry(entries, exits)


def _classes(path: Path) -> dict[str, Any]:
    """The file's mixins by name."""
    module = run_source(path, read_source(path, holds=_HELD), holds=_HELD)
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and (hasattr(value, "signals") or hasattr(value, "exits"))
    }


def _guarded(path: Path, name: str, cls: Any) -> Any:
    """The mixin, asked on a copy of the market; what it raises or returns wrongly ends in one line."""
    where = f"{path}: {name}"

    def signals(self: Any, market: Market, config: StrategyConfig) -> Signals:
        return checked_signals(where, _asked(where, path, cls.signals, self, deepcopy(market), config), len(market))

    def exits(self: Any, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        answer = _asked(where, path, cls.exits, self, deepcopy(market), config, side.copy())
        return checked_exits(where, answer, len(market))

    guarded: Any = create_model(name, __base__=cls, __doc__=cls.__doc__, __module__=cls.__module__)
    if hasattr(cls, "signals"):
        guarded.signals = signals
    else:
        guarded.exits = exits
    return guarded


def _asked(where: str, path: Path, method: Any, *given: Any) -> Any:
    try:
        return method(*given)
    except FAILURES as error:
        raise UsageError(f"{where} failed: {told(error, path)}") from error


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
