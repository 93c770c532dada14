"""Configurations from JSON: the shipped variants, and a user's own files."""

import json
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.problems import described
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig

_LARGEST_FILE = 1_000_000


def variants() -> tuple[str, ...]:
    """Names of the configurations that come with the package, sorted."""
    return tuple(sorted(file.name.removesuffix(".json") for file in _folder().iterdir() if file.name.endswith(".json")))


def variant(name: str) -> StrategyConfig:
    """A configuration that comes with the package.

    Raises:
        UsageError: there is none of that name.
    """
    names, name = variants(), name.replace("-", "_")
    if name not in names:
        nearest = get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(f"there is no variant {name!r}; {hint}choose one of {', '.join(names)}")
    return parse(_folder().joinpath(f"{name}.json").read_text(encoding="utf-8"), where=f"{name}.json")


def read_config(path: Path) -> StrategyConfig:
    """A configuration of the user's.

    Raises:
        UsageError: the file cannot be read, is no JSON, or has a key or value that cannot be; names it.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LARGEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({error}): give the path of a JSON file") from None
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"{path}: a strategy's configuration has a few kilobytes; this is another file")
    return parse(text, where=path.name)


def read_strategy(path: Path, registry: Registry) -> Strategy:
    """A configuration of the user's with its mixins made.

    Raises:
        UsageError: as ``read_config``, or a mixin or one of its parameters does not exist; names the file.
    """
    config = read_config(path)
    try:
        return Strategy.of(config, registry)
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from None


def parse(text: str, *, where: str) -> StrategyConfig:
    """A configuration from JSON text; ``where`` is the file's name in errors.

    Raises:
        UsageError: it is no JSON, or has a key or value that cannot be.
    """
    try:
        document: Any = json.loads(text, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{where}: a configuration is one JSON object, {{...}}")
    try:
        return StrategyConfig.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        raise UsageError(f"{where}: {described(error, StrategyConfig, where='')}") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the key {key!r} stands twice")
    return dict(pairs)


def _folder() -> Any:
    return resources.files("tradecore_pipeline.strategies").joinpath("configs")
