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
from tradecore_pipeline.serving.regime_chart import regime_chart
from tradecore_pipeline.serving.regime_report import report_page, write_report
from tradecore_pipeline.serving.regime_rows import regime_rows
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, FIRST, HOUR, MARCH, Chain

THRESHOLD = 0.6


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
    written = write_report(
        layout, BTC, HOUR, start=day_start(FEBRUARY), end=day_start(MARCH), label_threshold=THRESHOLD, path=target
    )
    assert written == target
    return target.read_text(encoding="utf-8")


def test_the_page_of_a_simulated_home_says_so(page: str) -> None:
    assert '<span class="simulated">SIMULATED</span>' in page
    assert "a simulated:seed11-2024-12-20 market" in page


def test_the_page_of_a_real_market_does_not_say_simulated(chain: Chain) -> None:
    lake, span = chain.adapters.lake, (day_start(FEBRUARY), day_start(MARCH))
    bars, regimes = (lake.read(table, BTC, *span, timeframe=HOUR) for table in (BARS, REGIMES))
    assert "SIMULATED" not in report_page(bars, regimes, BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET)


def test_the_page_names_the_regimes_and_scores_every_month(page: str) -> None:
    for name in ("Calm", "Normal", "Turbulent"):
        assert f"</span>{name}</td>" in page
    cells = re.findall(r"<td>((?:Bear|Chop|Bull)[^<]*)</td>", page)
    assert {name for name in ("Bear", "Chop", "Bull") if any(name in cell for cell in cells)} == {
        "Bear",
        "Chop",
        "Bull",
    }
    assert all(re.search(r"\((not significant|significant in \d+% of its bars)\)$", cell) for cell in cells)
    assert "<td>2025-02</td>" in page
    assert "<td>all</td>" in page


def frames(states: Sequence[int], probabilities: Sequence[list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bars and regimes whose most probable states are these; no row has a score or a published label."""
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
            "held_index": pd.array([None] * len(states), dtype="Int32"),
            "forecast_volatility": 0.01,
            "log_score": np.nan,
            "har_log_score": np.nan,
        },
        index=index,
    )
    return bars.assign(realized_variance=1e-4), regimes


def statistics_rows(page: str) -> dict[str, list[str]]:
    """The cells of the first table by regime, without its name."""
    table = page.split("<h2>What each regime was like</h2>")[1].split("</table>", maxsplit=1)[0]
    rows = re.findall(r"</span>(Calm|Normal|Turbulent)</td><td>(.*?)</td></tr>", table)
    return {name: text.split("</td><td>") for name, text in rows}


def test_a_regime_that_never_came_leaves_the_others_their_names() -> None:
    sure = {1: [0.1, 0.8, 0.1], 2: [0.1, 0.2, 0.7]}
    states = [1, 2, 2, 1, 2]
    bars, regimes = frames(states, [sure[k] for k in states])
    cells = statistics_rows(report_page(bars, regimes, BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET))
    assert {name: row[:4] for name, row in cells.items()} == {
        "Calm": ["", "0", "0.0%", "-"],
        "Normal": ["Bull (not significant)", "2", "40.0%", "1.0"],
        "Turbulent": ["Bear (not significant)", "3", "60.0%", "1.5"],
    }
    assert cells["Calm"][4:] == ["-", "-"]
    traces = regime_chart(regime_rows(bars, regimes, HOUR, label_threshold=THRESHOLD)).data
    candles = {trace.name: len(trace.x) for trace in traces if trace.type == "candlestick"}
    assert candles == {"Calm": 0, "Normal": 2, "Turbulent": 3}
    areas = {trace.name: trace for trace in traces if trace.type == "scatter" and trace.stackgroup == "probability"}
    assert {name: area.y[0] for name, area in areas.items()} == {"Calm": 0.1, "Normal": 0.8, "Turbulent": 0.1}
    assert {name: area.showlegend for name, area in areas.items()} == {
        "Calm": True,
        "Normal": False,
        "Turbulent": False,
    }


def test_labels_are_held_until_another_regime_is_clearly_likelier_and_probabilities_stay_as_published() -> None:
    probabilities = [[0.9, 0.1, 0.0], [0.45, 0.55, 0.0], [0.5, 0.5, 0.0], [0.3, 0.7, 0.0], [0.55, 0.45, 0.0]]
    bars, regimes = frames([0, 1, 0, 1, 0], probabilities)
    rows = regime_rows(bars, regimes, HOUR, label_threshold=THRESHOLD)
    assert rows.held.tolist() == [0, 0, 0, 1, 1]
    areas = [trace for trace in regime_chart(rows).data if trace.type == "scatter" and trace.stackgroup]
    assert np.column_stack([area.y for area in areas]).tolist() == probabilities


def test_a_page_calls_states_of_equal_volatility_by_no_level() -> None:
    bars, regimes = frames([0, 1, 2], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.2, 0.8]])
    equal = regimes.assign(volatility_regime=["Equal 1", "Equal 2", "Equal 3"])
    names = regime_rows(bars, equal, HOUR, label_threshold=THRESHOLD).names
    assert names == ("Equal 1", "Equal 2", "Equal 3")
    mixed = regimes.assign(volatility_regime=["Calm", "Equal 2", "Equal 3"])
    names = regime_rows(bars, mixed, HOUR, label_threshold=THRESHOLD).names
    assert names == ("Calm / Equal 1", "Normal / Equal 2", "Turbulent / Equal 3")


def test_labels_are_those_that_were_published_under_whatever_threshold() -> None:
    bars, regimes = frames([0, 1, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.2, 0.8, 0.0]])
    published = regimes.assign(held_index=np.array([1, 0, 1], dtype=np.int32))
    rows = regime_rows(bars, published, HOUR, label_threshold=THRESHOLD)
    assert (rows.held.tolist(), rows.computed) == ([1, 0, 1], 0)
    page = report_page(bars, published, BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET)
    assert "The labels are as published." in page
    assert "without a label" not in page


def test_a_row_without_a_published_label_gets_a_computed_one_and_the_page_says_so() -> None:
    bars, regimes = frames([0, 1, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.2, 0.8, 0.0]])
    published = regimes.assign(held_index=pd.array([0, None, 0], dtype="Int32"))
    rows = regime_rows(bars, published, HOUR, label_threshold=THRESHOLD)
    assert (rows.held.tolist(), rows.computed) == ([0, 1, 0], 1)
    page = report_page(bars, published, BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET)
    assert "1 of the 3 bars were published without a label" in page
    assert f"probability exceeds {THRESHOLD:g}" in page


def test_the_mean_of_the_bar_after_is_told_with_its_interval() -> None:
    random = np.random.default_rng(3)
    bars, regimes = frames([0] * 400, [[0.9, 0.1, 0.0]] * 400)
    bars = bars.assign(close=100 * np.exp(np.cumsum(random.normal(0.001, 0.01, 400))))
    cells = statistics_rows(report_page(bars, regimes, BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET))
    mean, low, high = map(float, re.findall(r"[+-][\d.]+", cells["Calm"][4]))
    assert mean == pytest.approx(10_000 * np.diff(np.log(bars["close"])).mean(), abs=0.006)
    assert low < mean < high
    assert cells["Turbulent"][4:] == ["-", "-"]


def test_transitions_are_counted_over_the_labels_shown_but_not_over_a_gap() -> None:
    bars, regimes = frames([0, 0, 1, 1, 1, 0], [[0.9, 0.1, 0.0]] * 2 + [[0.1, 0.9, 0.0]] * 3 + [[0.9, 0.1, 0.0]])
    kept = [0, 1, 2, 3, 5]
    page = report_page(bars.iloc[kept], regimes.iloc[kept], BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET)
    table = page.split("<h2>From one bar to the next</h2>")[1].split("</table>")[0]
    rows = {name: text.split("</td><td>") for name, text in re.findall(r"</span>(\w+)</td><td>(.*?)</td></tr>", table)}
    assert rows == {
        "Calm": ["0.5000", "0.5000", "0.0000", "1"],
        "Normal": ["0.0000", "1.0000", "0.0000", "0"],
        "Turbulent": ["-", "-", "-", "0"],
    }


def test_the_trend_is_drawn_where_the_rows_tell_it_and_says_what_it_is() -> None:
    bars, regimes = frames([0, 0], [[0.9, 0.1, 0.0]] * 2)
    plain, told = (
        regime_chart(regime_rows(bars, given, HOUR, label_threshold=THRESHOLD))
        for given in (regimes, regimes.assign(trend=[1, -1]))
    )
    assert "trend" not in {trace.name for trace in plain.data}
    assert list(next(trace for trace in told.data if trace.name == "trend").y) == [1, -1]
    assert any("unproven" in note.text for note in told.layout.annotations)


def test_a_month_without_scores_has_no_figures() -> None:
    page = report_page(*frames([0], [[1.0, 0.0, 0.0]]), BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET)
    assert "<td>2025-02</td><td>-</td><td>-</td><td>-</td>" in page


def test_months_with_different_numbers_of_regimes_are_not_drawn_as_one() -> None:
    bars, regimes = frames([0] * 30, [[0.9, 0.1]] * 24 + [[0.9, 0.1, 0.0]] * 6)
    with pytest.raises(UsageError, match="2 regimes before 2025-02-02 and 3 from then on"):
        report_page(bars, regimes, BTC, HOUR, label_threshold=THRESHOLD, market=REAL_MARKET)


def test_the_page_opens_offline_with_plotly_inside(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert [link for link in links.found if re.match(r"(https?:)?//", link)] == []
    assert len(page) > 3_000_000
    assert "Plotly.newPlot(" in page


def test_a_span_without_regimes_is_refused_and_no_file_is_left(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="run `tradecore predict` first"):
        write_report(
            chain.adapters.layout,
            BTC,
            HOUR,
            start=day_start(FIRST),
            end=day_start(FEBRUARY),
            label_threshold=THRESHOLD,
            path=tmp_path / "a.html",
        )
    assert list(tmp_path.iterdir()) == []
