"""OKX's payloads and files as tables: real ones, old ones, and whatever else may arrive."""

import contextlib
import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.exchanges.okx.parse import (
    BulkFile,
    Swap,
    bulk_json,
    candles_json,
    funding_json,
    open_interest_json,
    swaps_json,
    time_json,
)
from tradecore_pipeline.exchanges.okx.parse_csv import CANDLE_COLUMNS, candles_csv, funding_csv

PAYLOADS = Path(__file__).parents[3] / "shared" / "realdata" / "exchange_payloads" / "okx"
HUNDREDTH = Decimal("0.01")
SWAP = "BTC-USDT-SWAP"
START = 1_700_000_040_000


def real(name: str) -> Any:
    path = PAYLOADS / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded payloads are not beside this clone")
    return json.loads(path.read_text())


def candles(payload: Any) -> Any:
    return candles_json(payload, contract_base=HUNDREDTH, name="candles")


def candle(minute: int, *, confirm: str = "1") -> list[str]:
    base = 100 + minute % 7
    return [
        str(START + minute * 60_000),
        *(f"{base}.{part}" for part in ("1", "9", "0", "5")),
        "628",
        "6.28",
        str(628 * base / 100),
        confirm,
    ]


def envelope(rows: list[Any]) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": rows}


def test_real_candles_count_coins_not_contracts() -> None:
    rows = candles(real("http_get_candlesticks_full"))
    assert rows.schema == BARS_1M.schema
    assert rows.column("ts_open").to_pylist() == [
        datetime(2025, 5, 12, 23, 53, tzinfo=UTC),
        datetime(2025, 5, 12, 23, 54, tzinfo=UTC),
    ]
    assert rows.column("volume").to_pylist() == [71.6404, 10.4037]
    assert rows.column("quote_volume").to_pylist() == [7364701.57952, 1069603.34883]
    assert rows.column("trades").to_pylist() == [None, None]


def test_real_candles_that_are_not_confirmed_are_left_out() -> None:
    assert candles(real("http_get_candlesticks")).num_rows == 0


def test_real_funding_is_what_was_paid_not_what_was_foretold() -> None:
    rows = funding_json(real("http_get_funding_rate_history"), inst_id=SWAP, name="funding")
    assert rows.schema == FUNDING_RATES.schema
    assert rows.column("funding_rate").to_pylist() == [-0.00002, 0.00015]
    with pytest.raises(InvalidDataError, match="answered for BTC-USDT-SWAP instead of ETH-USDT-SWAP"):
        funding_json(real("http_get_funding_rate_history"), inst_id="ETH-USDT-SWAP", name="funding")


def test_real_instruments_are_the_linear_swaps_only() -> None:
    swaps = swaps_json(real("http_get_instruments_swap"), name="instruments")
    assert all(swap.inst_id.endswith("-USDT-SWAP") for swap in swaps)
    (ether,) = (swap for swap in swaps if str(swap.instrument) == "okx:ETH/USDT:USDT")
    assert (ether.inst_id, ether.family, ether.contract_base) == ("ETH-USDT-SWAP", "ETH-USDT", Decimal("0.1"))
    assert ether.listed_at == datetime(2019, 11, 12, 11, 16, 48, tzinfo=UTC)


def test_order_repetition_and_the_open_candle_do_not_matter() -> None:
    rows = [candle(minute) for minute in range(50)]
    shuffled = [*rows, *rows[10:20], candle(50, confirm="0")]
    random.Random(4).shuffle(shuffled)
    assert candles(envelope(shuffled)).equals(candles(envelope(rows)))


def test_two_different_candles_of_one_minute_are_refused() -> None:
    other = [*candle(3)[:4], "100.7", *candle(3)[5:]]
    with pytest.raises(InvalidDataError, match="two different rows"):
        candles(envelope([candle(3), other]))


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, "nan"), (1, "-5"), (2, "1"), (5, "\ud800"), (6, "nan"), (6, "-6.28"), (0, "1700000040"), (0, "x"), (7, "inf")],
)
def test_impossible_values_are_refused(place: int, value: str) -> None:
    row = candle(0)
    row[place] = value
    with pytest.raises(InvalidDataError):
        candles(envelope([row]))


@pytest.mark.parametrize("payload", ["<html>", None, [], {}, {"code": "1", "data": []}, {"code": "0", "data": {}}])
def test_what_is_not_okxs_envelope_is_refused(payload: Any) -> None:
    for parse in (candles, lambda p: open_interest_json(p, name="x"), lambda p: time_json(p, name="x")):
        with pytest.raises(InvalidDataError):
            parse(payload)


def test_open_interest_is_in_coins_and_dollars() -> None:
    rows = open_interest_json(envelope([["1700000100000", "250000", "2500.5", "90000000.1"]]), name="interest")
    assert rows.schema == OPEN_INTEREST.schema
    assert rows.to_pylist()[0]["open_interest_base"] == 2500.5
    assert rows.to_pylist()[0]["open_interest_usd"] == 90000000.1


def as_csv(rows: list[list[str]], columns: tuple[str, ...] = CANDLE_COLUMNS) -> bytes:
    records = [
        dict(
            zip(
                ("open_time", "open", "high", "low", "close", "vol", "vol_ccy", "vol_quote", "confirm"),
                row,
                strict=True,
            )
        )
        | {"instrument_name": SWAP, "source": "0"}
        for row in rows
    ]
    lines = [",".join(columns), *(",".join(record[column] for column in columns) for record in records)]
    return ("\n".join(lines) + "\n").encode()


def from_csv(csv: bytes) -> Any:
    return candles_csv(csv, inst_id=SWAP, contract_base=HUNDREDTH, name="file")


def test_a_file_and_rest_say_the_same_in_any_order_of_columns() -> None:
    rows = [candle(minute) for minute in range(5)]
    expected = candles(envelope(rows))
    assert from_csv(as_csv(rows)).equals(expected)
    assert from_csv(as_csv(rows, ("source", *reversed(CANDLE_COLUMNS)))).equals(expected)


@pytest.mark.parametrize("untold", ["None", "", "0"])
def test_old_files_without_coins_count_contracts(untold: str) -> None:
    rows = [[*candle(minute)[:6], untold, *candle(minute)[7:]] for minute in range(5)]
    assert from_csv(as_csv(rows)).equals(candles(envelope([candle(minute) for minute in range(5)])))


def test_files_of_others_and_files_that_lack_columns_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="holds rows of 'BTC-USDT-SWAP' instead of ETH-USDT-SWAP"):
        candles_csv(as_csv([candle(0)]), inst_id="ETH-USDT-SWAP", contract_base=HUNDREDTH, name="file")
    with pytest.raises(InvalidDataError, match="lacks the columns vol_quote"):
        from_csv(as_csv([candle(0)], tuple(column for column in CANDLE_COLUMNS if column != "vol_quote")))
    with pytest.raises(InvalidDataError, match="line"):
        from_csv(as_csv([candle(0)]) + b"short,row\n")


def test_a_funding_file_with_headers_in_two_languages_is_read() -> None:
    csv = "instrument_name/名称,funding_rate/费率,funding_time/时间\nBTC-USDT-SWAP,-0.0001,1646064000000\n".encode()
    rows = funding_csv(csv, inst_id=SWAP, name="file")
    assert rows.to_pylist() == [
        {
            "ts_settle": datetime(2022, 2, 28, 16, tzinfo=UTC),
            "funding_rate": -0.0001,
            "funding_interval_minutes": None,
        }
    ]


def test_bulk_files_are_found_in_both_known_shapes() -> None:
    group = {"details": [{"groupDetails": [{"filename": "a.zip", "url": "https://x/a.zip?v=999", "sizeMB": "1"}]}]}
    for data in (group, [group]):
        assert bulk_json({"code": "0", "data": data}, name="bulk") == (BulkFile("a.zip", "https://x/a.zip?v=999"),)
    with pytest.raises(InvalidDataError, match="not a file"):
        bulk_json({"code": "0", "data": [{"details": [{"groupDetails": ["a.zip"]}]}]}, name="bulk")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(data=ANYTHING, wrapped=st.booleans())
def test_arbitrary_json_is_refused_or_gives_valid_rows(data: Any, wrapped: bool) -> None:
    payload = {"code": "0", "data": data} if wrapped else data
    parsers = (
        (candles, BARS_1M),
        (lambda given: funding_json(given, inst_id=SWAP, name="x"), FUNDING_RATES),
        (lambda given: open_interest_json(given, name="x"), OPEN_INTEREST),
    )
    for parse, table in parsers:
        try:
            assert parse(payload).schema == table.schema
        except InvalidDataError:
            continue
    with contextlib.suppress(InvalidDataError):
        assert all(isinstance(swap, Swap) for swap in swaps_json(payload, name="x"))
    with contextlib.suppress(InvalidDataError):
        assert all(isinstance(file, BulkFile) for file in bulk_json(payload, name="x"))
    with contextlib.suppress(InvalidDataError):
        assert time_json(payload, name="x").tzinfo is not None


FIELD = st.one_of(st.text(max_size=12), st.sampled_from(["nan", "inf", "-1", "0", "1e400", "None", ""]))


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 8), value=FIELD, where=st.integers(0, 4))
def test_one_strange_field_never_passes_as_an_impossible_bar(place: int, value: str, where: int) -> None:
    rows = [candle(minute) for minute in range(5)]
    rows[where][place] = value
    try:
        table = candles(envelope(rows))
    except InvalidDataError:
        return
    assert table.num_rows in {4, 5}
    for bar in table.to_pylist():
        assert bar["low"] <= min(bar["open"], bar["close"]) <= max(bar["open"], bar["close"]) <= bar["high"]
        assert bar["volume"] >= 0


@settings(max_examples=150, deadline=None)
@given(csv=st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(lambda tail: as_csv([candle(0)]) + tail)))
def test_arbitrary_bytes_are_refused_or_give_valid_rows(csv: bytes) -> None:
    try:
        assert from_csv(csv).schema == BARS_1M.schema
    except InvalidDataError:
        return
