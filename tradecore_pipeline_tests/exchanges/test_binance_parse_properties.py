"""Whatever bytes or JSON arrive: a typed error, or rows that are sorted, unique and true."""

import json
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import (
    BARS_1M,
    FUNDING_RATES,
    LONG_SHORT_RATIOS,
    OPEN_INTEREST,
    PREMIUM_INDEX,
    Table,
)
from tradecore_pipeline.exchanges.binance import parse, universe
from tradecore_pipeline.exchanges.pieces import Piece, Verdict, assemble
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline_tests.exchanges.fake import KLINES_HEADER, METRICS_HEADER, kline, klines_csv, minutes, premium

DAY = date(2024, 6, 10)
STAMPS = minutes(DAY)
CSV: list[tuple[Table, Callable[[bytes, str], pa.Table]]] = [
    (BARS_1M, partial(parse.klines_csv, table=BARS_1M)),
    (PREMIUM_INDEX, partial(parse.klines_csv, table=PREMIUM_INDEX)),
    (FUNDING_RATES, parse.funding_csv),
    (OPEN_INTEREST, partial(parse.metrics_csv, table=OPEN_INTEREST, symbol="BTCUSDT")),
    (LONG_SHORT_RATIOS, partial(parse.metrics_csv, table=LONG_SHORT_RATIOS, symbol="BTCUSDT")),
]
JSON: list[tuple[Table, Callable[..., pa.Table]]] = [
    (BARS_1M, partial(parse.klines_json, table=BARS_1M)),
    (PREMIUM_INDEX, partial(parse.klines_json, table=PREMIUM_INDEX)),
    (FUNDING_RATES, parse.funding_json),
    (OPEN_INTEREST, parse.open_interest_json),
]
HEADERS = [b"", *(f"{names}\n".encode() for names in (KLINES_HEADER, METRICS_HEADER, ",".join(parse.FUNDING_COLUMNS)))]
CELL = st.one_of(
    st.sampled_from(["", "0", "-1", "nan", "inf", "1e400", "BTCUSDT", "2024-01-01 00:05:00", "99999999999999999999"]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=4),
)
TIME = st.one_of(CELL, st.integers(0, 2**62).map(str), st.sampled_from([str(stamp) for stamp in STAMPS[:9]]))
LINE = st.sampled_from([2, 3, 8, 12]).flatmap(
    lambda width: st.tuples(TIME, *[st.one_of(CELL, st.integers(0, 99).map(str))] * (width - 1)).map(",".join)
)
LINES = st.lists(LINE, max_size=6)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5))
FIELDS = st.sampled_from(
    ["fundingTime", "fundingRate", "timestamp", "sumOpenInterest", "sumOpenInterestValue", "symbol"]
)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=12) | st.dictionaries(FIELDS, inner, max_size=4), max_leaves=30
)


def in_order(table: Table, rows: pa.Table) -> None:
    assert rows.schema == table.schema
    assert (np.diff(epoch_ms(rows.column(table.key))) > 0).all()
    assert all(c.nullable or not rows.column(c.name).null_count for c in table.columns)


@pytest.mark.parametrize(("table", "parser"), CSV, ids=[table.name for table, _ in CSV])
@settings(max_examples=150, deadline=None)
@given(header=st.sampled_from(HEADERS), body=st.one_of(st.binary(max_size=200), LINES.map("\n".join).map(str.encode)))
def test_any_bytes_are_rows_or_a_typed_error(
    table: Table, parser: Callable[[bytes, str], pa.Table], *, header: bytes, body: bytes
) -> None:
    try:
        rows = parser(header + body, "file")
    except InvalidDataError:
        return
    in_order(table, rows)


@pytest.mark.parametrize(("table", "parser"), JSON, ids=[table.name for table, _ in JSON])
@settings(max_examples=150, deadline=None)
@given(payload=ANYTHING)
def test_any_json_is_rows_or_a_typed_error(table: Table, parser: Callable[..., pa.Table], *, payload: Any) -> None:
    try:
        rows = parser(payload, name="REST")
    except InvalidDataError:
        return
    in_order(table, rows)


@pytest.mark.parametrize("parser", [universe.perpetuals_json, universe.spot_json])
@settings(max_examples=80, deadline=None)
@given(symbols=ANYTHING)
def test_any_exchange_info_is_symbols_or_a_typed_error(parser: Callable[[Any], Any], *, symbols: Any) -> None:
    for payload in (symbols, {"symbols": symbols}):
        try:
            assert isinstance(parser(payload), dict)
        except InvalidDataError:
            continue


BAR_ROWS = st.lists(st.integers(0, 1439), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(order=BAR_ROWS, header=st.booleans(), table=st.sampled_from([BARS_1M, PREMIUM_INDEX]))
def test_rows_out_of_order_and_twice_come_out_sorted_once_from_both(
    order: list[int], *, header: bool, table: Table
) -> None:
    row = kline if table is BARS_1M else premium
    rows = [row(STAMPS[number]) for number in order]
    lines = [KLINES_HEADER] * header + [",".join(map(str, values)) for values in rows]
    by_file = parse.klines_csv("\n".join(lines).encode(), "file", table=table)
    by_rest = parse.klines_json(json.loads(json.dumps(rows)), table=table, name="REST")
    assert by_file.equals(by_rest)
    assert epoch_ms(by_file.column("ts_open")).tolist() == sorted({STAMPS[number] for number in order})


def stored(csv: bytes) -> FetchedDay:
    piece = Piece(parse.klines_csv(csv, "file", table=BARS_1M), "archive-daily", "host", "real", ())
    return assemble(Instrument("binance", "BTC/USDT"), BARS_1M, DAY, piece, Verdict((), complete=True, reason=""))


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 9), column=st.integers(1, 10), value=st.sampled_from(["-1", "nan", "inf", "-0.5"]))
def test_a_bar_with_an_impossible_value_is_never_stored(number: int, column: int, value: str) -> None:
    lines = klines_csv(STAMPS[:10], header=True).decode().split("\n")
    cells = lines[1 + number].split(",")
    cells[column] = value
    lines[1 + number] = ",".join(cells)
    if column == 6:  # close_time is not kept
        return
    with pytest.raises(InvalidDataError):
        stored("\n".join(lines).encode())


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(12)), repeated=st.lists(st.integers(0, 11), max_size=5))
def test_settlements_and_snapshots_in_any_order_are_the_same_rows(order: list[int], repeated: list[int]) -> None:
    times = [STAMPS[0] + number * 28_800_000 + number for number in range(12)]
    settlements = [{"fundingTime": t, "fundingRate": f"{n / 1e5:.8f}"} for n, t in enumerate(times)]
    snapshots = [
        {"timestamp": STAMPS[0] + n * 300_000, "sumOpenInterest": f"{n}.5", "sumOpenInterestValue": "9"}
        for n in range(12)
    ]
    for rows, parser in ((settlements, parse.funding_json), (snapshots, parse.open_interest_json)):
        mixed = [rows[number] for number in (*order, *repeated)]
        assert parser(mixed, name="REST").equals(parser(rows, name="REST"))
