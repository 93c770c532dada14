"""The engine's rules said slowly, in plain Python: what the compiled one is held to, and the place to read them."""

import math
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.engine import RUINED, Decide
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.state import V_BARS, V_ENTRY, V_EQUITY, V_REASON, V_RETURN, V_SINCE_EXIT, V_UNITS, VIEW
from tradecore_pipeline.backtest.twin_account import SlowAccount, SlowPosition
from tradecore_pipeline.strategies.reasons import Reason

_ROUNDING = 1e-9


class SlowBacktest(SlowAccount):
    """A run over one instrument; ``run`` fills ``equity``, ``fills`` and ``trades``."""

    def __init__(self, bars: BarArrays, orders: Orders, *, costs: Costs, rules: Rules, capital: float) -> None:
        super().__init__(bars, costs=costs, rules=rules, capital=capital)
        self.orders = orders
        self.equity: list[float] = []
        self.capped = self.small = 0
        self.ts_settle = bars.funding.ts_settle.tolist()
        self.settled = 0

    def run(self, decide: Decide | None, params: Any) -> None:
        """All bars, one after the other, as ``run_backtest`` does."""
        path = self.bars.path
        begins = self.bars.inner_first.tolist() or list(range(len(self.bars) + 1))
        for bar in range(len(self.bars)):
            first, end = begins[bar], begins[bar + 1]
            self._settle(first, after_open=False)
            closed = self._leave(bar, first)
            if bar > 0:
                self._follow_target(bar, first, closed)
            for j in range(first, end):
                opened = float(path.open[j])
                if j > first:
                    self._settle(j, after_open=False)
                    self._resting(bar, j, opened, opened, opened, at_open=True)
                if self.position is not None:
                    self._settle(j, after_open=True)
                    self._resting(bar, j, opened, float(path.high[j]), float(path.low[j]), at_open=False)
                if self.position is not None:
                    known = bar if j == end - 1 else bar - 1
                    self._close_path_bar(known, float(path.high[j]), float(path.low[j]))
            self.equity.append(self._worth(float(self.bars.close[bar])))
            if decide is not None:
                decide(bar, self.view(bar), params, self.orders.plan())
        if self.position is not None:
            trade, price = self.position.trade, float(self.bars.close[-1])
            trade.pnl += self.position.side * self.position.size * price
            trade.last_fill = len(self.fills) - 1
            self.trades.append(trade)

    def view(self, bar: int) -> np.ndarray:
        """What a decision function is shown at the close of ``bar``."""
        view, held = np.zeros(VIEW), self.position
        view[V_EQUITY] = self.equity[-1]
        if held is None:
            view[V_ENTRY] = np.nan
            view[V_REASON] = self.fills[-1].reason if self.fills else 0.0
            view[V_SINCE_EXIT] = bar - self.fills[-1].bar if self.fills else np.nan
            return view
        view[V_UNITS], view[V_ENTRY] = held.side * held.size, held.entry
        view[V_BARS], view[V_SINCE_EXIT] = bar + 1 - held.entry_bar, np.nan
        view[V_RETURN] = held.side * (float(self.bars.close[bar]) / held.entry - 1.0)
        return view

    # --- what happens by itself ---

    def _settle(self, j: int, *, after_open: bool) -> None:
        """Pays every settlement up to path bar j's open, or up to its close.

        One that falls between two bars is paid at the later one's open. Nothing held, nothing paid.
        """
        path = self.bars.path
        until = int(path.ts_close[j]) - 1 if after_open else int(path.ts_open[j])
        while self.settled < len(self.ts_settle) and self.ts_settle[self.settled] <= until:
            rate, mark = float(self.bars.funding.rate[self.settled]), float(self.bars.funding.mark[self.settled])
            price = float(path.open[j]) if math.isnan(mark) else mark
            if self.position is not None:
                payment = self.position.side * self.position.size * (rate * price)
                self.cash -= payment
                self.position.trade.funding += payment
                self.position.trade.pnl -= payment
            self.settled += 1

    def _resting(self, bar: int, j: int, opened: float, high: float, low: float, *, at_open: bool) -> None:
        """Orders in the book against a range of prices."""
        if not self.rules.stop_first:
            self._take_gains(bar, j, opened, high, low, at_open=at_open)
        self._take_losses(bar, j, opened, high, low, at_open=at_open)
        if self.rules.stop_first:
            self._take_gains(bar, j, opened, high, low, at_open=at_open)

    def _take_losses(self, bar: int, j: int, opened: float, high: float, low: float, *, at_open: bool) -> None:
        """Stop or liquidation, whichever is met first; a gap beyond fills at the open."""
        held = self.position
        if held is None:
            return
        side, liquidation = held.side, self._liquidation_price(held)
        worst = low if side > 0 else high
        levels = [liquidation] if held.stop is None else [liquidation, held.stop]
        nearest = max(levels) if side > 0 else min(levels)
        if not _reached(worst, nearest, side):
            return
        at_open = at_open or _reached(opened, nearest, side)
        bankrupt = self._bankruptcy_price(held)
        stop = held.stop
        if stop is None or _reached(stop, liquidation, side) or _reached(opened, liquidation, side):
            self._fill(bar, j, Reason.LIQUIDATION, -side * held.size, bankrupt, bankrupt, 0.0, at_open=at_open)
            return
        raw = min(stop, opened) if side > 0 else max(stop, opened)
        slipped = raw * (1.0 - side * self.costs.slippage)
        price = max(slipped, bankrupt) if side > 0 else min(slipped, bankrupt)
        self._fill(bar, j, held.stop_reason, -side * held.size, raw, price, self.costs.taker, at_open=at_open)

    def _take_gains(self, bar: int, j: int, opened: float, high: float, low: float, *, at_open: bool) -> None:
        """Partial exits in order, then the profit target: limit orders, filled at the open where it gapped beyond."""
        while (held := self.position) is not None:
            side = held.side
            best = high if side > 0 else low
            partial = held.partials[0] if held.partials else None
            if partial is not None and (held.profit is None or side * partial[0] < side * held.profit):
                level, reason = partial[0], Reason.PARTIAL_EXIT
            elif held.profit is not None:
                level, reason = held.profit, Reason.PROFIT_TARGET
            else:
                return
            if side * best < side * level:
                return
            size = held.size
            if reason is Reason.PARTIAL_EXIT and partial is not None:
                held.partials.pop(0)
                part = _whole_lots(partial[1] * held.base, self.rules.lot)
                if size - part > _ROUNDING * held.base:
                    size = part
                if size == 0.0:
                    continue
            price = max(level, opened) if side > 0 else min(level, opened)
            gapped = at_open or side * opened >= side * level
            self._fill(bar, j, reason, -side * size, price, price, self.costs.maker, at_open=gapped)

    def _close_path_bar(self, known: int, high: float, low: float) -> None:
        """A path bar has closed: only now do stops follow it; ``known`` is the last row decided by then."""
        held = self.position
        if held is None:
            return
        trade, side = held.trade, held.side
        trade.highest, trade.lowest = max(trade.highest, high), min(trade.lowest, low)
        best = trade.highest if side > 0 else trade.lowest
        ahead = side * best - side * trade.anchor
        unit = trade.anchor if self.rules.distance is Distance.FRACTION else 1.0
        if ahead >= held.breakeven * unit:
            self._tighten(held, trade.anchor + side * held.breakeven_offset * unit, Reason.BREAKEVEN_STOP)
        trail = _at(self.orders.trail, known) if self.rules.trail_by_bar else held.trail
        if ahead >= held.trail_after * unit and not math.isnan(trail):
            scale = best if self.rules.distance is Distance.FRACTION else 1.0
            self._tighten(held, best - side * (trail * scale), Reason.TRAILING_STOP)

    @staticmethod
    def _tighten(held: SlowPosition, level: float, reason: Reason) -> None:
        if held.stop is None or held.side * level > held.side * held.stop:
            held.stop, held.stop_reason = level, reason

    # --- what was decided at the close before ---

    def _leave(self, bar: int, j: int) -> int:
        """Closes at the open what is to be closed; the side that was."""
        held = self.position
        if held is None:
            return 0
        side, opened = held.side, float(self.bars.path.open[j])
        self._resting(bar, j, opened, opened, opened, at_open=True)
        if self.position is None:
            return side
        row = bar - 1
        target, flag = _at(self.orders.target, row), self._exit_flag(side, row)
        if flag:
            reason = Reason(flag)
        elif target * side <= 0:
            reason = Reason.TARGET_POSITION
        elif bar - held.entry_bar >= held.max_bars:
            reason = Reason.MAX_HOLDING
        else:
            return 0
        self._market(bar, j, reason, -side * held.size)
        return side

    def _follow_target(self, bar: int, j: int, closed: int) -> None:
        """Opens, or resizes what is held on the target's side."""
        row, price, held = bar - 1, float(self.bars.open[bar]), self.position
        target = _at(self.orders.target, row)
        worth = self._worth(price)
        if math.isnan(target) or target == 0.0 or worth <= self.capital * RUINED:
            return
        side = 1 if target > 0 else -1
        if held is None and (side == closed or self._exit_flag(side, row)):
            return
        if held is not None and abs(target - held.ordered) <= self.rules.resize_step:
            return
        size = abs(target if self.rules.sizing is Sizing.UNITS else target * worth / price)
        before = 0.0 if held is None else held.size
        if size == before:
            return
        size, capped = self._affordable(size, price, worth)
        size = _whole_lots(size, self.rules.lot)
        change = side * size - side * before
        too_small = size == 0.0 or change == 0.0 or abs(change) * price < self.rules.minimum_notional
        self.capped += capped
        self.small += too_small and not capped
        if too_small:
            return
        self._market(bar, j, Reason.ENTRY if held is None else Reason.RESIZE, change)
        position = self.position
        if position is None:
            return
        position.ordered, position.base = target, size
        if held is None:
            self._protect(position, row)

    def _protect(self, position: SlowPosition, row: int) -> None:
        """Puts the new position's orders into the book."""
        orders, side, anchor = self.orders, position.side, position.trade.anchor
        unit = anchor if self.rules.distance is Distance.FRACTION else 1.0
        stop, profit = _at(orders.stop, row), _at(orders.profit, row)
        position.stop = None if math.isnan(stop) else anchor - side * (stop * unit)
        position.profit = None if math.isnan(profit) else anchor + side * (profit * unit)
        position.trail = _at(orders.trail, row)
        after = _at(orders.trail_activation, row)
        position.trail_after = 0.0 if math.isnan(after) else after
        position.breakeven = _at(orders.breakeven, row)
        position.breakeven_offset = _at(orders.breakeven_offset, row)
        position.max_bars = _at(orders.max_holding_bars, row)
        distances = orders.partial_distance[min(row, len(orders.partial_distance) - 1)].tolist()
        fractions = orders.partial_fraction[min(row, len(orders.partial_fraction) - 1)].tolist()
        for distance, fraction in zip(distances, fractions, strict=True):
            if math.isnan(distance):
                break
            position.partials.append((anchor + side * (distance * unit), fraction))

    def _exit_flag(self, side: int, row: int) -> int:
        return int(_at(self.orders.exit_long if side > 0 else self.orders.exit_short, row))


def _reached(price: float, level: float, side: int) -> bool:
    """Whether ``price`` has fallen to ``level`` for a long position, risen to it for a short one."""
    return side * price <= side * level


def _whole_lots(size: float, lot: float) -> float:
    return math.floor(size / lot + _ROUNDING) * lot if lot > 0 else size


def _at(column: np.ndarray, row: int) -> float:
    return float(column[row if len(column) > 1 else 0])
