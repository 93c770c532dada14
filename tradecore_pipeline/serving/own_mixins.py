"""Mixins that configurations may name, and of a user's own what they were made of: a rewrite is another trial."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradecore_pipeline.strategies.own import load_mixins
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig


@dataclass(frozen=True, slots=True)
class Mixins:
    """Ours, and those of the user's files."""

    registry: Registry
    sources: Mapping[str, str]
    """By the name of a user's mixin, the digest of its file's bytes; modules that the file imports are not in it."""

    def used(self, config: StrategyConfig) -> dict[str, str]:
        """Those of ``sources`` that the configuration names; nothing where its mixins are ours."""
        names = (config.entry_logic.name, config.exit_logic.name)
        return {name: self.sources[name] for name in names if name in self.sources}


def own_mixins(paths: Sequence[Path]) -> Mixins:
    """Ours and those of these files, which are run; raises as ``load_mixins``."""
    registry, sources = Registry(), dict[str, str]()
    for path in paths:
        known, registry = registry, load_mixins([path], registry)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        new = (registry.entries.keys() - known.entries.keys()) | (registry.exits.keys() - known.exits.keys())
        sources |= dict.fromkeys(sorted(new), digest)
    return Mixins(registry, sources)
