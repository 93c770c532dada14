"""The loop over one instrument's bars, compiled and cached on disk."""

import math
from typing import Any

import numba as nb
import numpy as np

from tradecore_pipeline.backtest.borrowing import borrowed, fetched
from tradecore_pipeline.backtest.opening import adjust, at, carried, leave, protect, wanted
from tradecore_pipeline.backtest.position import close_trade, closed, refresh, resting, rule, settle
from tradecore_pipeline.backtest.state import (
    BOTTOM,
    CASH,
    ENTRY,
    FILLS,
    LAST_BAR,
    LAST_REASON,
    LEVERAGE,
    LOWER,
    NEXT,
    ORDERED,
    REREAD,
    SINCE,
    TOP,
    TRADES,
    TRAIL,
    UNITS,
    UNTIL,
    UPPER,
    V_BARS,
    V_ENTRY,
    V_EQUITY,
    V_REASON,
    V_RETURN,
    V_SINCE_EXIT,
    V_UNITS,
    WATCHED,
    Floats,
    Integers,
    Market,
    Payments,
    Plan,
)  # fmt: skip

BLOCK = 64
"""Bars that are looked at together: where nothing happens in them, the processor does several at once."""
_LINE = 8
"""Prices that come from memory together."""


# Rows are sliced before the loops over them: an index that is a sum may be negative for all the compiler knows, and
# then it takes rows one at a time.


@rule
def _first_order(target: Floats, ordered: float) -> int:
    """The first of a block of targets that is another one than was ordered before; NaN is none."""
    first = BLOCK
    for row in range(BLOCK):
        event = (target[row] < ordered) | (target[row] > ordered)
        first = min(first, row if event else BLOCK)
    return first


@rule
def _first_event(target: Floats, ordered: float, high: Floats, low: Floats, upper: float, lower: float) -> int:
    """As above, or the first of a block of bars that reaches a level."""
    first = BLOCK
    for row in range(BLOCK):
        event = (target[row] < ordered) | (target[row] > ordered) | (high[row] >= upper) | (low[row] <= lower)
        first = min(first, row if event else BLOCK)
    return first


# Prices are positive, and the bits of positive floats, read as integers, are in their order. The compiler takes several
# integers at once where it would take floats one by one.


@rule
def _highest(bits: Integers, most: float) -> float:
    """Of some prices and ``most``."""
    best = np.float64(most).view(np.int64)
    for row in range(bits.shape[0]):
        best = max(best, bits[row])
    return np.int64(best).view(np.float64)


@rule
def _lowest(bits: Integers, least: float) -> float:
    """As above."""
    best = np.float64(least).view(np.int64)
    for row in range(bits.shape[0]):
        best = min(best, bits[row])
    return np.int64(best).view(np.float64)


@rule
def _is_none(column: Floats) -> bool:
    """Whether a column says for all bars that there is nothing of the kind: no position needs it read again."""
    return column.shape[0] == 1 and math.isnan(column[0])


@rule
def _mark(equity: Floats, close: Floats, units: float, cash: float) -> None:
    """Equity of a position to which nothing happens, over a block; rows in which something does are written again."""
    for row in range(BLOCK):
        equity[row] = cash + units * close[row]


def simulate_by(sources: str) -> Any:  # noqa: C901, PLR0915 (it holds the loop)
    """The compiled loop; ``sources``, a digest of the rules' files, is part of its key in numba's cache on disk.

    Without it numba would look at this file only, and go on with rules that have changed since.
    """

    @nb.njit(cache=True, nogil=True, error_model="numpy")
    def simulate(  # noqa: C901, PLR0912, PLR0915, PLR0917 (one loop: its state stays in registers)
        given: Market, payments: Payments, orders: Plan, state: Floats, written: Floats, marked: Floats, decide: Any,
        view: Floats, params: Any,
    ) -> None:  # fmt: skip
        """Equity at each close into ``marked``; fills and trades into ``written`` as far as it reaches.

        ``state`` counts them.
        """
        _ = sources
        bars = Market(
            borrowed(given.open), borrowed(given.high), borrowed(given.low), borrowed(given.close),
            borrowed(given.first), borrowed(given.sub_open), borrowed(given.sub_high), borrowed(given.sub_low),
        )  # fmt: skip
        plan = Plan(
            borrowed(orders.target), borrowed(orders.stop), borrowed(orders.profit), borrowed(orders.trail),
            borrowed(orders.trail_after), borrowed(orders.breakeven), borrowed(orders.offset),
            borrowed(orders.partial_at), borrowed(orders.partial_share), borrowed(orders.holding),
            borrowed(orders.exit_long), borrowed(orders.exit_short),
        )  # fmt: skip
        s, book, when, paid = borrowed(state), borrowed(written), borrowed(payments.when), borrowed(payments.paid)
        equity = borrowed(marked)
        highs, lows = borrowed(given.high.view(np.int64)), borrowed(given.low.view(np.int64))
        finer, rows = bars.first.shape[0] > 0, bars.open.shape[0]
        quits = plan.exit_long.shape[0] > 1 or plan.exit_short.shape[0] > 1
        constant, by_bar = plan.target.shape[0] == 1, s[REREAD] != 0.0
        whole = not constant and decide is None
        bare = _is_none(plan.stop) and _is_none(plan.profit) and _is_none(plan.trail) and _is_none(plan.breakeven)
        bare = bare and _is_none(plan.holding) and plan.partial_at.shape[1] == 0
        units, cash, lower, upper = 0.0, s[CASH], -np.inf, np.inf
        top, bottom, ordered, until, watched, following = 0.0, 0.0, 0.0, np.inf, False, when[0]
        i, looked, asked = 0, 1, 0
        while i < rows:
            ahead = i + BLOCK
            if looked <= i and ahead <= rows and whole and not (units != 0.0 and (quits or by_bar)):
                while asked < ahead + BLOCK:  # an open is read where there is an order: memory cannot see that coming
                    fetched(bars.open, asked)
                    asked += _LINE
                targets = plan.target[i - 1 : ahead - 1]
                if units == 0.0:
                    calm = _first_order(targets, ordered)
                else:
                    last = bars.first[ahead] if finer else ahead
                    above = min(upper, top) if watched and units > 0.0 else upper
                    below = max(lower, bottom) if watched and units < 0.0 else lower
                    calm = _first_event(targets, ordered, bars.high[i:ahead], bars.low[i:ahead], above, below)
                    if following < 2 * last or ahead > until or (watched and finer):
                        calm = 0
                if calm > 0:
                    if units != 0.0:
                        top, bottom = _highest(highs[i : i + calm], top), _lowest(lows[i : i + calm], bottom)
                    _mark(equity[i:ahead], bars.close[i:ahead], units, cash)
                    i += calm
                if calm == BLOCK:
                    continue
                looked = ahead
            row = i - 1
            target = np.nan if i == 0 else plan.target[0 if constant else row]
            high, low, busy = bars.high[i], bars.low[i], not math.isnan(target) and target != ordered
            if units != 0.0:
                end = bars.first[i + 1] if finer else i + 1
                busy = busy or low <= lower or high >= upper or following < 2 * end or i >= until
                busy = busy or (watched and finer)
                if quits and not busy:
                    busy = (at(plan.exit_long, row) if units > 0.0 else at(plan.exit_short, row)) != 0
            if busy:
                s[CASH], s[TOP], s[BOTTOM] = cash, top, bottom
                sub = bars.first[i] if finer else i
                opened, side = bars.open[i], 0.0
                if following <= 2 * sub:
                    settle(s, when, paid, 2 * sub)
                if units != 0.0:
                    exit_ = at(plan.exit_long, row) if units > 0.0 else at(plan.exit_short, row)
                    side = leave(s, book, i, sub, opened, bars.sub_open[sub], target, exit_)
                if not math.isnan(target) and target != 0.0:
                    exit_ = at(plan.exit_long, row) if target > 0.0 else at(plan.exit_short, row)
                    worth = s[CASH] + s[UNITS] * opened
                    size = wanted(s, opened, worth, target, exit_, side)
                    if size != s[UNITS]:
                        needed = (abs(size) - abs(s[UNITS])) * carried(s, opened)
                        free = worth - min(abs(size), abs(s[UNITS])) * s[ENTRY] / s[LEVERAGE]
                        share = 1.0 if needed <= free else max(free, 0.0) / needed
                        if adjust(s, book, i, sub, opened, target, size, share):
                            if bare and s[TRADES] > 0.0:
                                refresh(s)
                            else:
                                protect(s, plan, row, i)
                end = bars.first[i + 1] if finer else i + 1
                for j in range(sub, end):
                    if s[UNITS] != 0.0 and j > sub:
                        settle(s, when, paid, 2 * j)
                        resting(s, book, i, j, 1.0, bars.sub_open[j], bars.sub_open[j], bars.sub_open[j])
                    if s[UNITS] != 0.0:
                        if when[int(s[NEXT])] <= 2 * j + 1:
                            settle(s, when, paid, 2 * j + 1)
                        resting(s, book, i, j, 0.0, bars.sub_open[j], bars.sub_high[j], bars.sub_low[j])
                    if s[UNITS] != 0.0:
                        trail = at(plan.trail, i if j == end - 1 else row) if by_bar else s[TRAIL]
                        closed(s, bars.sub_high[j], bars.sub_low[j], trail)
                units, cash, lower, upper = s[UNITS], s[CASH], s[LOWER], s[UPPER]
                ordered = s[ORDERED] if units != 0.0 else 0.0
                top, bottom, until, watched = s[TOP], s[BOTTOM], s[UNTIL], s[WATCHED] != 0.0
                following, looked = when[int(s[NEXT])], 0
            elif units != 0.0:
                if watched and (by_bar or (high > top if units > 0.0 else low < bottom)):
                    s[TOP], s[BOTTOM] = top, bottom
                    closed(s, high, low, at(plan.trail, i) if by_bar else s[TRAIL])
                    lower, upper = s[LOWER], s[UPPER]
                top, bottom = max(top, high), min(bottom, low)
            equity[i] = cash + units * bars.close[i]
            if decide is not None:
                view[V_UNITS], view[V_EQUITY] = units, equity[i]
                held, side = units != 0.0, 1.0 if units > 0.0 else -1.0
                view[V_ENTRY] = s[ENTRY] if held else np.nan
                view[V_BARS] = i + 1 - s[SINCE] if held else 0.0
                view[V_RETURN] = side * (bars.close[i] / s[ENTRY] - 1.0) if held else 0.0
                view[V_REASON] = 0.0 if held else s[LAST_REASON]
                view[V_SINCE_EXIT] = i - s[LAST_BAR] if not held and s[FILLS] > 0.0 else np.nan
                decide(i, view, params, plan)
            i += 1
        s[CASH], s[TOP], s[BOTTOM] = cash, top, bottom
        if units != 0.0:
            close_trade(s, book, 0, units * bars.close[rows - 1])

    return simulate
