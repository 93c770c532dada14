"""How two versions of a day differ: by value, whatever their layout."""

from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.differences import Difference, differences
from tradecore_pipeline_tests.storage.days import DAY, funding, minute_bars, open_interest

FIVE = timedelta(minutes=5)


def _set(rows: pa.Table, name: str, values: list[object]) -> pa.Table:
    place = rows.column_names.index(name)
    return rows.set_column(place, rows.schema.field(name), pa.array(values, rows.schema.field(name).type))


def test_the_same_rows_do_not_differ_whatever_their_layout() -> None:
    rows = minute_bars()
    chunked = pa.concat_tables([rows.slice(0, 7), rows.slice(7)]).select(rows.column_names[::-1])
    same = differences(BARS_1M, rows, chunked)
    assert (same, bool(same), str(same)) == (Difference(0, 0, 0, None), False, "")


def test_added_removed_and_changed_rows_are_told_apart() -> None:
    old, new = open_interest().slice(0, 280), open_interest().slice(3)
    base = new.column("open_interest_base").to_pylist()
    found = differences(OPEN_INTEREST, old, _set(new, "open_interest_base", [*base[:4], -1.0, *base[5:]]))
    assert found == Difference(added=8, removed=3, changed=1, first_changed_key=day_start(DAY))
    assert str(found) == "rows: 1 changed, 8 added, 3 removed, the first at 2022-05-01 00:00 UTC"


def test_a_price_that_moved_by_the_last_digit_differs() -> None:
    rows = minute_bars()
    prices = rows.column("close").to_pylist()
    moved = _set(rows, "close", [*prices[:77], prices[77] + Decimal("1e-8"), *prices[78:]])
    assert prices[77] != moved.column("close")[77].as_py()
    found = differences(BARS_1M, rows, moved)
    assert found == Difference(0, 0, 1, day_start(DAY) + timedelta(minutes=77))


def test_null_equals_null_and_nothing_else() -> None:
    rows = funding()
    assert rows.column("funding_interval_minutes").null_count == 1
    assert not differences(FUNDING_RATES, rows, rows)
    filled = _set(rows, "funding_interval_minutes", [480, 480, 480])
    assert differences(FUNDING_RATES, rows, filled).changed == 1
    assert differences(FUNDING_RATES, filled, rows).changed == 1


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_counts_are_those_of_sets(left: set[int], right: set[int], touched: set[int]) -> None:
    old, new = (open_interest().take(pa.array(sorted(places), pa.int64())) for places in (left, right))
    marks = pa.array([place in touched for place in sorted(right)], pa.bool_())
    values = pc.if_else(marks, pa.scalar(1.0), new.column("open_interest_base"))
    found = differences(OPEN_INTEREST, old, _set(new, "open_interest_base", values.to_pylist()))
    changed = left & right & touched
    assert (found.added, found.removed, found.changed) == (len(right - left), len(left - right), len(changed))
    first = min((left ^ right) | changed, default=None)
    assert found.first_changed_key == (None if first is None else day_start(DAY) + first * FIVE)
