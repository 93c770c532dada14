"""What earned a backtest: parts that add up, and what is put down to which name."""

from dataclasses import replace

import numpy as np
import pytest

from tradecore_pipeline.serving.backtest_earnings import earnings
from tradecore_pipeline.serving.backtest_run import Reported
from tradecore_pipeline.strategies.market import NO_STATE
from tradecore_pipeline_tests.serving.backtest_cases import (
    BARS,
    RULES,
    flipping,
    held_at,
    market,
    reported,
    reported_portfolio,
)

RESIZED = replace(RULES, resize_step=0.0)
TURNED = {1: ("Bull", "Chop", "Bear"), 2: ("Bear", "Bull", "Chop")}


@pytest.mark.parametrize("told", [reported(flipping()), reported_portfolio(3)], ids=["one", "several"])
def test_the_parts_add_up_to_the_bars_returns(told: Reported) -> None:
    found = earnings(told)
    assert sum(source.earned for source in found.sources) == pytest.approx(found.total, abs=1e-12)
    assert found.total == pytest.approx(told.account.returns.sum())


@pytest.mark.parametrize("told", [reported(flipping()), reported_portfolio(3)], ids=["one", "several"])
def test_costs_by_bar_add_up_to_the_engines_totals(told: Reported) -> None:
    costs, totals = earnings(told).cumulated_costs, told.run.totals
    assert costs["fees"][-1] == pytest.approx(totals.fees)
    assert costs["slippage"][-1] == pytest.approx(totals.slippage)
    assert costs["funding"][-1] == pytest.approx(totals.funding, abs=1e-6)
    assert totals.funding != 0


def test_a_constant_position_earns_nothing_by_regimes() -> None:
    found = earnings(reported(held_at(np.full(BARS, 0.5)), rules=RESIZED))
    assert abs(found.always.earned) > 0.01
    assert abs(found.volatility.earned) + abs(found.finer.earned) < 0.05 * abs(found.always.earned)


def test_a_position_by_volatility_regime_earns_by_volatility_regimes_alone() -> None:
    one = market(names=TURNED)
    target = np.where(one.held == NO_STATE, 0.0, np.array([1.0, 0.5, 0.1])[one.held])
    found = earnings(reported(held_at(target), one=one, rules=RESIZED))
    assert found.told_apart
    assert abs(found.volatility.earned) > 0.01
    assert abs(found.direction.earned) + abs(found.finer.earned) < 0.02 * abs(found.volatility.earned)


def test_a_position_by_names_of_direction_earns_on_top_of_volatility_regimes() -> None:
    one = market(names=TURNED)
    target = np.select([one.regime == "Bull", one.regime == "Bear"], [0.8, -0.8], 0.0)
    found = earnings(reported(held_at(target), one=one, rules=RESIZED))
    assert found.told_apart
    assert abs(found.direction.earned) > 0.01
    assert abs(found.finer.earned) < 0.02 * abs(found.direction.earned)


def test_names_that_always_coincide_are_not_told_apart() -> None:
    found = earnings(reported(flipping()))
    assert not found.told_apart
    assert found.direction.earned == pytest.approx(0.0, abs=1e-12)
