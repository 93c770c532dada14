"""Days and documents: exact, whole, deterministic."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST, REGIMES, features_table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.atomic import _remove_stale
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.storage.days import (
    BTC,
    DAY,
    ETH,
    HOUR,
    PRICE_NAMES,
    funding,
    hour_bars,
    minute_bars,
    open_interest,
    regimes,
)

START, END = day_start(DAY), day_start(DAY + timedelta(days=1))


def test_the_same_rows_make_the_same_bytes_in_any_home(tmp_path: Path) -> None:
    first, second = Lake(Layout(tmp_path / "a")), Lake(Layout(tmp_path / "b"))
    stored = first.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    second.publish(BARS_1M, BTC, DAY, minute_bars(seed=2), timeframe=None)
    again = second.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    assert again.path.read_bytes() == stored.path.read_bytes()
    assert (again.rows, again.sha256, again.bytes) == (1440, stored.sha256, stored.path.stat().st_size)


def test_a_stored_file_has_the_tables_columns_and_values_for_any_parquet_reader(lake: Lake) -> None:
    for table, rows, timeframe in (
        (BARS_1M, minute_bars(), None),
        (FUNDING_RATES, funding(), None),
        (OPEN_INTEREST, open_interest(), None),
        (BARS, hour_bars(), HOUR),
        (REGIMES, regimes(), HOUR),
    ):
        stored = lake.publish(table, BTC, DAY, rows, timeframe=timeframe)
        read = pq.ParquetFile(stored.path).read()
        # Numbers have the scale that this file needs; as numbers they are the table's.
        assert [(f.name, f.nullable) for f in read.schema] == [(f.name, f.nullable) for f in table.schema], table.name
        assert _as_floats(read) == _as_floats(rows), table.name
        assert lake.rows(table, BTC, DAY, timeframe=timeframe).equals(rows), table.name


def _as_floats(rows: pa.Table) -> list[list[object]]:
    return [[float(x) if isinstance(x, Decimal) else x for x in column.to_pylist()] for column in rows.columns]


def test_reading_gives_floats_ints_and_a_utc_index(lake: Lake) -> None:
    rows = minute_bars()
    lake.publish(BARS_1M, BTC, DAY, rows, timeframe=None)
    frame = lake.read(BARS_1M, BTC, START, END)
    assert str(frame.index.dtype) == "datetime64[us, UTC]"
    assert frame.index.name == "ts_open"
    assert frame["trades"].dtype == np.int64
    assert (frame["ts_close"] - frame.index == pd.Timedelta(minutes=1)).all()
    for name in PRICE_NAMES:
        assert frame[name].tolist() == [float(price) for price in rows[name].to_pylist()]
    assert frame["volume"].tolist() == rows["volume"].to_pylist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=2**52), min_size=1, max_size=60))
def test_every_price_comes_back_as_the_nearest_double_and_can_be_stored_again(units: list[int]) -> None:
    rows = minute_bars(count=len(units))
    prices = pa.array([Decimal(unit).scaleb(-8) for unit in units], pa.decimal128(18, 8))
    rows = rows.set_column(1, rows.schema.field("open"), prices)
    with TemporaryDirectory() as home:
        lake = Lake(Layout(Path(home)))
        lake.publish(BARS_1M, BTC, DAY, rows, timeframe=None)
        frame = lake.read(BARS_1M, BTC, START, END)
        assert frame["open"].tolist() == [float(price) for price in prices.to_pylist()]
        lake.publish(BARS_1M, ETH, DAY, frame.drop(columns="ts_close"), timeframe=None)
        assert lake.read(BARS_1M, ETH, START, END)["open"].tolist() == frame["open"].tolist()


def test_reading_takes_start_and_leaves_end_out_across_days(lake: Lake) -> None:
    for offset in range(4):
        day = DAY + timedelta(days=offset)
        lake.publish(BARS_1M, BTC, day, minute_bars(day, seed=offset), timeframe=None)
    start, end = START + timedelta(hours=12), START + timedelta(days=2, minutes=1)
    frame = lake.read(BARS_1M, BTC, start, end, columns=["close"])
    assert list(frame.columns) == ["close"]
    assert (frame.index[0], frame.index[-1], len(frame)) == (start, end - timedelta(minutes=1), 720 + 1440 + 1)
    assert frame.index.is_monotonic_increasing
    assert lake.read(BARS_1M, BTC, end, start).empty


def test_a_window_without_files_is_a_frame_of_the_same_types(lake: Lake) -> None:
    empty = lake.read(BARS_1M, BTC, START, END)
    empty_regimes = lake.read(REGIMES, BTC, START, END, timeframe=HOUR)
    lake.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    lake.publish(REGIMES, BTC, DAY, regimes(), timeframe=HOUR)
    assert empty.dtypes.to_dict() == lake.read(BARS_1M, BTC, START, END).dtypes.to_dict()
    full = lake.read(REGIMES, BTC, START, END, timeframe=HOUR)
    assert list(empty_regimes.columns) == list(full.columns)
    assert full["filtered_probability"].iloc[0].tolist() == [0.8, 0.15, 0.05]


def test_one_day_can_be_had_as_stored_and_says_when_it_was_replaced(lake: Lake) -> None:
    assert lake.stored_at(BARS, BTC, DAY, timeframe=HOUR) is None
    with pytest.raises(MissingInputError, match="bars of binance:BTC/USDT:USDT on 2022-05-01 is not stored"):
        lake.rows(BARS, BTC, DAY, timeframe=HOUR)
    before = datetime.now(UTC) - timedelta(seconds=2)
    lake.publish(BARS, BTC, DAY, hour_bars(), timeframe=HOUR)
    assert lake.rows(BARS, BTC, DAY, timeframe=HOUR).equals(hour_bars())
    stored_at = lake.stored_at(BARS, BTC, DAY, timeframe=HOUR)
    assert stored_at is not None
    assert stored_at > before


def test_a_day_without_rows_is_a_typed_empty_file(lake: Lake) -> None:
    stored = lake.publish(BARS_1M, BTC, DAY, BARS_1M.schema.empty_table(), timeframe=None)
    assert stored.rows == 0
    assert lake.days(BARS_1M, BTC, timeframe=None) == [DAY]
    assert lake.read(BARS_1M, BTC, START, END).empty


def test_frames_with_nan_in_nullable_columns_are_stored_as_null(lake: Lake) -> None:
    table = features_table(["momentum", "funding"])
    index = pd.date_range(START, periods=3, freq="h", tz="UTC", name="ts_open")
    frame = pd.DataFrame({"ts_close": index + pd.Timedelta(hours=1), "momentum": [np.nan, 1.0, 2.0], "funding": np.nan})
    stored = lake.publish(table, BTC, DAY, frame.set_index(index), timeframe=HOUR)
    assert pq.ParquetFile(stored.path).read()["momentum"].to_pylist() == [None, 1.0, 2.0]
    back = lake.read(table, BTC, START, END, timeframe=HOUR)
    pd.testing.assert_frame_equal(back, frame.set_index(index), check_freq=False, check_index_type=False)


def _without_zone(rows: pa.Table) -> pa.Table:
    return rows.set_column(0, "ts_open", rows["ts_open"].cast(pa.timestamp("ms")))


def _with(rows: pa.Table, name: str, values: list[object]) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (minute_bars().drop_columns("close"), "lack close"),
        (minute_bars().append_column("mood", pa.array([1] * 1440)), "no column mood"),
        (_without_zone(minute_bars()), "not a UTC timestamp"),
        (minute_bars(DAY + timedelta(days=1)), "another day"),
        (minute_bars().slice(0, 2).take([1, 0]), "out of order"),
        (minute_bars().slice(0, 2).take([0, 0]), "repeated"),
        (_with(minute_bars(count=1), "volume", [None]), "volume"),
        (_with(minute_bars(count=1), "volume", [float("nan")]), "not finite"),
        (_with(minute_bars(count=1), "high", [float("inf")]), "not finite"),
        (_with(minute_bars(count=1), "high", ["much"]), "high"),
        (_with(minute_bars(count=1), "high", [1e11]), "high"),
        (_with(minute_bars(count=1), "trades", [1.5]), "trades"),
    ],
)
def test_rows_that_break_the_contract_are_refused_and_the_old_day_stays(
    lake: Lake, rows: pa.Table, message: str
) -> None:
    stored = lake.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    with pytest.raises(InvalidDataError, match=message):
        lake.publish(BARS_1M, BTC, DAY, rows, timeframe=None)
    assert lake.read(BARS_1M, BTC, START, END).shape[0] == 1440
    assert [path.name for path in stored.path.parent.iterdir()] == [stored.path.name]


def test_what_a_killed_writer_left_is_ignored_and_removed_by_the_next_process(lake: Lake) -> None:
    stored = lake.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    finished = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    stale = stored.path.with_name(f".{stored.path.name}.{int(finished.stdout)}-00.tmp")
    alive = stored.path.with_name(f".{stored.path.name}.1-00.tmp")
    stale.write_bytes(b"PAR1 torn")
    alive.write_bytes(b"PAR1 still being written")
    assert lake.days(BARS_1M, BTC, timeframe=None) == [DAY]
    assert len(lake.read(BARS_1M, BTC, START, END)) == 1440
    _remove_stale.cache_clear()  # as in a new process
    lake.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    assert not stale.exists()
    assert alive.exists()


def test_a_torn_file_is_an_error_that_names_it(lake: Lake) -> None:
    stored = lake.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    stored.path.write_bytes(stored.path.read_bytes()[:-20])
    with pytest.raises(InvalidDataError, match=r"bars_1m.*date=2022-05-01\.parquet cannot be read"):
        lake.read(BARS_1M, BTC, START, END)


def test_a_day_made_before_a_feature_was_added_is_an_error_not_a_column_of_nulls(lake: Lake) -> None:
    index = pd.date_range(START, periods=3, freq="h", tz="UTC", name="ts_open")
    old = pd.DataFrame({"ts_close": index + pd.Timedelta(hours=1), "a": 1.0}, index=index)
    lake.publish(features_table(["a"]), BTC, DAY, old, timeframe=HOUR)
    with pytest.raises(InvalidDataError, match="lacks b: materialize that day again"):
        lake.read(features_table(["a", "b"]), BTC, START, END, timeframe=HOUR)


def test_misuse_is_told_in_one_line(lake: Lake) -> None:
    with pytest.raises(UsageError, match="stored per timeframe"):
        lake.read(BARS, BTC, START, END)
    with pytest.raises(UsageError, match="no timeframes"):
        lake.days(BARS_1M, BTC, timeframe=HOUR)
    with pytest.raises(UsageError, match="time zone"):
        lake.read(BARS_1M, BTC, datetime(2022, 5, 1), END)  # noqa: DTZ001 (the mistake under test)
    with pytest.raises(UsageError, match="no column mood"):
        lake.read(BARS_1M, BTC, START, END, columns=["mood"])


def test_documents_come_back_and_do_not_depend_on_the_order_of_their_keys(lake: Lake) -> None:
    month, later = date(2022, 5, 1), date(2022, 6, 1)
    place = {"timeframe": HOUR}
    assert lake.get_document("indicator_params", BTC, month, **place) is None
    path = lake.put_document("indicator_params", BTC, month, **place, document={"b": [1, 2.5], "a": "x"})
    before = path.read_bytes()
    lake.put_document("indicator_params", BTC, month, **place, document={"a": "x", "b": [1, 2.5]})
    lake.put_document("indicator_params", BTC, later, **place, document={})
    assert path.read_bytes() == before
    assert path.name == "month=2022-05.json"
    assert lake.get_document("indicator_params", BTC, month, **place) == {"a": "x", "b": [1, 2.5]}


def test_paths_are_hive_style_under_one_root(layout: Layout) -> None:
    relative = layout.day("bars", BTC, DAY, timeframe=HOUR).relative_to(layout.root)
    assert str(relative) == "lake/bars/timeframe=1h/exchange=binance/symbol=BTC_USDT_USDT/date=2022-05-01.parquet"
    assert datetime(2022, 5, 1, tzinfo=UTC) == START
