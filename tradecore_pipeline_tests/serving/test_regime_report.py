import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.serving import regime_report
from tradecore_pipeline.serving.regime_report import report_page, write_report
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, FIRST, HOUR, MARCH, Chain


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (the base's)
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]


@pytest.fixture(scope="module")
def page(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("reports") / "page.html"
    layout = chain.adapters.layout
    written = write_report(layout, BTC, HOUR, start=day_start(FEBRUARY), end=day_start(MARCH), path=target)
    assert written == target
    return target.read_text(encoding="utf-8")


def test_the_page_of_a_simulated_home_says_so(page: str) -> None:
    assert '<span class="simulated">SIMULATED</span>' in page
    assert "a simulated:seed11-2024-12-20 market" in page


def test_the_page_of_a_real_market_does_not_say_simulated(chain: Chain) -> None:
    lake, span = chain.adapters.lake, (day_start(FEBRUARY), day_start(MARCH))
    bars, regimes = (lake.read(table, BTC, *span, timeframe=HOUR) for table in (BARS, REGIMES))
    assert "SIMULATED" not in report_page(bars, regimes, BTC, HOUR, market=REAL_MARKET)


def test_the_page_names_the_regimes_and_scores_every_month(page: str) -> None:
    for name in ("Calm", "Normal", "Turbulent"):
        assert f"</span>{name}</td>" in page
    assert {"Bear", "Chop", "Bull"} == {name for name in ("Bear", "Chop", "Bull") if f"<td>{name}</td>" in page}
    assert "<td>2025-02</td>" in page
    assert "<td>all</td>" in page


def frames(states: Sequence[int], probabilities: Sequence[list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bars and regimes whose most probable states are these; no row has a score."""
    index = pd.date_range("2025-02-01", periods=len(states), freq="h", tz="UTC", name="ts_open")
    price = 100 + np.arange(len(states), dtype=np.float64)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), index=index)
    regimes = pd.DataFrame(
        {
            "regime_index": states,
            "volatility_regime": [("Calm", "Normal", "Turbulent")[k] for k in states],
            "regime": [("Chop", "Bull", "Bear")[k] for k in states],
            "direction_significant": False,
            "filtered_probability": probabilities,
            "forecast_volatility": 0.01,
            "log_score": np.nan,
            "har_log_score": np.nan,
        },
        index=index,
    )
    return bars.assign(realized_variance=1e-4), regimes


def test_a_regime_that_never_came_leaves_the_others_their_names() -> None:
    bars, regimes = frames([1, 2, 2, 1, 2], [[0.1, 0.5, 0.4]] * 5)
    page = report_page(bars, regimes, BTC, HOUR, market=REAL_MARKET)
    rows = dict(re.findall(r"</span>(Calm|Normal|Turbulent)</td><td>(.*?)</td></tr>", page))
    cells = {name: text.split("</td><td>") for name, text in rows.items()}
    assert {name: row[:3] for name, row in cells.items()} == {
        "Calm": ["", "0", "0.0%"],
        "Normal": ["Bull", "2", "40.0%"],
        "Turbulent": ["Bear", "3", "60.0%"],
    }
    assert cells["Calm"][3:] == ["-", "-", "-"]
    traces = regime_report._chart(regime_report._Content(bars, regimes, ("Calm", "Normal", "Turbulent")), HOUR).data
    candles = {trace.name: len(trace.x) for trace in traces if trace.type == "candlestick"}
    assert candles == {"Calm": 0, "Normal": 2, "Turbulent": 3}
    areas = {trace.name: trace for trace in traces if trace.type == "scatter" and trace.stackgroup == "probability"}
    assert {name: area.y[0] for name, area in areas.items()} == {"Calm": 0.1, "Normal": 0.5, "Turbulent": 0.4}
    assert {name: area.showlegend for name, area in areas.items()} == {
        "Calm": True,
        "Normal": False,
        "Turbulent": False,
    }


def test_a_month_without_scores_has_no_figures() -> None:
    page = report_page(*frames([0], [[1.0, 0.0, 0.0]]), BTC, HOUR, market=REAL_MARKET)
    assert "<td>2025-02</td><td>-</td><td>-</td><td>-</td>" in page


def test_months_with_different_numbers_of_regimes_are_not_drawn_as_one() -> None:
    bars, regimes = frames([0] * 30, [[0.9, 0.1]] * 24 + [[0.9, 0.1, 0.0]] * 6)
    with pytest.raises(UsageError, match="2 regimes before 2025-02-02 and 3 from then on"):
        report_page(bars, regimes, BTC, HOUR, market=REAL_MARKET)


def test_the_page_opens_offline_with_plotly_inside(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert [link for link in links.found if re.match(r"(https?:)?//", link)] == []
    assert len(page) > 3_000_000
    assert "Plotly.newPlot(" in page


def test_a_span_without_regimes_is_refused_and_no_file_is_left(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="run `tradecore predict` first"):
        write_report(
            chain.adapters.layout, BTC, HOUR, start=day_start(FIRST), end=day_start(FEBRUARY), path=tmp_path / "a.html"
        )
    assert list(tmp_path.iterdir()) == []
