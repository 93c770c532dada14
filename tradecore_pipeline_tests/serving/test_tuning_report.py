import re
from datetime import date
from pathlib import Path

import pytest

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS
from tradecore_pipeline.serving.tuning_months import Asked, Gain, ObjectiveFacts, TunedMonth, TuningReport
from tradecore_pipeline.serving.tuning_report import importance_picture, tuning_page, write_tuning_report
from tradecore_pipeline.serving.tuning_words import MONTH_COLUMNS, brief_month_cells, month_cells, verdicts
from tradecore_pipeline.tuning.objective import OBJECTIVES
from tradecore_pipeline_tests.chain import BTC, HOUR


def report(gain: Gain, *, months: int = 3) -> TuningReport:
    asked = Asked(BTC, HOUR, "log_absolute_return", window_bars=480, folds=4, seed=7)
    facts = ObjectiveFacts(Gain(0.3, 6.0), 0.25, Gain(-0.001, None))
    return TuningReport(
        asked=asked,
        months=tuple(
            TunedMonth(
                month=date(2025, 1 + place, 1),
                bars=700,
                inner_default=1.02,
                inner_tuned=1.01,
                test_default=1.03,
                test_tuned=1.025 + place / 100,
                test_har=1.0,
                gain=Gain(0.005 - place / 100, 1.0),
                moved={"rsi_length": (14, 9), "adx_length": (14, 20)} if place else {},
                rank_correlations=dict.fromkeys(OBJECTIVES, 0.25),
            )
            for place in range(months)
        ),
        gain=gain,
        indicator_gain=Gain(-0.02, -3.0),
        objectives=dict.fromkeys(OBJECTIVES, facts),
        skipped=("2025-04: there is no <bar>",),
    )


def test_the_page_has_every_month_and_asks_nobody_for_anything() -> None:
    text = tuning_page(report(Gain(0.004, 1.2)), market=REAL_MARKET)
    rows = re.findall(r"<td>(\d{4}-\d\d|all)</td><td>([\d,]+)</td>", text)
    assert rows == [("2025-01", "700"), ("2025-02", "700"), ("2025-03", "700"), ("all", "2,100")]
    assert "rsi 14 to 9, adx 14 to 20" in text
    assert "2025-04: there is no &lt;bar&gt;" in text
    assert all(f"<td>{name}</td>" in text for name in OBJECTIVES)
    assert re.findall(r"(?:src|href)=|<script|url\(", text) == []
    assert "SIMULATED" not in text
    simulated = tuning_page(report(Gain(0.004, 1.2)), market="simulated:seed11")
    assert "SIMULATED" in simulated
    assert "a simulated market (seed11)" in simulated


def test_no_two_columns_have_the_same_name_and_a_terminal_gets_short_rows() -> None:
    assert len(set(MONTH_COLUMNS)) == len(MONTH_COLUMNS)
    month = report(Gain(0.004, 1.2)).months[1]
    assert brief_month_cells(month)[-1] == f"2 of {len(DEFAULT_PARAMETERS.to_dict())}"
    assert brief_month_cells(month)[:-1] == month_cells(month)[:-1]


def test_one_month_without_any_difference_has_a_page(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "page.html"
    assert write_tuning_report(report(Gain(0.0, None), months=1), market=REAL_MARKET, path=target) == target
    assert "cannot be told from the defaults" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Gain(0.004, 2.5), "Tuned lengths beat the defaults out-of-sample: +0.0040"),
        (Gain(-0.004, -2.5), "Tuned lengths lose to the defaults out-of-sample: -0.0040"),
        (Gain(0.004, 1.9), "Tuned lengths cannot be told from the defaults"),
        (Gain(0.0, None), "Tuned lengths cannot be told from the defaults"),
    ],
)
def test_the_verdict_claims_no_more_than_the_months_show(gain: Gain, words: str) -> None:
    first, second = verdicts(report(gain))
    assert words in first
    assert "lose to HAR terms alone" in second


def test_the_importances_are_drawn_greatest_first() -> None:
    picture = importance_picture({"adx_length": 0.2, "rsi_length": 0.7, "obv_length": 0.1})
    assert re.findall(r">(\w+_length)<", picture) == ["rsi_length", "adx_length", "obv_length"]
    assert [float(width) for width in re.findall(r'<rect x="\d+" y="\d+" width="([\d.]+)"', picture)] == pytest.approx(
        [320, 320 * 2 / 7, 320 / 7], abs=0.1
    )
    assert importance_picture({}).count("<rect") == 1
