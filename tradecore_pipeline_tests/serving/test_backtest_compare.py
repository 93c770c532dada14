"""Backtests side by side on one page."""

from dataclasses import replace

import numpy as np
import pytest

from tradecore_pipeline.backtest.orders import Orders
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.serving.backtest_compare import backtest_compare
from tradecore_pipeline_tests.serving.backtest_cases import (
    BARS,
    earning,
    flipping,
    reported,
    reported_portfolio,
    significance,
)
from tradecore_pipeline_tests.serving.test_backtest_report import figures_of, own_text


def test_every_variant_has_a_row_in_each_table_and_a_line() -> None:
    sure = significance(p_value=0.2, probability=0.4, sharpe_low=-1.0)
    told = [reported(flipping(hours), sure=sure, name=f"every-{hours}") for hours in (6, 12, 24)]
    page = own_text(backtest_compare(told, market="simulated:x"))
    assert all(page.count(f"</span>every-{hours}</span>") == 3 for hours in (6, 12, 24))
    assert {trace["name"] for trace in figures_of(page)["accounts"]["data"]} == {
        "every-6", "every-12", "every-24", "buy &amp; hold".replace("&amp;", "&"),
    }  # fmt: skip
    assert "40 configurations were tried" in page
    assert ">SIMULATED<" in page
    assert "http" not in page


def test_the_best_is_named_with_what_it_is_worth() -> None:
    sure = significance(p_value=0.2, probability=0.4, sharpe_low=-1.0)
    good, bad = earning(reported(flipping(), sure=sure, name="good")), reported(flipping(6), sure=sure, name="bad")
    figures = replace(good.performance.figures, sharpe=9.0)
    good = replace(good, performance=replace(good.performance, figures=figures))
    page = backtest_compare([bad, good], market="real")
    assert "Highest Sharpe ratio: good, 9.00" in page
    assert "Not beyond chance" in page


def test_runs_without_trades_and_of_other_instruments_are_compared_too() -> None:
    idle = reported(Orders.of(np.full(BARS, np.nan)), name="idle")
    page = backtest_compare([idle, reported_portfolio(2)], market="real")
    assert "okx:C0/USDT" in page
    assert {trace["name"] for trace in figures_of(page)["accounts"]["data"]} == {"idle", "several"}


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(UsageError, match="none to compare"):
        backtest_compare([], market="real")
