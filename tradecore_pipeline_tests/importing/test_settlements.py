"""Imported settlements are judged as fetched ones are: by what lies around each day, whatever lies beyond."""

from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.settlements import LONGEST_INTERVAL, is_doubtful
from tradecore_pipeline.importing.settlements import measured, whole_days
from tradecore_pipeline_tests.storage.days import DAY

ONE_DAY = timedelta(days=1)


def settled(hours: Sequence[int], told: Sequence[int | None] | None = None) -> pa.Table:
    """Settlements at these hours after ``DAY`` began, and the intervals their file told."""
    moments = [day_start(DAY) + timedelta(hours=hour) for hour in hours]
    values = [moments, [1e-4] * len(hours), [None] * len(hours) if told is None else told]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(values, FUNDING_RATES.schema, strict=True)],
        schema=FUNDING_RATES.schema,
    )


def doubtful_days(rows: pa.Table) -> set[date]:
    """As fetched days are judged: over all rows at once."""
    days = {moment.date() for moment in rows.column("ts_settle").to_pylist()}
    return {
        day
        for day in days
        if is_doubtful(rows, start=day_start(day), end=day_start(day) + ONE_DAY, longest=LONGEST_INTERVAL)
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=4), st.sets(st.integers(0, 80), max_size=4))
def test_a_day_inside_is_whole_exactly_where_a_fetched_one_lacks_nothing(steps: list[int], lost: set[int]) -> None:
    hours = [0]
    for step in steps:  # three days at each interval, the first settlement at midnight
        hours += list(range(hours[-1] + step, hours[-1] - hours[-1] % 24 + 73, step))
    rows = measured(settled([hour for place, hour in enumerate(hours) if place not in lost or place < 2]))
    days = {moment.date() for moment in rows.column("ts_settle").to_pylist()}
    ends = {min(days), max(days)}
    assert whole_days(rows) - ends == days - doubtful_days(rows) - ends


@pytest.mark.parametrize("hours", [[0], [0, 100], [5, 6]])
def test_settlements_too_few_to_tell_an_interval_make_no_day_whole(hours: list[int]) -> None:
    assert whole_days(measured(settled(hours))) == set()


def test_the_file_is_believed_only_where_the_interval_cannot_be_measured() -> None:
    rows = measured(settled([0, 8, 12, 40, 48], [480, 999, None, 240, None]))
    assert rows.column("funding_interval_minutes").to_pylist() == [480, 480, 240, 240, 480]
