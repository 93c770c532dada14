"""What happens to a position at a bar's open, by the decisions of the bar before; compiled parts of the kernels."""

import math
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.position import market, refresh, resting, rule, whole_lots
from tradecore_pipeline.backtest.state import (
    ANCHOR,
    BASE,
    BREAKEVEN,
    BY_UNITS,
    CAPPED,
    KIND,
    LEVELS,
    LEVERAGE,
    LOT,
    MINIMUM,
    OFFSET,
    ORDERED,
    PARTIAL,
    PARTS,
    PROFIT,
    RELATIVE,
    REREAD,
    RUIN,
    SHARES,
    SLIPPAGE,
    SMALL,
    STEP,
    STOP,
    TAKER,
    TRAIL,
    TRAIL_AFTER,
    UNITS,
    UNTIL,
    WATCHED,
    Floats,
    Plan,
)  # fmt: skip
from tradecore_pipeline.strategies.reasons import Reason

_ENTRY, _RESIZE, _STOP = int(Reason.ENTRY), int(Reason.RESIZE), int(Reason.STOP)
_TARGET, _HOLDING = int(Reason.TARGET_POSITION), int(Reason.MAX_HOLDING)


@rule
def at(column: Any, row: int) -> float:
    """A decision's value; a column of one row is a constant."""
    return column[row if column.shape[0] > 1 else 0]


@rule
def leave(  # noqa: PLR0917 (compiled: by place)
    s: Floats, book: Floats, bar: int, sub: int, opened: float, first: float, target: float, exit_: int
) -> float:
    """What closes a position at the open: resting orders, then rules; the side that was closed here, else 0.

    Of several reasons the first counts: a resting order, the strategy's exit, a target of none or of the other side,
    the longest holding. ``opened`` is the bar's open, ``first`` the path's.
    """
    side = 1.0 if s[UNITS] > 0.0 else -1.0
    resting(s, book, bar, sub, 1.0, first, first, first)
    units = s[UNITS]
    if units == 0.0:
        return side
    reason = exit_
    if reason == 0 and target * side <= 0.0:
        reason = _TARGET
    if reason == 0 and bar >= s[UNTIL]:
        reason = _HOLDING
    if reason == 0:
        return 0.0
    market(s, book, bar, sub, reason, -units, opened)
    refresh(s)
    return side


@rule
def wanted(s: Floats, price: float, equity: float, target: float, exit_: int, closed_side: float) -> float:
    """Units to hold from this open on, before margin; what is held already where nothing is ordered.

    ``exit_`` is that of the target's side: what must not be held is not opened.
    """
    units = s[UNITS]
    if math.isnan(target) or target == 0.0 or equity <= s[RUIN]:
        return units
    if units != 0.0:
        if abs(target - s[ORDERED]) <= s[STEP]:
            return units
    elif exit_ != 0 or target * closed_side > 0.0:
        return 0.0
    return target if s[BY_UNITS] != 0.0 else target * equity / price


@rule
def carried(s: Floats, price: float) -> float:
    """Free equity that one unit more takes up at this open: initial margin and the fee, at the price paid."""
    return price * (1.0 + s[SLIPPAGE]) * (1.0 / s[LEVERAGE] + s[TAKER])


@rule
def adjust(  # noqa: PLR0917 (compiled: by place)
    s: Floats, book: Floats, bar: int, sub: int, price: float, target: float, units: float, share: float
) -> bool:
    """A market order towards ``units``, as far as lots and the least order allow; of an increase only ``share``.

    Whether a position was opened, which then needs ``protect``.
    """
    held = s[UNITS]
    side = 1.0 if units > 0.0 else -1.0
    size, capped = abs(units), share < 1.0 and abs(units) > abs(held)
    if capped:
        size = abs(held) + (size - abs(held)) * share
    size = whole_lots(size, s[LOT])
    change = side * size - held
    if size == 0.0 or change == 0.0 or abs(change) * price < s[MINIMUM]:
        s[CAPPED if capped else SMALL] += 1.0
        return False
    if capped:
        s[CAPPED] += 1.0
    market(s, book, bar, sub, _ENTRY if held == 0.0 else _RESIZE, change, price)
    s[ORDERED], s[BASE] = target, size
    if held != 0.0:
        refresh(s)
    return held == 0.0


@rule
def protect(s: Floats, plan: Plan, row: int, bar: int) -> None:
    """Levels of a position that was just opened, by the decisions of ``row``."""
    side = 1.0 if s[UNITS] > 0.0 else -1.0
    anchor, unit = side * s[ANCHOR], s[ANCHOR] if s[RELATIVE] != 0.0 else 1.0
    stop, profit, holding = at(plan.stop, row), at(plan.profit, row), at(plan.holding, row)
    after, breakeven, trail = at(plan.trail_after, row), at(plan.breakeven, row), at(plan.trail, row)
    s[STOP] = -np.inf if math.isnan(stop) else anchor - stop * unit
    s[PROFIT] = np.inf if math.isnan(profit) else anchor + profit * unit
    s[UNTIL] = np.inf if math.isnan(holding) else bar + holding
    s[KIND], s[PARTIAL], s[TRAIL] = _STOP, 0.0, trail
    s[TRAIL_AFTER] = 0.0 if math.isnan(after) else after
    s[BREAKEVEN], s[OFFSET] = np.inf if math.isnan(breakeven) else breakeven, at(plan.offset, row)
    follows = not math.isnan(trail) or (s[REREAD] != 0.0 and plan.trail.shape[0] > 1)
    s[WATCHED] = 1.0 if follows or not math.isnan(breakeven) else 0.0
    levels, constant = plan.partial_at.shape[1], plan.partial_at.shape[0] == 1
    for number in range(PARTS):
        given = number < levels
        s[LEVELS + number] = plan.partial_at[0 if constant else row, number] if given else np.nan
        s[SHARES + number] = (
            plan.partial_share[0 if plan.partial_share.shape[0] == 1 else row, number] if given else 0.0
        )
    refresh(s)
