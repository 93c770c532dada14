"""The page of a review: every figure in it, nothing asked of the network, and no number of states without a place."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.review_charts import Limits, gain_chart, relabelled_chart, score_chart
from tradecore_pipeline.serving.review_report import Reviewed, review_page, told, write_review_report
from tradecore_pipeline_tests.chain import BTC, HOUR

LIMITS = Limits(least_occupancy=0.05, least_duration_bars=6.0, most_relabelled=0.2, least_gain_nats=0.01)
NAN = float("nan")


def row(states: int, **changes: Any) -> dict[str, Any]:
    shares = np.arange(states, 0, -1) / np.arange(1, states + 1).sum()
    return {
        "states": states, "log_likelihood_per_bar": -0.9, "next_bar_log_score": -0.4 + 0.01 * states,
        "score": -0.4 + 0.01 * states, "score_two_standard_errors": 0.02,
        "gain_over_fewer": NAN if states == 2 else 0.01, "two_standard_errors": NAN if states == 2 else 0.004,
        "least_occupancy": float(shares.min()), "occupancy": shares.tolist(), "relabelled_share": 0.08 * states,
        "expected_bars": (120.0 / np.arange(1, states + 1)).tolist(), "switches_per_1000_bars": 20.0 * states,
        "shown_switches_per_1000_bars": 10.0 * states, "objection": "",
    } | changes  # fmt: skip


FAILED = row(
    5, log_likelihood_per_bar=NAN, next_bar_log_score=NAN, score=NAN, score_two_standard_errors=NAN,
    gain_over_fewer=NAN, two_standard_errors=NAN, least_occupancy=NAN, occupancy=[], relabelled_share=NAN,
    expected_bars=[], switches_per_1000_bars=NAN, shown_switches_per_1000_bars=NAN,
    objection="no acceptable fit: state 4 of 5 held 2.0% of the window, under 5%",
)  # fmt: skip


def reviewed(**changes: Any) -> Reviewed:
    whole = Reviewed(
        BTC, HOUR, date(2022, 12, 1), [row(2), row(3), row(4), FAILED], 3, "3 states: 2 <is> simple", 3, LIMITS
    )
    return replace(whole, **changes)


def test_the_page_tells_the_recommendation_and_every_figure_and_opens_offline(tmp_path: Path) -> None:
    path = write_review_report(reviewed(), market=REAL_MARKET, path=tmp_path / "deep" / "page.html")
    text = path.read_text(encoding="utf-8")
    assert "3 states, which is what the settings ask for." in text
    assert "2 &lt;is&gt; simple" in text
    assert "SIMULATED" not in text
    assert text.count("<svg ") == 5
    assert "<script" not in text
    assert re.findall(r"(?:src|href)=|url\(", text) == []
    for figure in ("-0.3700", "+0.0100", "0.0040", "16.7%", "24.0%", "120, 60, 40", "under 5%"):
        assert figure in text
    taken = re.findall(r'<tr class="taken"><td>(\d)</td>', text)
    assert taken == ["3"]
    assert re.findall(r"\bnan\b", text) == []


def test_a_simulated_market_says_so() -> None:
    page = review_page(reviewed(), market="simulated:seed1-2024-01-01")
    assert '<span class="simulated">SIMULATED</span>' in page
    assert ", a simulated market (seed1-2024-01-01). Its second half" in page


@pytest.mark.parametrize(
    ("recommended", "asked", "words"),
    [
        (3, 3, "3 states, which is what the settings ask for."),
        (2, 3, "2 states; the settings ask for 3."),
        (None, 3, "No number of states that was reviewed is acceptable in this window."),
    ],
)
def test_the_recommendation_is_one_sentence(recommended: int | None, asked: int, words: str) -> None:
    assert told(reviewed(recommended=recommended, hmm_states=asked)) == words


def test_error_bars_reach_two_standard_errors_to_either_side() -> None:
    wide, narrow = (score_chart([row(2), row(3, score_two_standard_errors=error)]) for error in (0.02, 0.0))
    assert wide != narrow
    # A dot for each number, its bar, and an end on either side.
    assert (wide.count("<circle"), wide.count('stroke-width="1.5"')) == (2, 6)


def test_without_a_figure_there_is_no_chart_and_no_column() -> None:
    assert not gain_chart([row(2)], LIMITS)
    assert score_chart([FAILED]) == ""
    assert relabelled_chart([row(2), FAILED], LIMITS).count("<rect") == 1
    alone = review_page(reviewed(rows=[FAILED], recommended=None), market=REAL_MARKET)
    assert "no acceptable fit" in alone
    assert alone.count("<svg ") == 3
