"""What an account of several instruments may hold together: value, correlation, drawdown."""

from dataclasses import replace

import numpy as np
import pytest

from tradecore_pipeline.backtest.orders import Orders, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, Likeness, PortfolioBacktest, correlations, run_portfolio
from tradecore_pipeline.backtest.strategies import Lots, Planned, correlation_limit, run_plan, run_plans
from tradecore_pipeline.strategies.contracts import Exits, Plan
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.backtest.cases import FREE, PLAIN, bars_of

N = float("nan")
CAPITAL = 10_000.0
EQUITY = replace(PLAIN, sizing=Sizing.EQUITY, leverage=3.0)
ANY = Lots(0.0, 0.0)


def holding(target: list[float], prices: list[float]) -> Holding:
    bars = bars_of([(price, price, price, price) for price in prices])
    return Holding(bars=bars, orders=Orders.of(target), costs=FREE, rules=EQUITY)


def flat(target: list[float]) -> Holding:
    return holding(target, [100.0] * len(target))


def moving(seed: int, bars: int) -> list[float]:
    return (100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, bars)))).tolist()


def run(holdings: dict[str, Holding], **limits: object) -> PortfolioBacktest:
    return run_portfolio(holdings, capital=CAPITAL, maximum_positions=len(holdings), **limits)  # type: ignore[arg-type]


def test_increases_stop_where_all_positions_together_reach_the_allocation() -> None:
    both = {"a": flat([0.6, N, N]), "b": flat([0.6, N, N])}
    cut = run(both, allocation=0.8)
    assert cut.fills["units"].tolist() == pytest.approx([40, 40])
    assert cut.totals.capped_orders == 2
    assert run(both).fills["units"].tolist() == pytest.approx([60, 60])


def test_an_allocation_that_is_used_up_leaves_the_next_entry_out_and_what_is_closed_makes_room() -> None:
    found = run({"a": flat([0.8, N, 0.0, N, N]), "b": flat([N, 0.5, 0.5, N, N])}, allocation=0.8)
    ledgers = found.ledgers
    assert ledgers["a"].position.tolist() == pytest.approx([0, 80, 80, 0, 0])
    assert ledgers["b"].position.tolist() == pytest.approx([0, 0, 0, 50, 50])


def test_correlations_are_of_closed_returns_before_the_moment_alone() -> None:
    prices = {"a": moving(1, 60), "b": moving(2, 60)}
    several = [holding([N] * 60, values) for values in prices.values()]
    times = several[0].bars.ts_open
    found = correlations(several, times, bars=20)
    assert np.isnan(found[:21]).all()
    returns = [np.diff(np.log(values)) for values in prices.values()]
    for moment in (21, 40, 59):
        expected = np.corrcoef(returns[0][moment - 21 : moment - 1], returns[1][moment - 21 : moment - 1])[0, 1]
        assert found[moment, 0, 1] == found[moment, 1, 0] == pytest.approx(expected)
    changed = [holding([N] * 60, [*values[:40], *moving(9, 20)]) for values in prices.values()]
    assert np.array_equal(correlations(changed, times, bars=20)[:41], found[:41], equal_nan=True)


def test_of_two_alike_instruments_only_the_larger_is_opened_and_a_hedge_is_no_repetition() -> None:
    prices = moving(1, 40)
    quiet = [N] * 30
    alike = Likeness(most=0.9, bars=20)
    both = {"a": holding([*quiet, 0.3, *[N] * 9], prices), "b": holding([*quiet, 0.5, *[N] * 9], prices)}
    found = run(both, likeness=alike)
    assert (found.ledgers["a"].position != 0).sum() == 0
    assert (found.ledgers["b"].position != 0).sum() == 9
    hedged = {"a": holding([*quiet, -0.3, *[N] * 9], prices), "b": both["b"]}
    assert (run(hedged, likeness=alike).ledgers["a"].position < 0).sum() == 9


def test_an_entry_beside_an_open_position_waits_until_it_is_known_to_be_different() -> None:
    a, b = moving(1, 60), moving(2, 60)
    found = run({"a": holding([0.3] * 60, a), "b": holding([0.2] * 60, b)}, likeness=Likeness(most=0.9, bars=20))
    assert int(np.flatnonzero(found.ledgers["a"].position)[0]) == 1
    assert int(np.flatnonzero(found.ledgers["b"].position)[0]) == 21, "the first moment at which 20 returns are known"


def config(**sections: object) -> StrategyConfig:
    plain = {"commission": 0.0, "slippage": 0.0, "initial_capital": CAPITAL, "minimum_notional": 0.0}
    return StrategyConfig.model_validate({"name": "x", "backtesting_parameters": plain, **sections})


def plan(size: list[float]) -> Plan:
    sizes = np.array(size)
    return Plan(np.sign(sizes).astype(np.int8), np.abs(sizes), rebalance=False, exits=Exits.none(len(size)))


def planned(size: list[float], prices: list[float]) -> Planned:
    return Planned(flat([N]).bars if not prices else bars_of([(p, p, p, p) for p in prices]), plan(size))


def test_the_accounts_drawdown_closes_everything_and_ends_trading() -> None:
    falling = [100.0, 100.0, 100.0, 75.0, 75.0, 75.0, 75.0, 75.0]
    both = {"a": planned([0.5] * 8, falling), "b": planned([0.5] * 8, [100.0] * 8)}
    found = run_plans(both, config(risk_management={"portfolio_max_drawdown": 0.1}), lots=ANY)
    assert found.ledgers["a"].position.tolist()[:4] == pytest.approx([0, 50, 50, 50])
    assert [ledger.position[4:].tolist() for ledger in found.ledgers.values()] == [[0.0] * 4] * 2
    assert set(found.trades["reason"]) == {Reason.RISK_LIMIT.name.lower()}


def test_several_plans_of_one_instrument_are_its_single_run() -> None:
    one = planned([0.5, 0, 0.5, -0.5, 0.5, 0.0, 0.0, 0.0], moving(4, 8))
    alone = run_plan(one.bars, one.plan, config(), lots=ANY)
    assert np.array_equal(run_plans({"a": one}, config(), lots=ANY).equity, alone.equity)


def test_the_lower_of_both_limits_of_correlation_holds() -> None:
    limits = {
        "risk_management": {"position_correlation_limit": 0.8},
        "portfolio_management": {"correlation_threshold": 0.5},
    }
    assert correlation_limit(config(**limits)) == 0.8
    assert correlation_limit(config(**limits, entry_criteria={"require_portfolio_diversification": True})) == 0.5
