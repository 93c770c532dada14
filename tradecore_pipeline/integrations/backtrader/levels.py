"""The prices at which a position is left, from the plan's row that opened it; they follow the closes of bars."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from tradecore_pipeline.backtest.orders import Rules
from tradecore_pipeline.strategies.contracts import Exits
from tradecore_pipeline.strategies.reasons import Reason

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Resting:
    """An order that rests with the broker and closes ``size`` coins; ``limit`` gives liquidity, else it is a stop."""

    limit: bool
    price: float
    size: float
    reason: Reason
    liquidation: float = math.nan
    bankrupt: float = math.nan


@dataclass(slots=True)
class Levels:
    """What an open position's exits hang on; prices, NaN where there is no such order."""

    side: int
    anchor: float
    """The price of the first fill, which distances are fractions of."""
    base: float
    """Coins held after the last order, which partial exits are fractions of."""
    ordered: float
    """The target last ordered, in multiples of equity."""
    until: float
    """The bar at whose open the longest holding ends."""
    best: float
    """The best price since the entry."""
    stop: float
    stop_reason: Reason
    profit: float
    partials: list[tuple[float, float]]
    """Prices and fractions of those that were not reached yet."""
    trail: float
    trail_activation: float
    breakeven: float
    breakeven_offset: float

    @classmethod
    def of(cls, exits: Exits, side: int, price: float, *, size: float, ordered: float, bar: int) -> Self:
        """Of a position that was opened at ``price`` at the open of ``bar``, decided by the one row of ``exits``."""

        def value(name: str) -> float:
            return float(getattr(exits, name)[0])

        activation = value("trail_activation")
        gains = exits.partial_distance[0].tolist()
        known = next((at for at, gain in enumerate(gains) if math.isnan(gain)), len(gains))
        parts = zip(gains[:known], exits.partial_fraction[0].tolist()[:known], strict=True)
        return cls(
            side=side,
            anchor=price,
            base=size,
            ordered=ordered,
            until=bar + value("max_holding_bars"),
            best=price,
            stop=price - side * value("stop") * price,
            stop_reason=Reason.STOP,
            profit=price + side * value("profit") * price,
            partials=[(price + side * gain * price, part) for gain, part in parts],
            trail=value("trail"),
            trail_activation=0.0 if math.isnan(activation) else activation,
            breakeven=value("breakeven"),
            breakeven_offset=value("breakeven_offset"),
        )

    def reached(self, price: float) -> None:
        """Partial exits up to ``price`` are done with, whether they came to a whole lot or not."""
        while self.partials and self.side * price >= self.side * self.partials[0][0]:
            self.partials.pop(0)

    def see(self, price: float) -> None:
        """A price that was traded since the entry."""
        self.best = self.side * max(self.side * self.best, self.side * price)

    def follow(self) -> None:
        """A bar has closed: the stop follows the best price, never away from the market's."""
        ahead = self.side * (self.best - self.anchor)
        if ahead >= self.breakeven * self.anchor:
            self._tighten(self.anchor + self.side * self.breakeven_offset * self.anchor, Reason.BREAKEVEN_STOP)
        if ahead >= self.trail_activation * self.anchor and not math.isnan(self.trail):
            self._tighten(self.best - self.side * self.trail * self.best, Reason.TRAILING_STOP)

    def resting(self, held: float, entry: float, rules: Rules) -> tuple[Resting, ...]:
        """Orders for ``held`` coins (short below zero) that cost ``entry`` each; those that count first stand first."""
        losses, gains = self._hurt(abs(held), entry, rules), self._gains(abs(held), rules)
        return tuple([*losses, *gains] if rules.stop_first else [*gains, *losses])

    def _tighten(self, price: float, reason: Reason) -> None:
        if math.isnan(self.stop) or self.side * price > self.side * self.stop:
            self.stop, self.stop_reason = price, reason

    def _hurt(self, size: float, entry: float, rules: Rules) -> list[Resting]:
        """Stop or liquidation, whichever is met first; none where both lie below every price."""
        bankrupt = entry * (1.0 - self.side / rules.leverage)
        liquidation = bankrupt / (1.0 - self.side * rules.maintenance_margin)
        nearest = float(self.side * np.fmax(self.side * self.stop, self.side * liquidation))
        if nearest <= 0.0:
            return []
        return [Resting(False, nearest, size, self.stop_reason, liquidation, bankrupt)]  # noqa: FBT003 (a stop)

    def _gains(self, size: float, rules: Rules) -> list[Resting]:
        """Partial exits nearer than the target, in order, and the target for what they leave."""
        found: list[Resting] = []
        for price, fraction in self.partials:
            if self.side * price >= self.side * self.profit:
                break
            part = whole_lots(fraction * self.base, rules.lot)
            if size - part <= _ROUNDING * self.base:
                part = size
            if part:
                found.append(Resting(True, price, part, Reason.PARTIAL_EXIT))  # noqa: FBT003 (a limit order)
                size -= part
            if not size:
                return found
        if not math.isnan(self.profit):
            found.append(Resting(True, self.profit, size, Reason.PROFIT_TARGET))  # noqa: FBT003 (as above)
        return found


def whole_lots(size: float, lot: float) -> float:
    """``size`` cut down to whole lots; a lot of 0 cuts nothing."""
    return math.floor(size / lot + _ROUNDING) * lot if lot > 0 else size
