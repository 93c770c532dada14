"""Entries and exits by name, and their making from a configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.contracts import Entry, Exit
from tradecore_pipeline.strategies.entries.hmm_lstm import HMMLSTMEntryMixin
from tradecore_pipeline.strategies.entries.rsi_bb import RSIBBEntryMixin
from tradecore_pipeline.strategies.entries.volatility_target import VolatilityTargetEntryMixin
from tradecore_pipeline.strategies.exits.atr import AdvancedATRExitMixin, ATRExitMixin, SimpleATRExitMixin
from tradecore_pipeline.strategies.exits.fixed_ratio import FixedRatioExitMixin
from tradecore_pipeline.strategies.exits.hmm_lstm import HMMLSTMExitMixin
from tradecore_pipeline.strategies.exits.ma_crossover import MACrossoverExitMixin
from tradecore_pipeline.strategies.exits.multi_level_atr import MultiLevelATRExitMixin
from tradecore_pipeline.strategies.exits.no_exit import NoExitMixin
from tradecore_pipeline.strategies.exits.regime_change import RegimeChangeExitMixin
from tradecore_pipeline.strategies.exits.rsi_bb import RSIBBExitMixin
from tradecore_pipeline.strategies.exits.time_based import TimeBasedExitMixin
from tradecore_pipeline.strategies.exits.trailing_stop import TrailingStopExitMixin
from tradecore_pipeline.strategies.problems import described, nearest
from tradecore_pipeline.strategies.schema import Logic, StrategyConfig
from tradecore_pipeline.strategies.unread import refuse_unread

ENTRIES: Mapping[str, type[Entry]] = {
    cls.__name__: cls for cls in (HMMLSTMEntryMixin, RSIBBEntryMixin, VolatilityTargetEntryMixin)
}
EXITS: Mapping[str, type[Exit]] = {
    cls.__name__: cls
    for cls in (
        HMMLSTMExitMixin,
        ATRExitMixin,
        AdvancedATRExitMixin,
        SimpleATRExitMixin,
        MultiLevelATRExitMixin,
        FixedRatioExitMixin,
        TrailingStopExitMixin,
        TimeBasedExitMixin,
        MACrossoverExitMixin,
        RSIBBExitMixin,
        RegimeChangeExitMixin,
        NoExitMixin,
    )
}

MixinT = TypeVar("MixinT")


@dataclass(frozen=True, slots=True)
class Registry:
    """The mixins that configurations may name: ours, and those of a user's own files (``own.load_mixins``)."""

    entries: Mapping[str, type[Entry]] = field(default_factory=lambda: ENTRIES)
    exits: Mapping[str, type[Exit]] = field(default_factory=lambda: EXITS)

    def entry(self, config: StrategyConfig) -> Entry:
        """The configuration's entry.

        Raises:
            UsageError: there is no such mixin, or a parameter is unknown or out of its range; names the nearest.
        """
        return _made(self.entries, config.entry_logic, "entry_logic")

    def exit(self, config: StrategyConfig) -> Exit:
        """The configuration's exit.

        Raises:
            UsageError: as ``entry``, or a key was set that neither it nor the entry reads.
        """
        found = _made(self.exits, config.exit_logic, "exit_logic")
        entry = self.entries.get(config.entry_logic.name)
        if entry is not None:
            refuse_unread(config, entry, self.exits[config.exit_logic.name], {**self.entries, **self.exits})
        return found


def _made(mixins: Mapping[str, type[MixinT]], logic: Logic, where: str) -> MixinT:
    found = mixins.get(logic.name)
    if found is None:
        hint = nearest(logic.name, list(mixins))
        raise UsageError(f"{where}.name: there is no {logic.name!r}; {hint}`tradecore strategies` lists them all")
    model = cast("type[BaseModel]", found)
    try:
        # As JSON, which knows lists and numbers only: what JSON cannot say becomes text, and text is no number.
        return cast("MixinT", model.model_validate_json(to_json(logic.params, fallback=str), strict=True))
    except ValidationError as error:
        raise UsageError(described(error, model, where=f"{where}.params")) from None
