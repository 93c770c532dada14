"""The account of the slow twin: what it holds, what fills do to it, and what they may cost."""

import math
from dataclasses import dataclass, field

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.orders import Costs, Rules
from tradecore_pipeline.strategies.reasons import Reason


@dataclass(slots=True)
class SlowFill:
    """One fill; ``slippage`` is what it cost, quote currency."""

    bar: int
    path_bar: int
    at_open: bool
    reason: Reason
    units: float
    price: float
    fee: float
    slippage: float
    held: float
    cash: float


@dataclass(slots=True)
class SlowTrade:
    """What a trade came to; highest and lowest price seen while it was held."""

    first_fill: int
    anchor: float
    highest: float
    lowest: float
    funding: float = 0.0
    pnl: float = 0.0
    reason: Reason = Reason.STILL_OPEN
    last_fill: int = -1


@dataclass(slots=True)
class SlowPosition:
    """What is held, and its orders in the book; a price of None means that there is no such order."""

    side: int
    size: float
    entry: float
    entry_bar: int
    base: float
    ordered: float
    trade: SlowTrade
    stop: float | None = None
    stop_reason: Reason = Reason.STOP
    profit: float | None = None
    partials: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    trail: float = math.nan
    trail_after: float = 0.0
    breakeven: float = math.nan
    breakeven_offset: float = 0.0
    max_bars: float = math.nan


class SlowAccount:
    """Cash, one position at most, and what was done."""

    def __init__(self, bars: BarArrays, *, costs: Costs, rules: Rules, capital: float) -> None:
        self.bars, self.costs, self.rules, self.capital = bars, costs, rules, capital
        self.cash = capital
        self.position: SlowPosition | None = None
        self.fills: list[SlowFill] = []
        self.trades: list[SlowTrade] = []

    def _affordable(self, size: float, price: float, worth: float) -> tuple[float, bool]:
        """The size that free equity carries: initial margin and fee of what is added; and whether it is less."""
        held, rules, costs = self.position, self.rules, self.costs
        before, entry = (0.0, 0.0) if held is None else (held.size, held.entry)
        free = worth - min(size, before) * entry / rules.leverage
        needed = (size - before) * (price * (1.0 + costs.slippage) * (1.0 / rules.leverage + costs.taker))
        if size <= before or needed <= free:
            return size, False
        return before + (size - before) * (max(free, 0.0) / needed), True

    def _market(self, bar: int, j: int, reason: Reason, units: float) -> None:
        raw = float(self.bars.open[bar])
        price = raw * (1.0 + self.costs.slippage) if units > 0 else raw * (1.0 - self.costs.slippage)
        self._fill(bar, j, reason, units, raw, price, self.costs.taker, at_open=True)

    def _fill(
        self, bar: int, j: int, reason: Reason, units: float, raw: float, price: float, rate: float, *, at_open: bool
    ) -> None:
        """Cash pays for what is bought, and the fee; a position that comes to nothing is a finished trade."""
        size, fee, held = abs(units), abs(units) * price * rate, self.position
        if held is None:
            trade = SlowTrade(first_fill=len(self.fills), anchor=price, highest=price, lowest=price)
            held = SlowPosition(1 if units > 0 else -1, size, price, bar, size, math.nan, trade)
            self.position = held
        elif units * held.side > 0:
            held.entry = (held.entry * held.size + price * size) / (held.size + size)
            held.size += size
        else:
            held.size -= size
        flow = -units * price - fee
        self.cash += flow
        trade = held.trade
        trade.pnl += flow
        trade.highest, trade.lowest = max(trade.highest, price), min(trade.lowest, price)
        slippage = size * abs(price - raw)
        self.fills.append(
            SlowFill(bar, j, at_open, reason, units, price, fee, slippage, held.side * held.size, self.cash)
        )
        if held.size == 0.0:
            trade.reason, trade.last_fill = reason, len(self.fills) - 1
            self.trades.append(trade)
            self.position = None

    def _worth(self, price: float) -> float:
        return self.cash + (0.0 if self.position is None else self.position.side * self.position.size * price)

    def _liquidation_price(self, held: SlowPosition) -> float:
        """Where what stands behind the position has fallen to the maintenance margin."""
        maintained = 1.0 - held.side * self.rules.maintenance_margin
        if self.rules.isolated:
            return held.entry * (1.0 - held.side / self.rules.leverage) / maintained
        return -self.cash / (held.side * held.size * maintained)

    def _bankruptcy_price(self, held: SlowPosition) -> float:
        """Where all that stands behind the position is lost."""
        if self.rules.isolated:
            return held.entry * (1.0 - held.side / self.rules.leverage)
        return -self.cash / (held.side * held.size)
