from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.quality.checks import ohlc_problems, schema_problems, validate_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=1)


def bar(minute: int, **changes: Any) -> dict[str, Any]:
    row = {
        "ts_open": START + timedelta(minutes=minute),
        "open": Decimal("10.5"),
        "high": Decimal("11.00000001"),
        "low": Decimal("10.1"),
        "close": Decimal(11),
        "volume": 3.0,
        "quote_volume": None,
        "trades": 4,
        "taker_buy_volume": 0.0,
        "taker_buy_quote_volume": 0.0,
    }
    return row | changes


def bars(*rows: dict[str, Any]) -> pa.Table:
    schema = pa.schema([pa.field(field.name, field.type) for field in BARS_1M.schema])
    return pa.Table.from_pylist(list(rows), schema=schema)


def test_good_rows_pass_and_so_does_nothing() -> None:
    validate_rows(BARS_1M, bars(bar(0), bar(1), bar(1439)), start=START, end=END)
    for table in (BARS_1M, FUNDING_RATES, OPEN_INTEREST):
        validate_rows(table, table.schema.empty_table(), start=START, end=END)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([bar(0), bar(1, high=Decimal("10.99999999"))], r"00:01:00Z: high is below open or close$"),
        ([bar(0, low=Decimal("10.50000001"))], "low is above open or close"),
        ([bar(0, low=Decimal(12), high=Decimal(11))], "low is above high"),
        ([bar(0, low=Decimal(0))], "low is not above zero"),
        ([bar(0, close=None)], "close is empty"),
        ([bar(0, volume=float("nan"))], "volume is not a finite number"),
        ([bar(0, quote_volume=float("inf"))], "quote_volume is not a finite number"),
        ([bar(0, volume=-1.0), bar(1, volume=-1.0)], r"volume is negative \(and 1 more rows\)"),
        ([bar(0, trades=-1)], "trades is negative"),
        ([bar(1), bar(0)], "00:00:00Z: comes after a later row"),
        ([bar(1), bar(1)], "same key as the row before"),
        ([bar(-1), bar(0)], "2023-12-31T23:59:00Z: lies outside"),
        ([bar(1440)], "lies outside"),
        ([bar(0) | {"ts_open": START + timedelta(seconds=30)}], "not on the grid of 1 min"),
        ([bar(0, ts_open=None)], "row without key: ts_open is empty"),
    ],
)
def test_the_first_wrong_row_is_named_in_one_line(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InvalidDataError, match=message) as raised:
        validate_rows(BARS_1M, bars(*rows), start=START, end=END)
    assert str(raised.value).startswith("bars_1m: row ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        (FUNDING_RATES, (START, 0.11, 480), r"funding_rate is beyond \+-0.1"),
        (FUNDING_RATES, (START, -0.11, 480), "funding_rate is beyond"),
        (FUNDING_RATES, (START, 0.1, 0), "funding_interval_minutes is not positive"),
        (FUNDING_RATES, (START, None, 480), "funding_rate is empty"),
        (OPEN_INTEREST, (START, -1.0, 1.0), "open_interest_base is negative"),
        (OPEN_INTEREST, (START + timedelta(minutes=1), 1.0, 1.0), "not on the grid of 5 min"),
    ],
)
def test_funding_and_open_interest_have_their_own_limits(table: Table, values: tuple[Any, ...], message: str) -> None:
    arrays = [pa.array([value], type=field.type) for value, field in zip(values, table.schema, strict=True)]
    with pytest.raises(InvalidDataError, match=message):
        validate_rows(table, pa.Table.from_arrays(arrays, names=table.schema.names), start=START, end=END)


def test_a_negative_funding_rate_and_an_unknown_interval_are_fine() -> None:
    rows = {"ts_settle": [START], "funding_rate": [-0.003], "funding_interval_minutes": [None]}
    validate_rows(FUNDING_RATES, pa.table(rows, schema=FUNDING_RATES.schema), start=START, end=END)


def test_missing_columns_and_other_types_are_problems_of_the_schema() -> None:
    rows = bars(bar(0))
    assert schema_problems(BARS_1M, rows) == []
    assert "instead of ts_open" in schema_problems(BARS_1M, rows.drop_columns(["open"]))[0]
    floats = rows.set_column(1, "open", pa.array([1.5]))
    assert schema_problems(BARS_1M, floats) == ["column open is double instead of decimal128(18, 8)"]
    with pytest.raises(InvalidDataError, match="bars_1m: column open is double"):
        validate_rows(BARS_1M, floats, start=START, end=END)


def test_problems_for_display_are_counted_per_rule() -> None:
    rows = bars(bar(0, volume=-1.0), bar(1, volume=-1.0, low=Decimal(0)), bar(3), bar(2))
    assert ohlc_problems(BARS_1M, rows) == [
        "row 2024-01-01T00:00:00Z: volume is negative (and 1 more rows)",
        "row 2024-01-01T00:01:00Z: low is not above zero",
    ]
