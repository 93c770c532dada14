"""The arrays that compiled code works on: which place holds what.

A position's state is one row of floats ``s``, the account's another, ``a``; the compiled rules change both in place.
Levels are kept times the position's side, so that both sides read like a long one: hurt when the price falls to it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A position: what is held, where its trade began, its levels (times side), what has been seen, and counters.
UNITS, ENTRY, ANCHOR, BASE, STOP, KIND, LIQUIDATION, PROFIT = range(8)
TRAIL, TRAIL_AFTER, BREAKEVEN, OFFSET, TOP, BOTTOM, PARTIAL, LAST_REASON = range(8, 16)
ORDERED, SINCE, UNTIL, LOWER, UPPER, WATCHED, NEXT, LAST_BAR = range(16, 24)
FILLS, TRADES, FIRST, FLOW, FUNDING, CAPPED, SMALL = range(24, 31)
LEVELS, SHARES, PARTS = 31, 35, 4
"""Where the partial exits of the position begin: distances, then fractions."""
# The account: several positions take turns with it.
CASH, RUIN = 39, 40
# Costs and rules of the instrument.
TERMS = 41
MAKER, TAKER, SLIPPAGE, LEVERAGE, MAINTENANCE, LOT, MINIMUM, STEP = range(41, 49)
BY_UNITS, STOP_FIRST, ISOLATED, REREAD, RELATIVE = range(49, 54)
STATE = 54
# Columns of the rows that are written; trade n stands beside fill n, since there are never more of them.
F_BAR, F_SUB, F_OPEN, F_REASON, F_UNITS, F_PRICE, F_FEE, F_SLIPPAGE, F_HELD, F_CASH = range(10)
T_FIRST, T_LAST, T_ANCHOR, T_TOP, T_BOTTOM, T_FUNDING, T_PNL, T_REASON = range(10, 18)
BOOK = 18
# What a decision function is shown of its position and account.
V_UNITS, V_ENTRY, V_BARS, V_EQUITY, V_RETURN, V_REASON, V_SINCE_EXIT = range(7)
VIEW = 7


class Market(NamedTuple):
    """Bars of one or several instruments one after the other, and the finer bars inside them.

    ``first`` (bars + 1,) is each bar's first finer bar; empty where the bars themselves are the finest.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    first: Integers
    sub_open: Floats
    sub_high: Floats
    sub_low: Floats


class Payments(NamedTuple):
    """Settlements of one instrument, in order, and one that never comes.

    ``when`` is twice the finer bar in which it is settled, plus one where that is after its open; ``paid`` is what a
    unit held long pays.
    """

    when: Integers
    paid: Floats


class Plan(NamedTuple):
    """Decisions by bar; a column of one row is a constant."""

    target: Floats
    stop: Floats
    profit: Floats
    trail: Floats
    trail_after: Floats
    breakeven: Floats
    offset: Floats
    partial_at: Floats
    partial_share: Floats
    holding: Floats
    exit_long: NDArray[np.int8]
    exit_short: NDArray[np.int8]
