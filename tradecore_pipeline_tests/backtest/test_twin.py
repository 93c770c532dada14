import numba as nb
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Orders
from tradecore_pipeline.backtest.twin import SlowBacktest
from tradecore_pipeline_tests.backtest.cases import HOUR, both, difference, random_bars, random_case, random_rules

CAPITAL = 10_000.0


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 120), capital=st.sampled_from([500.0, CAPITAL]))
def test_the_compiled_engine_and_its_twin_agree(seed: int, count: int, capital: float) -> None:
    assert difference(*both(*random_case(seed, count), capital)) == ""


def chase(i: int, view: np.ndarray, params: np.ndarray, plan: tuple[np.ndarray, ...]) -> None:
    """Buys after three falls unless a stop was less than ``params[0]`` bars ago; sells what has gained enough."""
    closes = params[1:]
    if view[0] == 0.0 and i >= 3 and closes[i] < closes[i - 1] < closes[i - 2] and not view[6] < params[0]:
        plan[0][i], plan[1][i] = 0.5 * (1.0 if view[3] > 9_900.0 else 0.5), 0.03
    elif view[0] != 0.0 and (view[4] > 0.02 or view[2] >= 9.0):
        plan[0][i] = 0.0


def test_a_decision_function_sees_the_same_position_in_both() -> None:
    random = np.random.default_rng(3)
    bars = random_bars(random, 400, step=HOUR, funding=Funding.none(), gaps=0.0)
    costs = Costs(maker=0.0, taker=0.0005, slippage=0.0)
    rules = random_rules(random, fractions=True, units=False, isolated=True)
    params = np.concatenate(([5.0], bars.close))
    ours, theirs = (Orders.blank(len(bars), partial_levels=0) for _ in range(2))
    fast = run_backtest(bars, ours, costs=costs, rules=rules, capital=CAPITAL, decide=nb.njit(chase), params=params)
    slow = SlowBacktest(bars, theirs, costs=costs, rules=rules, capital=CAPITAL)
    slow.run(chase, params)
    assert len(fast.trades) > 20
    assert {"stop", "target_position"} <= set(fast.trades["reason"])
    assert difference(fast, slow) == ""
    assert np.array_equal(ours.target, theirs.target, equal_nan=True)
