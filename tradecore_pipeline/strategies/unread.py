"""Keys that do nothing: what only some mixins read is refused where it is set and the chosen ones do not read it.

A mixin says what it reads of these keys in its class's ``reads``: keys such as `risk_management.stop_loss`, or whole
sections. One without it, as a user's own may be, is taken to read everything.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.permission import PERMISSION_KEYS
from tradecore_pipeline.strategies.schema import StrategyConfig

BY_EVERYBODY: AbstractSet[str] = frozenset({
    "entry_criteria.require_portfolio_diversification",
    "risk_management.portfolio_max_drawdown",
    "risk_management.position_correlation_limit",
})  # fmt: skip
"""Keys of the sections below that the account reads, whatever enters and leaves."""
LIMIT_SCALE_KEYS: AbstractSet[str] = frozenset({
    "regime_specific_rules.exit_speed",
    "symbol_specific_rules.volatility_multiplier",
})  # fmt: skip
"""What exits with limits multiply them by."""
REBALANCE_KEYS: AbstractSet[str] = frozenset({
    "portfolio_management.rebalance_frequency",
    "backtesting_parameters.rebalance_band",
})  # fmt: skip
"""What an entry whose position follows its target is resized by."""
BY_MIXINS: AbstractSet[str] = frozenset({
    "entry_criteria",
    "risk_management",
    "exit_criteria",
    *PERMISSION_KEYS,
    *LIMIT_SCALE_KEYS,
    *REBALANCE_KEYS,
})  # fmt: skip
"""Keys and sections that only some mixins read."""


def refuse_unread(config: StrategyConfig, entry: type[Any], leave: type[Any], known: Mapping[str, type[Any]]) -> None:
    """Refuses keys that were set and that neither the entry nor the exit ``leave`` reads.

    Where every key of a section stands, as in the configuration that a run stores, those at their default are not
    taken for somebody's wish.

    Raises:
        UsageError: there is such a key; names a mixin of ``known`` that reads it.
    """
    for path, key in _set(config, "", ""):
        if not _within(key, BY_MIXINS) or key in BY_EVERYBODY or reads(entry, key) or reads(leave, key):
            continue
        reader = next((name for name, cls in known.items() if hasattr(cls, "reads") and reads(cls, key)), None)
        instead = f", or choose for example {reader}" if reader else ""
        raise UsageError(
            f"{path} is set, but neither {entry.__name__} nor {leave.__name__} reads it: remove it{instead}"
        )


def reads(mixin: type[Any], key: str) -> bool:
    """Whether the mixin reads a key, by its class's ``reads``."""
    told: AbstractSet[str] | None = getattr(mixin, "reads", None)
    return told is None or _within(key, told)


def _within(key: str, told: AbstractSet[str]) -> bool:
    return key in told or key.partition(".")[0] in told


def _set(section: BaseModel, path: str, key: str) -> Iterator[tuple[str, str]]:
    """The keys that were set: as they stand in the file, and without the names of regimes, instruments and cases."""
    fields = type(section).model_fields
    complete = section.model_fields_set == set(fields)
    for name in fields:
        if name not in section.model_fields_set:
            continue
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _set(value, f"{path}{name}.", f"{key}{name}.")
        elif _of_sections(value):
            for each, rule in value.items():
                yield from _set(rule, f"{path}{name}.{each}.", f"{key}{name}.")
        elif not (complete and value == fields[name].default):
            yield f"{path}{name}", f"{key}{name}"


def _of_sections(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, BaseModel) for one in value.values())
