"""The page of a backtest: whole, quiet, escaped, and right about runs in which little or everything went wrong."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from tradecore_pipeline.backtest.orders import Orders
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.serving.backtest_charts import MOST_CANDLES
from tradecore_pipeline.serving.backtest_report import backtest_report, write_backtest_report
from tradecore_pipeline.serving.backtest_run import Reported
from tradecore_pipeline.serving.backtest_sheet import tear_sheet
from tradecore_pipeline_tests.serving.backtest_cases import (
    BARS,
    PERPETUAL,
    RULES,
    SPOT,
    earning,
    flipping,
    market,
    reported,
    reported_portfolio,
    significance,
)

_PNG = b"\x89PNG\r\n\x1a\n"
NOTHING = Orders.of(np.full(BARS, np.nan))
ONE_TRADE = Orders.of(np.where(np.arange(BARS) == 200, 0.5, np.where(np.arange(BARS) == 300, 0.0, np.nan)))


def ruined() -> Reported:
    """Cross margin, all that it carries, into a market that falls to a tenth."""
    one = market()
    falling = one.bars.copy()
    fall = np.linspace(0, -np.log(10), BARS)
    for name in ("open", "high", "low", "close"):
        falling[name] = one.bars[name] * np.exp(fall)
    return reported(Orders.of(np.full(BARS, 3.0)), one=replace(one, bars=falling), rules=replace(RULES, isolated=False))


def own_text(page: str) -> str:
    """The page without plotly's own text."""
    return page.replace(get_plotlyjs(), "")


def figures_of(page: str) -> "dict[str, dict[str, list[dict[str, object]]]]":
    """The charts as the browser gets them."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_has_every_part_and_asks_nobody_for_anything() -> None:
    page = own_text(backtest_report(reported(flipping()), market="real"))
    for title in ("Account", "Month by month", "What earned it", "By regime", "Trades", "Costs", "Figures", "Settings"):
        assert f">{title}<" in page
    assert set(figures_of(page)) == {"account", "trades", "results", "mae", "mfe", "costs"}
    assert all(f'id="{name}"' in page for name in figures_of(page))
    assert not re.search(r"https?://|src=|@import|url\(", page)
    assert "{{" not in page
    assert "SIMULATED" not in page
    assert "3f2a9c11" in page


def test_a_simulated_market_is_called_simulated() -> None:
    assert ">SIMULATED<" in backtest_report(reported(flipping()), market="simulated:seed7")


def test_texts_from_outside_are_escaped() -> None:
    nasty = '</script><script>alert("x")</script><img src=x>'
    told = replace(reported(flipping(), description=nasty), facts={nasty: nasty}, notes=[nasty])
    page = own_text(backtest_report(told, market=f"simulated:{nasty}"))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("</script>") == 3


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (reported(NOTHING), "Nothing was traded: 10,000 USDT stayed as they were"),
        (reported(ONE_TRADE), "<td>closed</td><td>1</td>"),
        (ruined(), "Ruined on 2024-"),
        (reported(flipping(), one=replace(market(), held=np.full(BARS, -1), regime=np.full(BARS, ""))), "No bar has"),
        (reported_portfolio(8), "The first 6 of 8 instruments are drawn"),
    ],
    ids=["no trade", "one trade", "ruined", "no regimes", "many instruments"],
)
def test_odd_runs_are_told_as_they_were(told: Reported, words: str) -> None:
    page = backtest_report(told, market="real")
    assert words in page
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b|\binf\b|None", shown)
    assert tear_sheet(told, market="real").startswith(_PNG)


def test_a_ruined_account_is_nowhere_said_to_be_skill() -> None:
    sure = significance(p_value=0.001, probability=0.999, sharpe_low=1.0)
    told = ruined()
    told = replace(told, performance=replace(told.performance, significance=sure))
    assert "Nothing was earned that could be beyond chance" in backtest_report(told, market="real")


@pytest.mark.parametrize(
    ("p_value", "probability", "sharpe_low", "verdict"),
    [
        (0.01, 0.99, 0.4, "Beyond what chance explains"),
        (0.20, 0.99, 0.4, "Not beyond chance: a permutation p below 5% would be needed"),
        (0.01, 0.60, 0.4, "Not beyond chance: a deflated Sharpe ratio above 95% would be needed"),
        (0.01, 0.99, -0.1, "Not beyond chance: an interval of the Sharpe ratio above 0 would be needed"),
        (float("nan"), 0.99, 0.4, "Not beyond chance: a permutation p"),
    ],
)
def test_beyond_chance_takes_every_test(p_value: float, probability: float, sharpe_low: float, verdict: str) -> None:
    sure = significance(p_value=p_value, probability=probability, sharpe_low=sharpe_low)
    page = backtest_report(earning(reported(flipping(), sure=sure)), market="real")
    assert verdict in page
    assert "40 configurations tried" in page


def test_a_test_that_was_not_made_is_no_pass() -> None:
    sure = replace(significance(p_value=0.01, probability=0.99, sharpe_low=0.4), permutation=None)
    page = backtest_report(earning(reported(flipping(), sure=sure)), market="real")
    assert "which is not far enough to say so" in page
    assert "was not looked into" in backtest_report(reported(flipping()), market="real")


def test_spot_says_that_there_is_no_funding_and_that_shorts_would_be_borrowed() -> None:
    page = backtest_report(reported(flipping(), one=market(SPOT)), market="real")
    assert "Spot: no funding, neither paid nor received. Short positions would have to be borrowed" in page
    assert "Spot: no funding" not in backtest_report(reported(flipping(), one=market(PERPETUAL)), market="real")


def test_trades_say_why_they_ended() -> None:
    told = reported(flipping())
    words = json.dumps(figures_of(backtest_report(told, market="real"))["trades"]["data"])
    for reason in told.run.trades["reason"].unique():
        assert reason.replace("_", " ") in words


def test_long_runs_are_drawn_with_coarser_candles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradecore_pipeline.serving.backtest_charts.MOST_CANDLES", 100)
    figures = figures_of(backtest_report(reported(flipping()), market="real"))
    (candles,) = (trace for trace in figures["trades"]["data"] if trace["type"] == "candlestick")
    assert len(candles["x"]) <= 100 < MOST_CANDLES  # type: ignore[arg-type]  # JSON


def test_settings_that_differ_from_the_usual_ones_are_bold() -> None:
    page = backtest_report(reported(flipping(), backtesting_parameters={"leverage": 5}), market="real")
    assert '<tr class="told"><td>backtesting_parameters.leverage</td><td>5.0</td>' in page
    assert "<tr><td>backtesting_parameters.slippage</td>" in page


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    told = reported(ONE_TRADE)
    path = write_backtest_report(told, market="real", path=tmp_path / "reports" / "one.html")
    assert path.read_text(encoding="utf-8") == backtest_report(told, market="real")


def test_markets_of_another_run_are_refused() -> None:
    told = reported(flipping())
    with pytest.raises(UsageError, match="in its order and on its bars"):
        replace(told, markets={PERPETUAL: market().rows(0, 100)})
