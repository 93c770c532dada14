import contextlib
import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.exchanges.bybit.parse import (
    InstrumentsPage,
    funding_json,
    instruments_json,
    kline_json,
    open_interest_json,
    time_json,
)
from tradecore_pipeline.exchanges.bybit.symbols import instrument_of, raw_symbol
from tradecore_pipeline_tests.exchanges.given_json import PAYLOADS, any_json, recorded

BTC = "BTCUSDT"
START_MS = 1_709_856_000_000


def envelope(**result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", **result}, "time": START_MS}


def bar(minute: int, *, price: str = "27450") -> list[str]:
    return [str(START_MS + minute * 60_000), price, "27460", "27440", "27455", "123.45", "3390000"]


def klines(*rows: list[str]) -> dict[str, Any]:
    return envelope(symbol=BTC, list=list(rows))


@pytest.mark.skipif(not PAYLOADS.exists(), reason="the recorded payloads are not on this machine")
def test_recorded_payloads_are_read() -> None:
    rows = kline_json(recorded("bybit/http_get_klines_linear.json"), name="kline", symbol=BTC).to_pylist()
    assert [(row["ts_open"].timestamp(), str(row["close"]), row["quote_volume"]) for row in rows] == [
        (1_709_891_679.0, "27455.00000000", 3_390_000.0)
    ]
    assert rows[0]["trades"] is rows[0]["taker_buy_volume"] is rows[0]["taker_buy_quote_volume"] is None
    rows = funding_json(recorded("bybit/http_get_funding_history.json"), name="funding", symbol=BTC).to_pylist()
    assert [(row["ts_settle"].hour, row["funding_rate"]) for row in rows] == [(0, 0.00015), (8, 0.0001)]
    page = instruments_json(recorded("bybit/http_get_instruments_linear.json"), name="instruments")
    assert [str(one.instrument) for one in page.listed] == ["bybit:BTC/USDT:USDT", "bybit:ETH/USDT:USDT"]
    assert {(one.first_day, one.last_day, one.status) for one in page.listed} == {
        (date(2023, 11, 14), None, ListingStatus.TRADING)
    }
    assert page.cursor == ""
    (stock,) = instruments_json(recorded("bybit/http_get_instruments_linear_symbol_type.json"), name="x").listed
    assert stock.first_day is None
    # Inverse contracts settle in the coin: they are another market.
    assert instruments_json(recorded("bybit/http_get_instruments_inverse.json"), name="x").listed == ()


def test_open_interest_is_one_side_whichever_way_it_is_told() -> None:
    """Built in the documented layout: no recorded reply is at hand."""
    rows = [
        {"openInterest": "100", "singleOpenInterest": "50.5", "timestamp": str(START_MS + 600_000)},
        {"openInterest": "90", "timestamp": str(START_MS + 300_000)},
        {"openInterest": "80", "singleOpenInterest": "", "timestamp": str(START_MS)},
    ]
    table = open_interest_json(envelope(symbol=BTC, list=rows, nextPageCursor=""), name="oi", symbol=BTC)
    assert table.schema == OPEN_INTEREST.schema
    assert table.column("open_interest_base").to_pylist() == [40.0, 45.0, 50.5]
    assert table.column("open_interest_usd").to_pylist() == [None] * 3


def test_a_repeated_unsorted_page_is_put_in_order_once() -> None:
    table = kline_json(klines(bar(1), bar(3), bar(2), bar(1)), name="kline", symbol=BTC)
    assert table.schema == BARS_1M.schema
    assert [row.minute for row in table.column("ts_open").to_pylist()] == [1, 2, 3]


def test_two_different_bars_of_one_minute_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="two different rows for 2024-03-08T00:01:00"):
        kline_json(klines(bar(1), bar(1, price="27451")), name="kline", symbol=BTC)


@pytest.mark.parametrize(
    "payload",
    [
        "<html>",
        None,
        [],
        {"retCode": 0},
        {"retCode": 10006, "result": {"symbol": BTC, "list": []}},
        klines(["1", "2"]),
        klines([*bar(1)[:6], 7]),  # type: ignore[list-item]
        klines(bar(1, price="abc")),
        klines(bar(1, price="1e30")),
        klines(["-5", *bar(1)[1:]]),
        klines(["17098560000000000", *bar(1)[1:]]),
        envelope(symbol="ETHUSDT", list=[bar(1)]),
    ],
    ids=str,
)
def test_what_is_no_page_of_bars_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidDataError):
        kline_json(payload, name="kline", symbol=BTC)


def test_another_symbols_rows_are_refused() -> None:
    row = {"symbol": "ETHUSDT", "fundingRate": "0.1", "fundingRateTimestamp": str(START_MS)}
    with pytest.raises(InvalidDataError, match="'ETHUSDT' instead of BTCUSDT"):
        funding_json(envelope(list=[row]), name="funding", symbol=BTC)
    with pytest.raises(InvalidDataError, match="'ETHUSDT' instead of BTCUSDT"):
        open_interest_json(envelope(symbol="ETHUSDT", list=[]), name="oi", symbol=BTC)


@given(any_json)
def test_no_json_at_all_becomes_anything_but_rows_or_our_error(payload: Any) -> None:
    for parse, table in ((kline_json, BARS_1M), (funding_json, FUNDING_RATES), (open_interest_json, OPEN_INTEREST)):
        for wrapped in (payload, envelope(symbol=BTC, list=payload), envelope(symbol=BTC, list=[payload])):
            try:
                rows: pa.Table = parse(wrapped, name="fuzz", symbol=BTC)
            except InvalidDataError:
                continue
            assert rows.schema == table.schema
    for wrapped in (payload, envelope(list=payload), envelope(list=[payload])):
        with contextlib.suppress(InvalidDataError):
            assert isinstance(instruments_json(wrapped, name="fuzz"), InstrumentsPage)
        with contextlib.suppress(InvalidDataError):
            assert time_json(wrapped, name="fuzz").tzinfo is not None


@given(st.lists(st.integers(0, 500), max_size=30), st.floats(allow_nan=True, allow_infinity=True), st.booleans())
def test_bars_in_any_order_come_out_sorted_unique_and_unchanged(minutes: list[int], volume: float, mixed: bool) -> None:
    rows = [bar(minute) for minute in minutes]
    if mixed and rows:
        rows[0][5] = repr(volume)
    try:
        table = kline_json(json.loads(json.dumps(klines(*rows))), name="kline", symbol=BTC)
    except InvalidDataError:
        assert mixed
        return
    stamps = [round(stamp.timestamp() * 1000) for stamp in table.column("ts_open").to_pylist()]
    assert stamps == [START_MS + minute * 60_000 for minute in sorted(set(minutes))]


def test_the_time_is_the_envelopes() -> None:
    assert time_json({"time": START_MS}, name="time") == datetime(2024, 3, 8, tzinfo=UTC)
    with pytest.raises(InvalidDataError):
        time_json({"time": "soon"}, name="time")


def test_symbols_are_spelled_both_ways() -> None:
    for symbol, base, settle in (
        ("BTCUSDT", "BTC", "USDT"),
        ("1000PEPEUSDT", "1000PEPE", "USDT"),
        ("ETHPERP", "ETH", "USDC"),
    ):
        instrument = instrument_of(symbol, base=base, quote=settle, settle=settle)
        assert instrument is not None
        assert raw_symbol(instrument) == symbol
    assert instrument_of("BTCUSDT-26DEC25", base="BTC", quote="USDT", settle="USDT") is None
    assert instrument_of("BTCUSD", base="BTC", quote="USD", settle="BTC") is None


def test_a_delisted_symbol_has_a_last_day() -> None:
    row = dict.fromkeys(("baseCoin", "quoteCoin", "settleCoin"), "USDT") | {"baseCoin": "LUNA", "symbol": "LUNAUSDT"}
    row |= {"contractType": "LinearPerpetual", "status": "Closed", "launchTime": "1600000000000"}
    row |= {"deliveryTime": "1652400000000"}
    (listed,) = instruments_json(envelope(list=[row], nextPageCursor="abc"), name="x").listed
    assert (listed.status, listed.first_day, listed.last_day) == (
        ListingStatus.DELISTED,
        date(2020, 9, 13),
        date(2022, 5, 13),
    )
