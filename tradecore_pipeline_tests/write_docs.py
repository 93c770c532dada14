"""Writes the pages of docs/ that are made from the code: settings, tables, features and strategies' keys."""

import ast
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tradecore_pipeline.domain.offers import OFFERS
from tradecore_pipeline.features.docs import features_page
from tradecore_pipeline.settings import PREFIX, TOML_FILE, Settings
from tradecore_pipeline.storage.docs import tables_markdown
from tradecore_pipeline.strategies.docs import keys_page

DOCS = Path(__file__).parents[1] / "docs"

_INTRODUCTION = f"""# Settings

Written from `tradecore_pipeline/settings.py` by `make docs`; a test keeps it so.

A setting is a variable, or a key in `{TOML_FILE}` in the current directory; variables win. A list in a variable is
comma-separated (`{PREFIX}TIMEFRAMES=1h,4h`), a table is JSON (`{PREFIX}TRAINING_WINDOW_BARS='{{"1h": 2160}}'`). An
unknown or impossible setting stops every command with a line that names it.

| name | variable | type | default | meaning |
|---|---|---|---|---|
"""


_EXCHANGES = """# What each exchange publishes

Written from `tradecore_pipeline/domain/offers.py` by `make docs`; a test keeps it so. The dates are what is known
today: which days there really are is decided by the archive's listing and the exchange's own answers, day by day. A day
that an exchange does not publish is stored with zero rows and its reason. Units are the same everywhere: volume and
open interest in coins (one side), funding as a fraction per settlement."""


def settings_page() -> str:
    """docs/settings.md: every setting, its variable, type, default and meaning."""
    meanings = _meanings()
    rows = [
        f"| `{name}` | `{PREFIX}{name.upper()}` | {_type(field)} | {_default(field)} | {meanings[name]} |"
        for name, field in Settings.model_fields.items()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _meanings() -> dict[str, str]:
    """The text under each field of the class, by the field's name."""
    body = ast.parse(inspect.getsource(Settings)).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError("settings are no longer a class")
    meanings = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            meanings[field.target.id] = " ".join(str(text.value.value).split())
    return meanings


def _type(field: FieldInfo) -> str:
    bounds = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)
    }
    low = bounds.get("ge", bounds.get("gt"))
    text = _type_name(field.annotation)
    if low is None:
        return text
    if "le" in bounds:
        return f"{text}, {'over ' if 'gt' in bounds else ''}{low} to {bounds['le']}"
    return f"{text}, at least {low}"


def _type_name(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin is tuple:
        return "list"
    if origin is dict:
        return "table of whole numbers"
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_type_name(one) for one in arguments if one is not types.NoneType)
    return {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "folder"}[kind]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value in (None, ()):
        return "none"
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, dict):
        return f"`{', '.join(f'{key}: {number}' for key, number in value.items())}`"
    return f"`{value}`"


def exchanges_page() -> str:
    """docs/exchanges.md: what each exchange publishes."""
    lines = [_EXCHANGES]
    for exchange, kinds in OFFERS.items():
        for market_type, offers in kinds.items():
            lines += [f"\n## {exchange}, {market_type}\n", "| dataset | history | from |", "|---|---|---|"]
            lines += [f"| `{name}` | {offer.history} | {offer.sources} |" for name, offer in offers.items()]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "exchanges.md": exchanges_page,
    "settings.md": settings_page,
    "tables.md": tables_markdown,
    "features.md": features_page,
    "strategy_keys.md": keys_page,
}
"""The generated pages and what writes them."""


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
