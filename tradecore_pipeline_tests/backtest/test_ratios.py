"""Ratios of return series: against empyrical-reloaded, and where a series cannot tell."""

import contextlib
import importlib
import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.backtest import ratios

PER_YEAR = 8760


@pytest.fixture(scope="module")
def empyrical() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a notice when it is imported
        return importlib.import_module("empyrical")


def series(seed: int) -> np.ndarray:
    """From one return to thousands, calm or wild, fat-tailed, some flat for long."""
    random = np.random.default_rng(seed)
    count = int(random.choice([1, 2, 3, 10, 100, 5000]))
    scale = 10 ** random.uniform(-5, -1.5)
    returns = scale * (random.standard_t(3, count) + random.normal(0, 0.1))
    returns[random.random(count) < random.choice([0.0, 0.9])] = 0.0
    return np.maximum(returns, -0.95)


@pytest.mark.parametrize("seed", range(200))
def test_every_ratio_that_empyrical_has_agrees(empyrical: Any, seed: int) -> None:
    returns = series(seed)
    dated = pd.Series(returns, index=pd.date_range("2022-01-01", periods=len(returns), freq="h", tz="UTC"))
    year = {"periods_per_year": PER_YEAR}
    theirs_year = {"annualization": PER_YEAR}
    with np.errstate(all="ignore"):
        pairs = {
            "total": (ratios.total_return(returns), empyrical.cum_returns_final(dated)),
            "annual": (ratios.annual_return(returns, **year), empyrical.annual_return(dated, **theirs_year)),
            "volatility": (ratios.volatility(returns, **year), empyrical.annual_volatility(dated, **theirs_year)),
            "sharpe": (ratios.sharpe(returns, **year), empyrical.sharpe_ratio(dated, **theirs_year)),
            "sortino": (ratios.sortino(returns, **year), empyrical.sortino_ratio(dated, **theirs_year)),
            "calmar": (ratios.calmar(returns, **year), empyrical.calmar_ratio(dated, **theirs_year)),
            "drawdown": (ratios.drawdown(returns).depth, empyrical.max_drawdown(dated)),
            "var": (ratios.value_at_risk(returns, share=0.05), empyrical.value_at_risk(dated, cutoff=0.05)),
            "shortfall": (
                ratios.expected_shortfall(returns, share=0.05),
                empyrical.conditional_value_at_risk(dated, cutoff=0.05),
            ),
        }
    for name, (ours, theirs) in pairs.items():
        if math.isfinite(theirs):
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12), name
        else:
            assert not math.isfinite(ours), name


def test_a_series_that_tells_nothing_gives_nan() -> None:
    empty, one, flat, rising = np.empty(0), np.array([0.01]), np.zeros(50), np.full(50, 0.001)
    for returns in (empty, one, flat, rising):
        assert math.isnan(ratios.sharpe(returns, periods_per_year=PER_YEAR))
        assert math.isnan(ratios.sortino(returns, periods_per_year=PER_YEAR))
        assert math.isnan(ratios.calmar(returns, periods_per_year=PER_YEAR))
        assert ratios.drawdown(returns).depth == 0
        assert ratios.longest_under_water(returns) in {(0, 0), (len(returns), len(returns))}
    assert ratios.total_return(empty) == 0
    assert math.isnan(ratios.value_at_risk(empty, share=0.05))
    assert math.isnan(ratios.expected_shortfall(empty, share=0.05))


def test_losing_everything_is_minus_one_and_stays_so() -> None:
    returns = np.array([0.5, -1.0, 0.0, 0.0])
    assert ratios.total_return(returns) == -1
    assert ratios.annual_return(returns, periods_per_year=PER_YEAR) == -1
    assert ratios.drawdown(returns) == ratios.Drawdown(-1.0, 1, 2, 4, recovered=False)


def test_a_drawdown_by_hand() -> None:
    value = np.array([100.0, 110, 99, 88, 100, 110, 120, 118, 117, 116, 115, 114])
    returns = value[1:] / value[:-1] - 1
    deepest = ratios.drawdown(returns)
    assert deepest.depth == pytest.approx(-0.2)
    assert (deepest.peak, deepest.trough, deepest.end, deepest.recovered) == (1, 3, 5, True)
    assert ratios.longest_under_water(returns) == (6, 11)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60))
def test_the_deepest_fall_lies_inside_its_places(values: list[float]) -> None:
    returns = np.array(values)
    level = np.concatenate(([1.0], np.cumprod(1 + returns)))
    found = ratios.drawdown(returns)
    assert found.peak <= found.trough <= found.end <= len(returns)
    assert level[found.trough] / level[found.peak] - 1 == pytest.approx(found.depth)
    assert level[found.peak] == pytest.approx(level[: found.trough + 1].max())
    high, end = ratios.longest_under_water(returns)
    assert end - high >= (found.end - found.peak if found.end - found.peak > 1 else 0)
