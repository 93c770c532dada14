"""What the parts of a strategy say to each other: an entry gives signals, an exit limits, and a plan is both, sized."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tradecore_pipeline.strategies.market import Floats, Market
from tradecore_pipeline.strategies.schema import StrategyConfig

Sides = npt.NDArray[np.int8]
"""1 long, -1 short, 0 neither."""
Reasons = npt.NDArray[np.int8]
"""A ``Reason`` by bar, 0 for none."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What an entry wishes at each bar, N rows, known at its ts_close."""

    side: Sides
    strength: Floats
    """From 0 (hardly) to 1 (certain): sizes grow with it where ``use_confidence`` is set."""
    size: Floats | None = None
    """Multiples of equity where the entry sizes itself; None: the config's sizing does."""
    rebalance: bool = False
    """Whether the position follows side times size while it is open, instead of being opened once."""


@dataclass(frozen=True, slots=True)
class Exits:
    """What an exit says to a position opened on each bar's decision, and to those that are open; N rows.

    Distances are fractions of the entry's fill price, NaN for none, and are those of the bar that decided the entry.
    """

    stop: Floats
    profit: Floats
    """Distance of the profit target."""
    trail: Floats
    """How far the stop trails behind the best price of closed bars since the entry."""
    trail_activation: Floats
    """Gain from which it trails; 0 at once."""
    breakeven: Floats
    """Gain from which the stop is no worse than the entry and ``breakeven_offset``."""
    breakeven_offset: Floats
    max_holding_bars: Floats
    """Bars after which it is closed at the next open; NaN for never."""
    exit_long: Reasons
    """Why a long position that is open when this bar closes is closed at the next open; 0 keeps it."""
    exit_short: Reasons
    partial_distance: Floats
    """Gains (N, L) at which a part is taken off, NaN for none."""
    partial_fraction: Floats
    """Parts (N, L) of the first size that are taken off there."""

    @classmethod
    def none(cls, bars: int) -> "Exits":
        """No exit at all, to be replaced in parts (``dataclasses.replace``)."""
        nowhere, never = np.full(bars, np.nan), np.zeros(bars, dtype=np.int8)
        return cls(
            stop=nowhere,
            profit=nowhere,
            trail=nowhere,
            trail_activation=np.zeros(bars),
            breakeven=nowhere,
            breakeven_offset=np.zeros(bars),
            max_holding_bars=nowhere,
            exit_long=never,
            exit_short=never,
            partial_distance=np.empty((bars, 0)),
            partial_fraction=np.empty((bars, 0)),
        )


class Entry(Protocol):
    """When to open a position, and which."""

    @property
    def warm_up_bars(self) -> int:
        """Bars before the first whose signal is that of a full history, to 1e-9."""
        ...

    def signals(self, market: Market, config: StrategyConfig) -> Signals:
        """Signals of every bar, each from rows up to it alone."""
        ...


class Exit(Protocol):
    """When to close one."""

    @property
    def warm_up_bars(self) -> int:
        """As an entry's."""
        ...

    def exits(self, market: Market, config: StrategyConfig, side: Sides) -> Exits:
        """Limits for positions of the ``side`` each bar's decision opens, each from rows up to that bar alone."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A strategy's decisions over N bars, each known at its bar's ts_close and filled at the next bar's open."""

    side: Sides
    size: Floats
    """Multiples of equity, at least 0; with ``rebalance`` the size to be held."""
    rebalance: bool
    exits: Exits
