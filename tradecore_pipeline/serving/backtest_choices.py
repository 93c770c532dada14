"""What a tuned run tried beside what it chose: every choice is a configuration that luck had a chance with."""

from collections.abc import Sequence
from datetime import datetime

from tradecore_pipeline.serving.backtests import Attempt
from tradecore_pipeline.storage.strategy_ledger import Trial
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.tuning.strategies import TuningPlan, choices_of, with_values


def tried_choices(attempt: Attempt, plan: TuningPlan, *, registry: Registry, now: datetime) -> Sequence[Trial]:
    """The choices that were judged for the months of a tuned ``attempt``, each run over all of its bars.

    They are the same for every month. The windows that they were judged on overlap and are short: their runs over the
    whole period are what the ledger compares with other configurations, and count the same settings once.
    """
    config, found = attempt.strategy.config, list[Trial]()
    for number, values in enumerate(choices_of(config, plan), start=1):
        named = with_values(config, values).model_copy(update={"name": f"{config.name}_{number}"})
        tried = Attempt.of(Strategy.of(named, registry), attempt.gathered, sources=attempt.sources)
        found.append(tried.trial(now))
    return found
