from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.tables import TIMESTAMP
from tradecore_pipeline.quality.gaps import find_gaps

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)


def keys(*slots: int) -> pa.Array:
    return pa.array([START + STEP * slot for slot in slots], type=TIMESTAMP)


def test_runs_of_missing_points_are_gaps_at_both_ends_and_between() -> None:
    gaps = find_gaps(keys(1, 2, 5), start=START, end=START + 8 * STEP, step=STEP)
    assert gaps == (
        Gap(START, START, 1),
        Gap(START + 3 * STEP, START + 4 * STEP, 2),
        Gap(START + 6 * STEP, START + 7 * STEP, 2),
    )


def test_an_empty_window_has_no_gaps_and_no_keys_are_one() -> None:
    assert find_gaps(keys(), start=START, end=START, step=STEP) == ()
    assert find_gaps(keys(), start=START, end=START + 3 * STEP, step=STEP) == (Gap(START, START + 2 * STEP, 3),)


def test_a_window_that_ends_between_points_counts_the_last_one_begun() -> None:
    assert find_gaps(keys(0), start=START, end=START + STEP + timedelta(seconds=1), step=STEP)[0].missing == 1


def test_keys_outside_the_window_or_off_the_grid_fill_nothing() -> None:
    strays = pa.array([START - STEP, START + timedelta(minutes=1), START + 9 * STEP], type=TIMESTAMP)
    assert find_gaps(strays, start=START, end=START + 2 * STEP, step=STEP)[0].missing == 2


@given(st.sets(st.integers(0, 40)), st.integers(0, 41), st.randoms(use_true_random=False))
def test_gaps_are_exactly_the_points_without_a_key(present: set[int], count: int, shuffle: object) -> None:
    order = [*present, *list(present)[:3]]
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    gaps = find_gaps(keys(*order), start=START, end=START + count * STEP, step=STEP)
    listed = [gap.first_missing + STEP * n for gap in gaps for n in range(gap.missing)]
    assert listed == [START + STEP * slot for slot in range(count) if slot not in present]
    assert all(gap.last_missing == gap.first_missing + STEP * (gap.missing - 1) for gap in gaps)
