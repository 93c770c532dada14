"""The decision function: from what was known at each bar's close to what to hold from the next open on.

``plan`` decides for all bars at once, ``StrategyStream`` for one after the other with the same result. Both know
nothing of the position: what depends on it (a stop, a target, a trailing stop, the longest holding) is in the plan as
the limits that a position opened there gets, and the engine, or a live executor, applies them.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.strategies.contracts import Entry, Exit, Exits, Plan
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline.strategies.sizing import sizes


@dataclass(frozen=True, slots=True)
class Strategy:
    """A configuration with its mixins made."""

    config: StrategyConfig
    entry: Entry
    exit: Exit

    @classmethod
    def of(cls, config: StrategyConfig, registry: Registry) -> Self:
        """The strategy of a configuration.

        Raises:
            UsageError: a mixin or one of its parameters does not exist.
        """
        return cls(config, registry.entry(config), registry.exit(config))

    @property
    def warm_up_bars(self) -> int:
        """Bars before the first decision that is the one of a full history."""
        return max(self.entry.warm_up_bars, self.exit.warm_up_bars)

    def plan(self, market: Market) -> Plan:
        """Decisions at every bar's close, each from rows up to it alone; none on the first ``warmup`` bars."""
        return self.plan_after(market, waiting=self.config.backtesting_parameters.warmup)

    def plan_after(self, market: Market, *, waiting: int) -> Plan:
        """The same with nothing to be opened on the first ``waiting`` bars, whatever the configuration says."""
        signals = self.entry.signals(market, self.config)
        size = sizes(market, self.config, signals)
        size[:waiting] = 0.0
        side = np.where(size > 0, signals.side, 0).astype(np.int8)
        return Plan(side, size, signals.rebalance, self.exit.exits(market, self.config, side))


class StrategyStream:
    """The same decisions, one bar after the other; it keeps as many bars as the strategy's warm-up needs."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._waiting = strategy.config.backtesting_parameters.warmup
        self._seen: Market | None = None

    def update(self, row: Market) -> Plan:
        """The decision at the close of a bar: a plan of one row.

        Raises:
            InvalidDataError: ``row`` is not one bar, does not follow those before it, or is of another series.
        """
        if len(row) != 1:
            raise InvalidDataError(f"{row.instrument}: a stream takes one bar at a time, not {len(row)}")
        if self._seen is not None and row.bars.index[0] <= self._seen.bars.index[-1]:
            raise InvalidDataError(f"{row.instrument}: {row.bars.index[0]} does not come after the bars before it")
        seen = row if self._seen is None else joined(self._seen, row)
        keep = self._strategy.warm_up_bars + 1
        self._seen = seen.rows(max(0, len(seen) - keep), len(seen))
        waiting = len(self._seen) if self._waiting > 0 else 0
        self._waiting -= 1
        return _last(self._strategy.plan_after(self._seen, waiting=waiting))


def joined(first: Market, second: Market) -> Market:
    """The bars of both, one after the other; where one has fewer states than the other, those that lack are NaN.

    Raises:
        InvalidDataError: they are not of the same instrument and timeframes.
    """
    told = [(one.instrument, one.timeframe, set(one.higher), one.consensus is None) for one in (first, second)]
    if told[0] != told[1]:
        raise InvalidDataError(
            f"{second.instrument} {second.timeframe} does not continue {first.instrument} {first.timeframe}: every bar "
            "of a series has the same instrument, timeframes and ensemble"
        )
    states = max(first.probabilities.shape[1], second.probabilities.shape[1])

    def both(name: str) -> np.ndarray:
        return np.concatenate((getattr(first, name), getattr(second, name)))

    def widened(part: Market) -> np.ndarray:
        lacking = states - part.probabilities.shape[1]
        return np.pad(part.probabilities, ((0, 0), (0, lacking)), constant_values=np.nan)

    arrays = ("held", "regime", "direction_significant", "trend", "forecast", "volatility", "funding_rate")
    return replace(
        first,
        bars=pd.concat((first.bars, second.bars)),
        probabilities=np.concatenate((widened(first), widened(second))),
        **{name: both(name) for name in arrays},
        higher={timeframe: joined(other, second.higher[timeframe]) for timeframe, other in first.higher.items()},
        consensus=None if first.consensus is None else both("consensus"),
        equal_scales=both("equal_states"),
    )


def _last(plan: Plan) -> Plan:
    exits = Exits(**{name: getattr(plan.exits, name)[-1:] for name in Exits.__slots__})
    return replace(plan, side=plan.side[-1:], size=plan.size[-1:], exits=exits)
