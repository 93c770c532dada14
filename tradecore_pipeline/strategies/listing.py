"""What `tradecore strategies` and the documentation list: variants, and mixins with their parameters."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tradecore_pipeline.strategies.reading import variant, variants
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import Section

_BOUNDS = {"exclusiveMinimum": "over", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
_KINDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a mixin."""

    name: str
    kind: str
    """Type and range in words."""
    default: Any
    meaning: str


@dataclass(frozen=True, slots=True)
class Mixin:
    """An entry or an exit."""

    name: str
    meaning: str
    warm_up_bars: int
    """With the parameters' defaults."""
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A configuration that comes with the package."""

    name: str
    meaning: str
    entry: str
    exit: str


def listed_variants() -> tuple[Variant, ...]:
    """Those that come with the package, sorted by name."""
    found = ((name, variant(name)) for name in variants())
    return tuple(Variant(name, one.description, one.entry_logic.name, one.exit_logic.name) for name, one in found)


def listed_mixins(registry: Registry) -> tuple[tuple[Mixin, ...], tuple[Mixin, ...]]:
    """Entries and exits, in the registry's order."""
    return tuple(_mixins(registry.entries)), tuple(_mixins(registry.exits))


def _mixins(classes: Mapping[str, type[Any]]) -> Iterator[Mixin]:
    for name, cls in classes.items():
        model = cast("type[Section]", cls)
        properties: dict[str, Any] = model.model_json_schema().get("properties", {})
        parameters = tuple(_parameter(key, schema) for key, schema in properties.items())
        yield Mixin(name, _line((cls.__doc__ or "").strip().partition("\n")[0]), cls().warm_up_bars, parameters)


def _parameter(name: str, schema: Mapping[str, Any]) -> Parameter:
    return Parameter(name, in_words(schema), schema.get("default"), _line(schema.get("description", "")))


def in_words(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(in_words(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(each) for each in schema["enum"])
    kind = str(schema.get("type", "object"))
    if kind == "array":
        return f"list of {in_words(schema.get('items', {}))}"
    bounds = " ".join(f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema)
    return f"{_KINDS.get(kind, kind)}{bounds and f' {bounds}'}"


def _line(text: str) -> str:
    """A docstring's text on one line, its marks as Markdown has them."""
    return " ".join(text.split()).replace("``", "`")
