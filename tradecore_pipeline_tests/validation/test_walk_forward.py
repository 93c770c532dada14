from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.validation.walk_forward import training_window, walk_forward_folds


@given(
    month=st.dates(date(2019, 9, 1), date(2030, 1, 1)),
    bars=st.integers(1, 30_000),
    name=st.sampled_from(["5m", "1h", "4h", "1d"]),
)
def test_the_label_of_the_last_training_bar_is_closed_when_the_month_begins(month: date, bars: int, name: str) -> None:
    timeframe = Timeframe(name)
    start, end = training_window(month, bars=bars, timeframe=timeframe)
    last_open = end - timeframe.duration
    label_close = last_open + 2 * timeframe.duration
    assert label_close == datetime(month.year, month.month, 1, tzinfo=UTC)
    assert (end - start) / timeframe.duration == bars


def test_a_window_of_half_a_year_of_hours() -> None:
    start, end = training_window(date(2022, 8, 15), bars=4320, timeframe=Timeframe("1h"))
    assert end == datetime(2022, 7, 31, 23, tzinfo=UTC)
    assert end - start == timedelta(days=180)


@given(rows=st.integers(60, 500), folds=st.integers(2, 6), purge=st.integers(0, 5))
def test_folds_test_every_row_after_the_first_block_once_and_train_on_all_before_but_the_purge(
    rows: int, folds: int, purge: int
) -> None:
    parts = walk_forward_folds(rows, folds, purge_bars=purge)
    first = parts[0][1][0]
    assert first == rows // (folds + 1)
    np.testing.assert_array_equal(np.concatenate([test for _, test in parts]), np.arange(first, rows))
    for train, test in parts:
        np.testing.assert_array_equal(train, np.arange(test[0] - purge))


def test_folds_that_cannot_be_cut_are_refused() -> None:
    for rows, purge in ((10, 3), (2, 0)):
        with pytest.raises(NotEnoughHistoryError, match="lengthen"):
            walk_forward_folds(rows, 2, purge_bars=purge)
