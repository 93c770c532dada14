from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.serving.lstm_shape_card import IMPORTANCE, PAGE, folds_table, shape_card, shapes_table, verdict
from tradecore_pipeline.tuning.lstm_plan import FoldScore, ShapeResult, ShapeTrial

BEST = replace(DEFAULT_SHAPE, hidden=24, learning_rate=0.0012345)
RESULT = ShapeResult(
    shape=BEST,
    best=BEST,
    default=DEFAULT_SHAPE,
    gain=0.0021,
    gain_error=0.0007,
    best_trial=2,
    trials=(ShapeTrial(DEFAULT_SHAPE, 0.001, 2), ShapeTrial(DEFAULT_SHAPE, -0.1, 1), ShapeTrial(BEST, 0.0031, 2)),
    folds=(
        FoldScore("2022-01-05T01:00:00+00:00", 1200, -0.5, -0.499, -0.497),
        FoldScore("2022-05-05T01:00:00+00:00", 1199, -0.6, -0.599, -0.5968),
    ),
    importances={"hidden": 0.7, "learning_rate": 0.3},
    first_ts_open=datetime(2021, 1, 1, tzinfo=UTC),
    last_ts_close=datetime(2022, 12, 31, 23, tzinfo=UTC),
    study_name="lstm_shape test",
    notes=("the fold from 2022-01-05 has no regimes (<why>)",),
)


def test_the_verdict_says_what_is_in_force_and_why() -> None:
    assert "ahead of the default by +0.0021 nats a bar (standard error 0.0007)" in verdict(RESULT)
    assert "2.0 standard errors are asked of the best of so many, so it replaces the default" in verdict(RESULT)
    assert "3 shapes (1 given up early), 2,399 held-out bars in 2 folds" in verdict(RESULT)
    assert "Note: the fold from 2022-01-05 has no regimes" in verdict(RESULT)
    kept = replace(RESULT, shape=DEFAULT_SHAPE, gain=0.0005)
    assert "so the default stays in force" in verdict(kept)
    assert "standard error unknown, too few bars" in verdict(replace(kept, gain_error=float("nan")))
    assert verdict(replace(kept, best=DEFAULT_SHAPE)).startswith("The default stays in force: no trial beat it.")


def test_tables_hold_best_and_default_by_choice_and_by_fold() -> None:
    assert "| width | 32 | 24 | 24 | 70% |" in shapes_table(RESULT)
    usual = f"{DEFAULT_SHAPE.dropout:.3g}"
    assert f"| dropout | {usual} | {usual} | {usual} | - |" in shapes_table(RESULT)
    assert "| 2022-05-05 | 1,199 | -0.6000 | +0.0010 | +0.0032 | +0.0022 |" in folds_table(RESULT)


def test_the_card_is_a_page_that_asks_nobody_with_numbers_by_trial() -> None:
    card = shape_card("binance:BTC/USDT 1h 2023", RESULT)
    assert set(card.figures) == {PAGE, IMPORTANCE}
    page = card.figures[PAGE].decode()
    HTMLParser().feed(page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "&lt;why&gt;" in page
    assert "1, given up" in page
    assert card.series["trial_gain_over_har"] == [0.001, -0.1, 0.0031]
    assert card.metrics["best_gain_over_har"] == 0.0031
    assert all(np.isfinite(value) for value in card.metrics.values())


@pytest.mark.parametrize("error", [float("nan"), 0.0007])
def test_what_is_not_known_is_no_metric(error: float) -> None:
    card = shape_card("x", replace(RESULT, importances={}, gain_error=error))
    assert set(card.figures) == {PAGE}
    assert ("gain_standard_error" in card.metrics) is bool(error == error)  # noqa: PLR0124 (NaN)
