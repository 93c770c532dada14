"""Backtests of one instrument, as the package's docstring says, carried out by compiled code."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.orders import Costs, Orders, Rules
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.state import (
    BOOK,
    CAPPED,
    CASH,
    FILLS,
    LOWER,
    RUIN,
    SMALL,
    STATE,
    TERMS,
    TRADES,
    UPPER,
    VIEW,
    Floats,
    Market,
    Plan,
)  # fmt: skip

Decide = Callable[[int, Floats, Any, Plan], None]
"""``decide(i, view, params, plan)``: called at bar i's close, it writes row i of the plan's columns."""

RUINED = 1e-9
"""With less than this part of its capital an account orders nothing any more."""

_PARTS = ("borrowing.py", "state.py", "../strategies/reasons.py", "position.py", "opening.py")


def run_backtest(
    bars: BarArrays,
    orders: Orders,
    *,
    costs: Costs,
    rules: Rules,
    capital: float,
    decide: Decide | None = None,
    params: Any = None,
) -> Backtest:
    """Fills, trades and equity of ``orders`` over ``bars``.

    Args:
        bars: prices and settlements.
        orders: decisions; with ``decide`` what ``Orders.blank`` gives, and decisions are found in it afterwards.
        costs: fees and slippage.
        rules: how orders are carried out.
        capital: equity to begin with, quote currency.
        decide: a numba-compiled function for rules that need the position or the equity, called at each close; it is
            compiled once per process. Without it decisions stand in ``orders`` before the run.
        params: what ``decide`` is given, any value that numba takes.

    Raises:
        UsageError: orders, costs, rules or capital that cannot be carried out.
        InvalidDataError: orders with impossible values.
    """
    orders.check(len(bars))
    rules.check_capital(capital, float(bars.open[0]))
    market, plan, terms = market_of(bars), orders.plan(), rules.terms(costs)
    equity, capacity = np.empty(len(bars)), 256 + len(bars) // 32
    simulate = _compiled(decided=decide is not None)
    while True:
        s, book = state_of(terms, capital), np.empty((capacity, BOOK))
        simulate(market, bars.payments, plan, s, book, equity, decide, np.zeros(VIEW), params)
        if s[FILLS] <= capacity:
            break
        capacity = int(s[FILLS])
    return Backtest(
        bars=bars, rules=rules, fill_rows=book[: int(s[FILLS])], trade_rows=book[: int(s[TRADES])], capital=capital,
        equity=equity, capped=int(s[CAPPED]), small=int(s[SMALL]),
    )  # fmt: skip


def market_of(bars: BarArrays) -> Market:
    """The bars for the compiled rules."""
    path, (high, low) = bars.path, bars.extremes
    return Market(bars.open, high, low, bars.close, bars.inner_first, path.open, path.high, path.low)


def state_of(terms: Floats, capital: float) -> Floats:
    """A position of nothing, in an account that holds ``capital``."""
    s = np.zeros(STATE)
    s[TERMS:], s[CASH], s[RUIN], s[LOWER], s[UPPER] = terms, capital, capital * RUINED, -np.inf, np.inf
    return s


def sources() -> str:
    """A digest of the files that the kernels are made of: part of their key in numba's cache on disk."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _PARTS)).hexdigest()


@functools.cache
def _compiled(*, decided: bool) -> Any:
    """The loop; the one that calls a decision function is compiled for it, and not kept on disk."""
    from tradecore_pipeline.backtest.single import simulate_by  # noqa: PLC0415 (numba takes half a second to import)

    kernel = simulate_by(sources())
    return kernel if not decided else _uncached(kernel)


def _uncached(kernel: Any) -> Any:
    import numba as nb  # noqa: PLC0415 (as above)

    return nb.njit(nogil=True, error_model="numpy")(kernel.py_func)
