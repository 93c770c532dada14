"""What is wrong with a configuration, in one line that names the key and the nearest valid one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_UNKNOWN = "extra_forbidden"
_MISSING = "missing"
_OF_KEY = "[key]"
"""What stands at the end of a problem's place where a mapping's key, not its value, is wrong."""


def described(error: ValidationError, model: type[BaseModel], *, where: str) -> str:
    """The first problem of ``error``, found in ``where`` while a ``model`` was made."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = [str(part) for part in first["loc"] if part != _OF_KEY]
    path = ".".join(filter(None, (where, *place)))
    if first["type"] == _UNKNOWN or _OF_KEY in first["loc"]:
        return f"{path}: there is no such key{_nearest(place, model)}"
    if first["type"] == _MISSING:
        return f"{path}: must be given"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path or 'the whole'}: {message[:1].lower()}{message[1:]}{_instead(first, message, _at(model, place))}"


def nearest(name: str, names: Sequence[str]) -> str:
    """`did you mean NAME? `, or nothing where no name is near."""
    # Short names are few and alike: `2h` is no more 4h than it is 1h.
    found = get_close_matches(name, names, n=1, cutoff=0.3 if len(name) > 3 else 0.6)
    return f"did you mean {found[0]}? " if found else ""


def _nearest(place: Sequence[str], model: type[BaseModel]) -> str:
    keys = _keys(_at(model, place[:-1]))
    hint = nearest(place[-1], keys).strip() or f"choose one of {', '.join(keys)}"
    return f"; {hint}" if keys else ""


def _instead(problem: ErrorDetails, message: str, owner: Any) -> str:
    """What was given: the value, or of a whole section the keys that the message names."""
    given = problem["input"]
    if not isinstance(given, Mapping):
        return f", not {_shown(given)}"
    fields = owner.model_fields if _is_model(owner) else {}
    named = [key for key in dict.fromkeys(re.findall(r"\w+", message)) if key in fields]
    values = [f"{key} is {_shown(given.get(key, fields[key].default))}" for key in named]
    return f", but {' and '.join(values)}" if values else ""


def _at(model: Any, place: Sequence[str]) -> Any:
    """The type that stands at ``place`` in ``model``, None where it has nothing there."""
    for key in place:
        model = _below(model, key)
    return model


def _below(owner: Any, key: str) -> Any:
    """The type under ``key``: of a model's field, or the one that a mapping or a list has everywhere."""
    for each in _choices(owner):
        if _is_model(each):
            return each.model_fields[key].annotation if key in each.model_fields else None
        inner = get_args(each)
        if inner:
            return inner[-1] if get_origin(each) in {dict, Mapping} else inner[0]
    return None


def _keys(owner: Any) -> list[str]:
    """The keys a model has, or those that a mapping allows."""
    for each in _choices(owner):
        if _is_model(each):
            return list(each.model_fields)
        if get_origin(each) in {dict, Mapping}:
            return [str(name) for kind in _choices(get_args(each)[0]) for name in _literals(kind)]
    return []


def _choices(kind: Any) -> Iterator[Any]:
    """The members of a union, each without its annotations."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        for member in get_args(kind):
            yield from _choices(member)
    else:
        yield kind


def _literals(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
