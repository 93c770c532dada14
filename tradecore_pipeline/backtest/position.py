"""What happens to a position inside a bar: fills, funding, stops, limits, and levels that follow; compiled.

These are parts of the kernels in ``single`` and ``together``, which are what is cached on disk. They are handed few
arrays: each one costs a count of references, which is more than most of them do.
"""

import math
from typing import Any

import numba as nb
import numpy as np

from tradecore_pipeline.backtest.state import (
    ANCHOR,
    BASE,
    BOTTOM,
    BREAKEVEN,
    CASH,
    ENTRY,
    F_BAR,
    F_CASH,
    F_FEE,
    F_HELD,
    F_OPEN,
    F_PRICE,
    F_REASON,
    F_SLIPPAGE,
    F_SUB,
    F_UNITS,
    FILLS,
    FIRST,
    FLOW,
    FUNDING,
    ISOLATED,
    KIND,
    LAST_BAR,
    LAST_REASON,
    LEVELS,
    LEVERAGE,
    LIQUIDATION,
    LOT,
    LOWER,
    MAINTENANCE,
    MAKER,
    NEXT,
    OFFSET,
    PARTIAL,
    PARTS,
    PROFIT,
    RELATIVE,
    SHARES,
    SINCE,
    SLIPPAGE,
    STOP,
    STOP_FIRST,
    T_ANCHOR,
    T_BOTTOM,
    T_FIRST,
    T_FUNDING,
    T_LAST,
    T_PNL,
    T_REASON,
    T_TOP,
    TAKER,
    TOP,
    TRADES,
    TRAIL_AFTER,
    UNITS,
    UPPER,
    WATCHED,
    Floats,
    Integers,
)  # fmt: skip
from tradecore_pipeline.strategies.reasons import Reason

_PROFIT, _PARTIAL, _LIQUIDATION = int(Reason.PROFIT_TARGET), int(Reason.PARTIAL_EXIT), int(Reason.LIQUIDATION)
_TRAILING, _BREAKEVEN = int(Reason.TRAILING_STOP), int(Reason.BREAKEVEN_STOP)
_ROUNDING = 1e-9

rule: Any = nb.njit(nogil=True, error_model="numpy", forceinline=True)
"""Compiles a part of a kernel."""


@rule
def whole_lots(size: float, lot: float) -> float:
    """``size`` cut down to whole lots; a lot of 0 cuts nothing."""
    return math.floor(size / lot + _ROUNDING) * lot if lot > 0.0 else size


@rule
def refresh(s: Floats) -> None:
    """The prices at which something happens next, from the levels."""
    units = s[UNITS]
    if units == 0.0:
        s[LOWER], s[UPPER] = -np.inf, np.inf
        return
    side = 1.0 if units > 0.0 else -1.0
    maintained = 1.0 - side * s[MAINTENANCE]
    if s[ISOLATED] != 0.0:
        s[LIQUIDATION] = side * (s[ENTRY] * (1.0 - side / s[LEVERAGE]) / maintained)
    else:
        s[LIQUIDATION] = side * (-s[CASH] / (units * maintained))
    hurt = max(s[STOP], s[LIQUIDATION])
    gain = min(s[PROFIT], _partial_level(s, side))
    s[LOWER], s[UPPER] = (hurt, gain) if side > 0.0 else (-gain, -hurt)


@rule
def _partial_level(s: Floats, side: float) -> float:
    number = int(s[PARTIAL])
    if number >= PARTS or math.isnan(s[LEVELS + number]):
        return np.inf
    return side * s[ANCHOR] + s[LEVELS + number] * (s[ANCHOR] if s[RELATIVE] != 0.0 else 1.0)


@rule
def _bankrupt(s: Floats) -> float:
    """The price at which the margin (isolated) or everything is gone."""
    if s[ISOLATED] != 0.0:
        return s[ENTRY] * (1.0 - (1.0 if s[UNITS] > 0.0 else -1.0) / s[LEVERAGE])
    return -s[CASH] / s[UNITS]


@rule
def fill(  # noqa: PLR0913, PLR0917 (compiled: by place)
    s: Floats, book: Floats, bar: int, sub: int, opening: float, reason: int, units: float, raw: float, price: float,
    rate: float,
) -> None:  # fmt: skip
    """Buys ``units`` (sells, below zero) at ``price``, which is ``raw`` but for slippage, and writes it down."""
    fee = abs(units) * price * rate
    before, number = s[UNITS], int(s[FILLS])
    if before == 0.0:
        s[ENTRY] = s[ANCHOR] = s[TOP] = s[BOTTOM] = price
        s[FIRST], s[FLOW], s[FUNDING], s[SINCE] = s[FILLS], 0.0, 0.0, bar
    elif before * units > 0.0:
        s[ENTRY] = (s[ENTRY] * abs(before) + price * abs(units)) / (abs(before) + abs(units))
    flow = -units * price - fee
    s[UNITS] = before + units
    s[CASH] += flow
    s[FLOW] += flow
    s[TOP], s[BOTTOM] = max(s[TOP], price), min(s[BOTTOM], price)
    if number < book.shape[0]:
        book[number, F_BAR], book[number, F_SUB], book[number, F_OPEN] = bar, sub, opening
        book[number, F_REASON], book[number, F_UNITS], book[number, F_PRICE] = reason, units, price
        book[number, F_FEE], book[number, F_SLIPPAGE] = fee, abs(units) * abs(price - raw)
        book[number, F_HELD], book[number, F_CASH] = s[UNITS], s[CASH]
    s[FILLS] += 1.0
    s[LAST_REASON], s[LAST_BAR] = reason, bar
    if s[UNITS] == 0.0:
        close_trade(s, book, reason, 0.0)


@rule
def close_trade(s: Floats, book: Floats, reason: int, worth: float) -> None:
    """Writes the trade down; ``worth`` is what is still held, at the last close."""
    number = int(s[TRADES])
    if number < book.shape[0]:
        book[number, T_FIRST], book[number, T_LAST], book[number, T_ANCHOR] = s[FIRST], s[FILLS] - 1.0, s[ANCHOR]
        book[number, T_TOP], book[number, T_BOTTOM], book[number, T_FUNDING] = s[TOP], s[BOTTOM], s[FUNDING]
        book[number, T_PNL], book[number, T_REASON] = s[FLOW] + worth, reason
    s[TRADES] += 1.0


@rule
def market(s: Floats, book: Floats, bar: int, sub: int, reason: int, units: float, raw: float) -> None:
    """A market order at a bar's open."""
    price = raw * (1.0 + s[SLIPPAGE]) if units > 0.0 else raw * (1.0 - s[SLIPPAGE])
    fill(s, book, bar, sub, 1.0, reason, units, raw, price, s[TAKER])


@rule
def settle(s: Floats, when: Integers, paid: Floats, until: int) -> None:
    """Pays what is settled up to ``until``, on what is held now."""
    number = int(s[NEXT])
    while when[number] <= until:
        payment = s[UNITS] * paid[number]
        s[CASH] -= payment
        s[FLOW] -= payment
        s[FUNDING] += payment
        number += 1
    s[NEXT] = number
    if s[ISOLATED] == 0.0:
        refresh(s)


@rule
def _hurt(s: Floats, book: Floats, bar: int, sub: int, opening: float, opened: float) -> None:
    """The stop or the liquidation of all that is held."""
    units = s[UNITS]
    side = 1.0 if units > 0.0 else -1.0
    bankrupt = _bankrupt(s)
    at_open = 1.0 if side * opened <= max(s[STOP], s[LIQUIDATION]) else opening
    if s[LIQUIDATION] >= s[STOP] or side * opened <= s[LIQUIDATION]:
        fill(s, book, bar, sub, at_open, _LIQUIDATION, -units, bankrupt, bankrupt, 0.0)
        return
    raw = side * min(s[STOP], side * opened)
    price = side * max(side * (raw * (1.0 - side * s[SLIPPAGE])), side * bankrupt)
    fill(s, book, bar, sub, at_open, int(s[KIND]), -units, raw, price, s[TAKER])


@rule
def _gain(s: Floats, book: Floats, bar: int, sub: int, opening: float, opened: float, best: float) -> None:
    """Partial exits and the profit target, as limit orders; ``best`` is the bar's best price times side."""
    while s[UNITS] != 0.0:
        units = s[UNITS]
        side = 1.0 if units > 0.0 else -1.0
        level = _partial_level(s, side)
        partly = level < s[PROFIT]
        level = min(level, s[PROFIT])
        if best < level or level == np.inf:
            return
        size, reason = abs(units), _PROFIT
        if partly:
            part = whole_lots(s[SHARES + int(s[PARTIAL])] * s[BASE], s[LOT])
            s[PARTIAL] += 1.0
            reason = _PARTIAL
            if size - part > _ROUNDING * s[BASE]:
                size = part
            if size == 0.0:
                continue
        price = side * max(level, side * opened)
        at_open = 1.0 if side * opened >= level else opening
        fill(s, book, bar, sub, at_open, reason, -side * size, price, price, s[MAKER])


@rule
def resting(  # noqa: PLR0917 (compiled: by place)
    s: Floats, book: Floats, bar: int, sub: int, opening: float, opened: float, high: float, low: float
) -> None:
    """What waits in the book, against one bar's range (its open alone, for a gap)."""
    if low > s[LOWER] and high < s[UPPER]:
        return
    worst, best = (low, high) if s[UNITS] > 0.0 else (-high, -low)
    if s[STOP_FIRST] == 0.0:
        _gain(s, book, bar, sub, opening, opened, best)
    if s[UNITS] != 0.0 and worst <= max(s[STOP], s[LIQUIDATION]):
        _hurt(s, book, bar, sub, opening, opened)
    if s[UNITS] != 0.0 and s[STOP_FIRST] != 0.0:
        _gain(s, book, bar, sub, opening, opened, best)
    refresh(s)


@rule
def closed(s: Floats, high: float, low: float, trail: float) -> None:
    """A bar has closed: extremes, and stops that follow them."""
    s[TOP], s[BOTTOM] = max(s[TOP], high), min(s[BOTTOM], low)
    if s[WATCHED] == 0.0:
        return
    side = 1.0 if s[UNITS] > 0.0 else -1.0
    best, anchor, relative = (s[TOP] if side > 0.0 else -s[BOTTOM]), side * s[ANCHOR], s[RELATIVE] != 0.0
    unit, before = s[ANCHOR] if relative else 1.0, s[STOP]
    if best - anchor >= s[BREAKEVEN] * unit:
        level = anchor + s[OFFSET] * unit
        if level > s[STOP]:
            s[STOP], s[KIND] = level, _BREAKEVEN
    if best - anchor >= s[TRAIL_AFTER] * unit:
        level = best - trail * (abs(best) if relative else 1.0)
        if level > s[STOP]:
            s[STOP], s[KIND] = level, _TRAILING
    if s[STOP] > before:
        refresh(s)
