"""Numbers kept as integers of the smallest exact decimal scale: smaller files, and the very same numbers back."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, PRICE, Column
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.encoding import encode_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.scaling import narrowed, nearest_doubles
from tradecore_pipeline_tests.storage.days import BTC, DAY, minute_bars, moments

PLACES = st.integers(min_value=0, max_value=8)
DECIMAL_FLOATS = st.tuples(st.integers(min_value=-(2**53), max_value=2**53), PLACES).map(lambda x: x[0] / 10 ** x[1])
ANY_FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def _bits(values: np.ndarray) -> list[int]:
    return np.asarray(values, dtype=np.float64).view(np.int64).tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(DECIMAL_FLOATS | ANY_FLOATS | st.none(), max_size=40))
@example([-0.0])
@example([0.1 + 0.2])
@example([1e308, 1.0])
@example([None, None])
@example([2.0**53, 2.0**53 + 2, 0.5])
def test_every_float_comes_back_bit_for_bit(values: list[float | None]) -> None:
    floats = pa.array(values, pa.float64())
    kept = narrowed(floats)
    assert kept.is_null().equals(floats.is_null())
    back = nearest_doubles(kept) if pa.types.is_decimal(kept.type) else kept.to_numpy(zero_copy_only=False)
    known = floats.is_valid().to_numpy(zero_copy_only=False)
    assert _bits(back[known]) == _bits(floats.drop_null().to_numpy())
    assert np.isnan(back[~known]).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(min_value=0, max_value=10**9), PLACES), min_size=1, max_size=40))
def test_every_price_keeps_its_digits_at_the_smallest_scale_that_holds_them(counts: list[tuple[int, int]]) -> None:
    prices = [Decimal(count).scaleb(-places) for count, places in counts]
    stored = pa.array(prices, PRICE)
    kept = narrowed(stored)
    assert kept.to_pylist() == prices
    needed = max(max(0, -int(price.normalize().as_tuple().exponent)) for price in prices)
    assert kept.type.scale == needed
    assert nearest_doubles(kept).tolist() == [float(price) for price in prices]


def test_volumes_in_lots_take_half_the_bytes_of_floats_and_others_stay_floats() -> None:
    volumes = pa.array(np.arange(1440) * 7 / 1000)
    assert narrowed(volumes).type == pa.decimal32(9, 3)
    assert narrowed(pa.array([12345678.901])).type == pa.decimal64(18, 3)
    thirds = pa.array([1 / 3, 0.25])
    assert narrowed(thirds) is thirds
    late = pa.array([0.5] * 20 + [1 / 3])
    assert narrowed(late) is late


def _days_of_many_scales() -> list[pa.Table]:
    """Whole prices first (their file's scale would be everybody's), then all 8 places; some volumes are no decimals."""
    scales, days = (0, 2, 8, 5, 0), []
    for offset, scale in enumerate(scales):
        rows = minute_bars(DAY + timedelta(days=offset), count=50, seed=offset)
        for name in ("open", "high", "low", "close"):
            units = [int(price * 1000) + 1 for price in rows[name].to_pylist()]
            prices = pa.array([Decimal(unit).scaleb(-scale) for unit in units], PRICE)
            rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), prices)
        if offset % 2:
            volumes = pa.array(np.asarray(rows["volume"]) / 3)
            rows = rows.set_column(5, rows.schema.field("volume"), volumes)
        days.append(rows)
    return days


def test_files_of_any_scale_in_one_view_and_one_frame_show_the_nearest_doubles(lake: Lake, layout: Layout) -> None:
    days = _days_of_many_scales()
    for offset, rows in enumerate(days):
        lake.publish(BARS_1M, BTC, DAY + timedelta(days=offset), rows, timeframe=None)
    paths = sorted(layout.series("bars_1m", BTC, timeframe=None).iterdir())
    kinds = [pq.ParquetFile(path).schema_arrow for path in paths]
    assert len({str(kind.field("open").type) for kind in kinds}) > 2
    assert {pa.types.is_decimal(kind.field("volume").type) for kind in kinds} == {True, False}

    whole = pa.concat_tables(days)
    frame = lake.read(BARS_1M, BTC, day_start(DAY), day_start(DAY + timedelta(days=len(days))))
    shown = Catalog(layout, [BTC], [], []).query("SELECT open, close, volume FROM bars_1m ORDER BY ts_open").rows
    for place, name in enumerate(("open", "close", "volume")):
        expected = [float(value) for value in whole[name].to_pylist()]
        assert frame[name].tolist() == expected
        assert [row[place] for row in shown] == expected
    for offset, rows in enumerate(days):
        assert lake.rows(BARS_1M, BTC, DAY + timedelta(days=offset)).equals(rows)


def test_files_written_before_there_were_scales_are_read_beside_new_ones(lake: Lake, layout: Layout) -> None:
    old, new = minute_bars(seed=1), minute_bars(DAY + timedelta(days=1), seed=2)
    path = layout.day("bars_1m", BTC, DAY, timeframe=None)
    path.parent.mkdir(parents=True)
    prices = dict.fromkeys(("ts_open", "open", "high", "low", "close", "trades"), "DELTA_BINARY_PACKED")
    options: dict[str, Any] = {"use_dictionary": False, "store_schema": False, "store_decimal_as_integer": True}
    pq.write_table(old, path, compression="zstd", column_encoding=prices, **options)
    lake.publish(BARS_1M, BTC, DAY + timedelta(days=1), new, timeframe=None)
    assert lake.rows(BARS_1M, BTC, DAY).equals(old)
    frame = lake.read(BARS_1M, BTC, day_start(DAY), day_start(DAY + timedelta(days=2)))
    for name in ("open", "volume", "quote_volume"):
        expected = [float(value) for rows in (old, new) for value in rows[name].to_pylist()]
        assert frame[name].tolist() == expected
        with Catalog(layout, [BTC], [], []).connect() as views:
            assert views.table("bars_1m").order("ts_open").project(name).fetchnumpy()[name].tolist() == expected


def test_many_files_come_in_order_through_the_batches(lake: Lake) -> None:
    days = [DAY + timedelta(days=offset) for offset in range(300)]
    for number, day in enumerate(days):
        lake.publish(BARS_1M, BTC, day, minute_bars(day, count=3, seed=number % 2), timeframe=None)
    start, end = day_start(days[0]), day_start(days[-1] + timedelta(days=1))
    frame = lake.read(BARS_1M, BTC, start, end, columns=["close"])
    assert frame.index.is_monotonic_increasing
    expected = [float(x) for number in range(300) for x in minute_bars(count=3, seed=number % 2)["close"].to_pylist()]
    assert frame["close"].tolist() == expected
    torn = lake.layout.day("bars_1m", BTC, days[200], timeframe=None)
    torn.write_bytes(b"PAR1")
    with pytest.raises(InvalidDataError, match=f"date={days[200]}.*cannot be read"):
        lake.read(BARS_1M, BTC, start, end)


def test_rows_may_share_a_moment_only_where_the_table_says_so() -> None:
    twice = minute_bars(count=2).take([0, 0])
    assert encode_day(replace(BARS_1M, unique_key=False), DAY, twice).rows == 2
    with pytest.raises(InvalidDataError, match="repeated"):
        encode_day(BARS_1M, DAY, twice)
    with pytest.raises(InvalidDataError, match="out of order"):
        encode_day(replace(BARS_1M, unique_key=False), DAY, minute_bars(count=2).take([1, 0]))


def test_moments_and_whole_numbers_that_may_be_missing_come_back_as_such(lake: Lake) -> None:
    moment = pa.timestamp("ms", tz="UTC")
    extra = (Column("until", moment, "UTC", "an end", nullable=True), Column("count", pa.int64(), "count", "n", True))
    table = replace(BARS_1M, name="extra", columns=(BARS_1M.columns[0], *extra))
    for offset in range(150):
        day = DAY + timedelta(days=offset)
        until = [None if offset == 3 else day_start(day), None]
        columns = {"ts_open": moments(day, timedelta(minutes=1), 2), "until": until, "count": [7, None]}
        lake.publish(table, BTC, day, pa.table(columns, schema=table.schema), timeframe=None)
    frame = lake.read(table, BTC, day_start(DAY), day_start(DAY + timedelta(days=150)))
    assert str(frame["until"].dtype) == "datetime64[us, UTC]"
    assert frame["until"].isna().tolist() == [index % 2 == 1 or index == 6 for index in range(300)]
    assert frame["until"].iloc[298] == day_start(DAY + timedelta(days=149))
    assert frame["count"].iloc[[0, 298]].tolist() == [7.0, 7.0]
    assert frame["count"].isna().tolist() == [index % 2 == 1 for index in range(300)]
