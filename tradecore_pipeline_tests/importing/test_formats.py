import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, PRICE, Table
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.importing.read import read_file
from tradecore_pipeline_tests.exchanges.fake import klines_csv, metrics_csv, minutes, snapshots
from tradecore_pipeline_tests.importing.foreign import (
    FREQTRADE,
    NO_FREQTRADE,
    PRICES,
    SIX_COLUMNS,
    WRITERS,
    as_records,
    csv_file,
    line,
    minute_frame,
    read,
    stamp,
    zipped,
)
from tradecore_pipeline_tests.storage.days import BTC, DAY, SPOT, minute_bars

START = datetime(2022, 5, 1, tzinfo=UTC)
OPTIONAL = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


def without_optional(rows: pa.Table) -> pa.Table:
    columns = [
        pa.nulls(len(rows), c.type) if name in OPTIONAL else c
        for name, c in zip(rows.column_names, rows.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=rows.schema)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_day_in_any_format_is_the_day_that_was_written(tmp_path: Path, suffix: str) -> None:
    rows = minute_bars()
    path = tmp_path / f"bars{suffix}"
    path.write_bytes(WRITERS[suffix](rows))
    expected = without_optional(rows) if suffix in SIX_COLUMNS else rows
    assert read(path).rows.combine_chunks().equals(expected.combine_chunks())


def test_a_json_list_of_objects_is_read_by_their_names(tmp_path: Path) -> None:
    rows = minute_bars(count=100)
    path = tmp_path / "bars.json"
    path.write_bytes(as_records(rows))
    assert read(path).rows.equals(rows)


@st.composite
def days(draw: st.DrawFn) -> pa.Table:
    count = draw(st.integers(1, 30))
    first = draw(st.integers(0, 1440 - count))
    # Prices of up to 15 digits survive doubles; longer ones would be lost by the formats, not by us.
    scale = draw(st.integers(0, 8))
    ticks = st.integers(1, 10 ** min(15, 9 + scale))
    columns: dict[str, Any] = {"ts_open": [START + timedelta(minutes=first + i) for i in range(count)]}
    four = [sorted(draw(st.lists(ticks, min_size=4, max_size=4))) for _ in range(count)]
    for name, index in zip(PRICES, (1, 3, 0, 2), strict=True):
        columns[name] = pa.array([f"{Decimal(values[index]).scaleb(-scale):f}" for values in four]).cast(PRICE)
    amounts = st.floats(0, 1e12, allow_nan=False).map(lambda value: value + 0.0)
    columns["volume"] = [draw(amounts.filter(bool)) for _ in range(count)]
    for name in OPTIONAL:
        columns[name] = [
            draw(st.none() | (st.integers(0, 10**9) if name == "trades" else amounts)) for _ in range(count)
        ]
    return pa.table(columns, schema=BARS_1M.schema)


@given(rows=days(), suffix=st.sampled_from(sorted(WRITERS)))
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_random_bars_survive_any_format_to_the_last_digit(tmp_path: Path, rows: pa.Table, suffix: str) -> None:
    path = tmp_path / f"bars{suffix}"
    path.write_bytes(WRITERS[suffix](rows))
    expected = without_optional(rows) if suffix in SIX_COLUMNS else rows
    assert read(path).rows.combine_chunks().equals(expected.combine_chunks())


@pytest.mark.skipif(not FREQTRADE.is_dir(), reason=NO_FREQTRADE)
def test_every_value_of_real_freqtrade_bars_equals_pandas_reading() -> None:
    path = FREQTRADE / "BTC_USDT_USDT-1m-futures.feather"
    frame = pd.read_feather(path)
    rows = _read_now(path, BARS_1M)
    assert rows.column("ts_open").to_pylist() == [moment.to_pydatetime() for moment in frame["date"]]
    for name in PRICES:
        assert rows.column(name).to_pylist() == [Decimal(repr(float(value))) for value in frame[name]]
    assert rows.column("volume").to_pylist() == frame["volume"].tolist()


@pytest.mark.skipif(not FREQTRADE.is_dir(), reason=NO_FREQTRADE)
def test_every_real_freqtrade_funding_rate_equals_pandas_reading() -> None:
    path = FREQTRADE / "BTC_USDT_USDT-8h-funding_rate.feather"
    frame = pd.read_feather(path)
    rows = _read_now(path, FUNDING_RATES)
    assert rows.column("funding_rate").to_pylist() == frame["open"].tolist()
    assert rows.column("ts_settle").to_pylist() == [m.floor("min").to_pydatetime() for m in frame["date"]]


@pytest.mark.skipif(not FREQTRADE.is_dir(), reason=NO_FREQTRADE)
def test_mark_prices_are_refused_even_under_another_name(tmp_path: Path) -> None:
    frame = minute_frame(10)
    frame["high"], frame["volume"] = 101.0, 0.0
    frame.to_feather(tmp_path / "bars.feather")
    with pytest.raises(InvalidDataError, match="mark or index prices are no trades"):
        read(tmp_path / "bars.feather")


def _read_now(path: Path, table: Table) -> pa.Table:
    return read_file(path, table, BTC, now=datetime(2026, 1, 1, tzinfo=UTC), notes=Notes()).rows


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("header", [True, False])
def test_an_archive_zip_is_read_as_the_archive_client_reads_it(tmp_path: Path, scale: int, header: bool) -> None:
    path = tmp_path / "BTCUSDT-1m-2022-05-01.zip"
    path.write_bytes(zipped(klines_csv(minutes(DAY), header=header, scale=scale)))
    plain = tmp_path / "BTCUSDT-1m-2022-05-01.csv"
    plain.write_bytes(klines_csv(minutes(DAY), header=header, scale=scale))
    assert read(path).rows.num_rows == 1440
    assert read(plain).rows.equals(read(path).rows)


def test_archive_metrics_are_open_interest(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-metrics-2022-05-01.zip"
    path.write_bytes(zipped(metrics_csv(snapshots(START, 288))))
    assert read(path, table=OPEN_INTEREST).rows.num_rows == 288


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("Timestamp,Open,High,Low,Close,Volume", "2022-05-01 00:00:00,1,1,1,1,1"),
        ("DATE,OPEN,HIGH,LOW,CLOSE,VOL", "2022-05-01T00:00:00Z,1,1,1,1,1"),
        ("openTime;o;h;l;c;v", "1651363200;1;1;1;1;1"),
        ("ts\to\th\tl\tc\tbase_volume", "1651363200000\t1\t1\t1\t1\t1"),
        ("<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOLUME>", "1651363200000000,1,1,1,1,1"),
        ('"time","open","high","low","close","volume"', '"1651363200000000000","1","1","1","1","1"'),
        ("time,open,high,low,close,volume", "2022-05-01 02:00:00+02:00,1,1,1,1,1"),
        ("time,open,high,low,close,volume", "1651363200.0, 1 ,1e0,1.000000000000,1,1"),
        ("# a remark\ntime,open,high,low,close,volume", "2022-05-01 00:00:00 UTC,1,1,1,1,1"),
        (
            "https://example.org\nUnix,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT",
            "1651363200,BTC/USDT,1,1,1,1,1,1",
        ),
    ],
)
def test_the_usual_names_and_times_are_understood(tmp_path: Path, header: str, values: str) -> None:
    rows = read(csv_file(tmp_path, [values], header=header)).rows.to_pylist()
    assert len(rows) == 1
    assert rows[0]["ts_open"] == START
    assert [rows[0][name] for name in (*PRICES, "volume")] == [1, 1, 1, 1, 1]


def test_text_is_taken_digit_by_digit_and_a_rounding_error_of_floats_is_undone_with_a_note(tmp_path: Path) -> None:
    notes = Notes()
    exact = csv_file(tmp_path, [line(0, price="1234567890.12345678")])
    assert read(exact, notes=notes).rows.column("open")[0].as_py() == Decimal("1234567890.12345678")
    assert "rounding" not in "".join(notes.lines())
    noisy = csv_file(tmp_path, [line(0, price="95505.40000000001"), line(1, price="1234567890.12345678")])
    assert read(noisy, notes=notes).rows.column("open").to_pylist() == [
        Decimal("95505.4"),
        Decimal("1234567890.12345678"),
    ]
    assert "rounding error" in "".join(notes.lines())


def test_single_precision_is_taken_in_its_shortest_form(tmp_path: Path) -> None:
    frame = minute_frame(3).assign(**{name: np.float32(95505.4) for name in PRICES}, volume=np.float32(16.536))
    frame.to_parquet(tmp_path / "bars.parquet")
    rows = read(tmp_path / "bars.parquet").rows
    assert (rows.column("open")[0].as_py(), rows.column("volume")[0].as_py()) == (Decimal("95505.4"), 16.536)


def test_parquet_with_decimals_categories_and_the_time_as_index_is_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "timestamp": pa.array([START.replace(tzinfo=None)], pa.timestamp("ns")),
            **dict.fromkeys(PRICES, pa.array([Decimal("1.25")], pa.decimal128(10, 4))),
            "volume": pa.array([3], pa.int32()),
            "symbol": pa.array(["BTCUSDT"]).dictionary_encode(),
        }
    )
    notes = Notes()
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", notes=notes).rows.column("open")[0].as_py() == Decimal("1.25")
    assert "times without a zone were taken as UTC" in "".join(notes.lines())
    frame = minute_frame(5).set_index("date")
    frame.index.name = None
    frame.to_parquet(tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").rows.num_rows == 5


def test_newest_first_and_rows_that_stand_twice_are_sorted_and_taken_once(tmp_path: Path) -> None:
    rows = read(csv_file(tmp_path, [line(minute) for minute in (5, 4, 4, 3, 0)])).rows
    assert [m.minute for m in rows.column("ts_open").to_pylist()] == [0, 3, 4, 5]


def test_funding_and_open_interest_are_read_from_csv(tmp_path: Path) -> None:
    funding = csv_file(tmp_path, [f"{stamp(0) + 7},0.0001,8"], header="fundingTime,fundingRate,funding_interval_hours")
    assert read(funding, table=FUNDING_RATES).rows.to_pylist() == [
        {"ts_settle": START, "funding_rate": 0.0001, "funding_interval_minutes": 480}
    ]
    snapshot = csv_file(tmp_path, [f"{stamp(5) + 3000},7.5,"], header="timestamp,open_interest,oi_usd")
    assert read(snapshot, table=OPEN_INTEREST).rows.to_pylist() == [
        {"ts_event": START + timedelta(minutes=5), "open_interest_base": 7.5, "open_interest_usd": None}
    ]


def test_a_file_larger_than_a_batch_counts_its_lines_on(tmp_path: Path) -> None:
    first = datetime(2020, 1, 1, tzinfo=UTC).date()
    lines = [line(minute, day=first) for minute in range(150_000)]
    assert read(csv_file(tmp_path, lines)).rows.num_rows == 150_000
    lines[120_000] = line(120_000, day=first, price="x")
    with pytest.raises(InvalidDataError, match=r"bars\.csv, line 120002: open 'x' is no price"):
        read(csv_file(tmp_path, lines))
    content = json.dumps([[stamp(i, first), 1, 1, 1, 1, "x" if i == 70_000 else 1] for i in range(70_001)]).encode()
    (tmp_path / "bars.json.gz").write_bytes(gzip.compress(content))
    with pytest.raises(InvalidDataError, match=r"bars\.json\.gz, row 70001: volume 'x' is no number"):
        read(tmp_path / "bars.json.gz")


@given(
    content=st.binary(max_size=400), suffix=st.sampled_from(sorted({*WRITERS, ".arrow", ".pq"})), kind=st.integers(0, 2)
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_arbitrary_bytes_are_refused_by_name(tmp_path: Path, content: bytes, suffix: str, kind: int) -> None:
    if kind == 1:
        content = gzip.compress(content) if suffix.endswith(".gz") else b"time,open,high,low,close,volume\n" + content
    elif kind == 2 and suffix == ".zip":
        content = zipped(content)
    path = tmp_path / f"BTCUSDT-1m-2022-05-01{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=r"BTCUSDT-1m-2022-05-01"):
        read(path)


@given(data=st.data(), suffix=st.sampled_from(sorted(WRITERS)))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_file_is_refused_or_gives_possible_rows(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    content = bytearray(WRITERS[suffix](minute_bars(count=20)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"bars{suffix}"
    path.write_bytes(bytes(content))
    try:
        rows = read(path, instrument=SPOT).rows
    except InvalidDataError as error:
        message = str(error)
    else:
        assert rows.schema == BARS_1M.schema
        return
    assert message.startswith("bars")
    assert "\n" not in message
