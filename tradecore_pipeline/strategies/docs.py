"""The page of a configuration's keys, and of the configurations that come with the package."""

from collections.abc import Iterator, Mapping
from json import dumps
from typing import Any

from tradecore_pipeline.strategies.listing import in_words, listed_variants
from tradecore_pipeline.strategies.schema import StrategyConfig

_INTRODUCTION = """# A strategy's configuration

Written from `tradecore_pipeline/strategies/schema.py` and `configs/` by `make docs`; a test keeps it so. How a decision
is made of it stands in [strategies.md](strategies.md).

A configuration is one JSON object. `name` must be given; every other key has the default below. An unknown key, a value
out of its range and text where a number belongs are refused with a line that names the file, the key and the nearest
valid one. Fractions are written as such: .01 is 1%."""

_ANY_KEY = {"regime_specific_rules": "REGIME", "symbol_specific_rules": "INSTRUMENT", "regime_timeframe_rules": "CASE"}
_CASES = "CASE is `all_bullish`, `mixed_bullish`, `mixed_neutral` (also mixed and bearish) or `all_bearish`."
_REGIME = "REGIME is `regime_0` (the calmest) to `regime_4`, or a state's name."


def keys_page() -> str:
    """docs/strategy_keys.md: the shipped configurations, and every key with its values, default and meaning."""
    schema = StrategyConfig.model_json_schema()
    parts = [
        _INTRODUCTION,
        "\n## Shipped configurations\n",
        "| name | entry | exit | what it is |",
        "|---|---|---|---|",
    ]
    parts += [f"| `{one.name}` | `{one.entry}` | `{one.exit}` | {one.meaning} |" for one in listed_variants()]
    parts += ["\n## Keys\n", f"{_REGIME} {_CASES}\n", "| key | values | default | meaning |", "|---|---|---|---|"]
    parts += list(_rows(schema, schema["$defs"], ""))
    return "\n".join(parts) + "\n"


def _rows(section: Mapping[str, Any], sections: Mapping[str, Any], where: str) -> Iterator[str]:
    """A row per key; a section's own text first."""
    for name, key in section["properties"].items():
        path, inner = f"{where}{name}", key.get("additionalProperties", {})
        below = key.get("$ref") or (isinstance(inner, Mapping) and inner.get("$ref"))
        if below:
            own = sections[str(below).rpartition("/")[2]]
            under = path if "$ref" in key else f"{path}.{_ANY_KEY[name]}"
            yield f"| **`{under}`** | | | {_line(own.get('description', ''))} |"
            yield from _rows(own, sections, f"{under}.")
        else:
            default = f"`{dumps(key['default'])}`" if "default" in key else "needed"
            yield f"| `{path}` | {_values(key)} | {default} | {_line(key.get('description', ''))} |"


def _values(key: Mapping[str, Any]) -> str:
    inner = key.get("additionalProperties")
    if isinstance(inner, Mapping):
        return f"object of {in_words(inner)}"
    return f"`{dumps(key['const'])}`" if "const" in key else in_words(key)


def _line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
