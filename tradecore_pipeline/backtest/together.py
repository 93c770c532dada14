"""The loop over several instruments with one account, compiled and cached on disk."""

from typing import Any

import numba as nb
import numpy as np

from tradecore_pipeline.backtest.opening import adjust, at, carried, leave, protect, wanted
from tradecore_pipeline.backtest.position import close_trade, closed, resting, rule, settle
from tradecore_pipeline.backtest.state import (
    CASH,
    ENTRY,
    LEVERAGE,
    REREAD,
    TRAIL,
    UNITS,
    Floats,
    Integers,
    Market,
    Payments,
    Plan,
)  # fmt: skip


@rule
def _exit(plan: Plan, row: int, side: float) -> int:
    return at(plan.exit_long, row) if side > 0.0 else at(plan.exit_short, row)


@rule
def _apart(m: int, sizes: Floats, s: Floats, rank: Floats, alike: Floats, most: float) -> bool:
    """Whether position m would move with no other that is open, or was let in before it, by more than ``most``.

    ``alike`` (instruments, instruments) is how returns correlated; an unknown one counts as too much.
    """
    for other in range(len(sizes)):
        if other != m and (s[other, UNITS] != 0.0 or (sizes[other] != 0.0 and rank[other] == 0.0)):
            side = 1.0 if s[other, UNITS] + sizes[other] > 0.0 else -1.0
            together = alike[m, other] * side * (1.0 if sizes[m] > 0.0 else -1.0)
            if not together <= most:
                return False
    return True


@rule
def _take_places(sizes: Floats, s: Floats, rank: Floats, places: int, alike: Floats, most: float) -> None:
    """Of those that would open, the larger target takes a place first, then the earlier instrument.

    ``alike`` is empty where correlation does not matter.
    """
    held = 0
    for m in range(len(sizes)):
        held += 1 if s[m, UNITS] != 0.0 else 0
    while True:
        first = -1
        for m in range(len(sizes)):
            if rank[m] > 0.0 and (first < 0 or rank[m] > rank[first]):
                first = m
        if first < 0:
            return
        if held >= places or (len(alike) > 0 and not _apart(first, sizes, s, rank, alike, most)):
            sizes[first] = 0.0
        else:
            held += 1
        rank[first] = 0.0


@rule
def _share(sizes: Floats, s: Floats, marks: Floats, worth: float, allocation: float) -> float:
    """The part of all increases that the free equity carries; decreases of the same open free theirs first.

    Nor may all positions together be worth more than ``allocation`` times the equity.
    """
    needed, free, added, room = 0.0, worth, 0.0, allocation * worth if worth > 0.0 else 0.0
    for m in range(len(sizes)):
        held, size = abs(s[m, UNITS]), abs(sizes[m])
        free -= min(held, size) * s[m, ENTRY] / s[m, LEVERAGE]
        room -= min(held, size) * marks[m]
        if size > held:
            needed += (size - held) * carried(s[m], marks[m])
            added += (size - held) * marks[m]
    share = 1.0 if needed <= free else max(free, 0.0) / needed
    return share if added <= room else min(share, max(room, 0.0) / added)


@rule
def _inside(s: Floats, book: Floats, bars: Market, plan: Plan, when: Integers, paid: Floats, i: int) -> None:
    """A bar of one instrument after its open, one finer bar after the other."""
    end = bars.first[i + 1]
    for j in range(bars.first[i], end):
        opened = bars.sub_open[j]
        if s[UNITS] != 0.0 and j > bars.first[i]:
            settle(s, when, paid, 2 * j)
            resting(s, book, i, j, 1.0, opened, opened, opened)
        if s[UNITS] != 0.0:
            settle(s, when, paid, 2 * j + 1)
            resting(s, book, i, j, 0.0, opened, bars.sub_high[j], bars.sub_low[j])
        if s[UNITS] != 0.0:
            trail = at(plan.trail, i if j == end - 1 else i - 1) if s[REREAD] != 0.0 else s[TRAIL]
            closed(s, bars.sub_high[j], bars.sub_low[j], trail)


def simulate_together_by(sources: str) -> Any:  # noqa: C901 (it holds the loop)
    """The compiled loop; ``sources`` is part of its key in numba's cache on disk, as in ``single``."""

    @nb.njit(cache=True, nogil=True, error_model="numpy")
    def simulate_together(  # noqa: C901, PLR0912, PLR0913, PLR0917 (compiled: by place)
        at_time: Integers, begins: Integers, bars: Market, payments: Payments, settled: Integers, plan: Plan,
        s: Floats, places: int, allocation: float, alike: Floats, most: float, book: Floats, equity: Floats,
    ) -> None:  # fmt: skip
        """Equity at each moment's close into ``equity``.

        ``at_time`` (moments, instruments) is the bar that opens then, or -1; ``begins`` each instrument's first bar;
        from ``settled[m]`` on come the payments of instrument m. Positions take turns with the cash. ``alike``
        (moments, instruments, instruments) is known when the moment comes; without moments nothing is compared.
        """
        _ = sources
        count, cash = at_time.shape[1], s[0, CASH]
        marks, sizes, sides, rank = np.ones(count), np.zeros(count), np.zeros(count), np.zeros(count)
        nowhere = np.empty((0, 0))
        for t in range(at_time.shape[0]):
            for m in range(count):
                i = at_time[t, m]
                if i < 0:
                    continue
                own, sub, target = slice(settled[m], settled[m + 1]), bars.first[i], np.nan
                if i > begins[m]:
                    target = at(plan.target, i - 1)
                marks[m], sides[m], s[m, CASH] = bars.open[i], 0.0, cash
                settle(s[m], payments.when[own], payments.paid[own], 2 * sub)
                if s[m, UNITS] != 0.0:
                    exit_ = _exit(plan, i - 1, s[m, UNITS])
                    sides[m] = leave(s[m], book[m], i, sub, bars.open[i], bars.sub_open[sub], target, exit_)
                cash = s[m, CASH]
            worth = cash
            for m in range(count):
                worth += s[m, UNITS] * marks[m]
            for m in range(count):
                i = at_time[t, m]
                sizes[m], rank[m] = s[m, UNITS], 0.0
                if i > begins[m]:
                    target = at(plan.target, i - 1)
                    sizes[m] = wanted(s[m], marks[m], worth, target, _exit(plan, i - 1, target), sides[m])
                    if s[m, UNITS] == 0.0 and sizes[m] != 0.0:
                        rank[m] = abs(target)
            _take_places(sizes, s, rank, places, alike[t] if len(alike) > 0 else nowhere, most)
            share = _share(sizes, s, marks, worth, allocation)
            for m in range(count):
                i = at_time[t, m]
                if i < 0:
                    continue
                own, s[m, CASH] = slice(settled[m], settled[m + 1]), cash
                if sizes[m] != s[m, UNITS]:
                    target = at(plan.target, i - 1)
                    if adjust(s[m], book[m], i, bars.first[i], marks[m], target, sizes[m], share):
                        protect(s[m], plan, i - 1, i)
                _inside(s[m], book[m], bars, plan, payments.when[own], payments.paid[own], i)
                cash, marks[m] = s[m, CASH], bars.close[i]
            equity[t] = cash
            for m in range(count):
                equity[t] += s[m, UNITS] * marks[m]
        for m in range(count):
            if s[m, UNITS] != 0.0:
                close_trade(s[m], book[m], 0, s[m, UNITS] * marks[m])

    return simulate_together
