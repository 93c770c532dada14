import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.serving.svg import Chart, log_ticks, round_ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_round_inside_and_not_too_many(low: float, span: float, count: int) -> None:
    ticks = round_ticks(low, low + span, count=count)
    assert all(low - 1e-6 * span - 1e-9 <= tick <= low + span * (1 + 1e-6) + 1e-9 for tick in ticks)
    assert len(ticks) <= count + 1


def test_log_ticks_are_the_rounder_the_more_decades_there_are() -> None:
    assert log_ticks(50, 160) == [50, 70, 100, 150]
    assert log_ticks(0.3, 12) == [0.5, 1.0, 2.0, 5.0, 10.0]
    assert log_ticks(0.0005, 2) == [0.001, 0.01, 0.1, 1.0]


def test_the_corners_of_the_range_are_the_corners_of_the_plot() -> None:
    chart = Chart(200, 100, (0.0, 10.0), (1.0, 100.0), log_y=True)
    assert chart.across(np.array([0.0, 10.0])).tolist() == [52.0, 190.0]
    assert chart.down(np.array([100.0, 10.0, 1.0])) == pytest.approx([10.0, 43.0, 76.0])
    assert chart.down(np.array([0.0, 1e9])) == pytest.approx([76.0, 10.0])


def test_a_line_breaks_where_there_is_no_value() -> None:
    chart = Chart(200, 100, (0.0, 3.0), (0.0, 1.0))
    drawn = chart.line(np.arange(4.0), np.array([0.0, np.nan, 1.0, 1.0]), "#000")
    assert drawn.count("M") == 2
    assert "nan" not in drawn


def test_words_cannot_end_their_element() -> None:
    chart = Chart(200, 100, (0.0, 1.0), (0.0, 1.0))
    assert "<script" not in chart.drawn(chart.x_axis([(0.5, "<script>")]), label='"><script>')
