import csv
import io
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.exchanges.binance import parse
from tradecore_pipeline_tests.exchanges.fake import METRICS_HEADER, kline
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES

REAL = ARCHIVE / "data"
REAL_FILES = [
    *sorted(REAL.glob("spot/daily/klines/*/1m/*.zip"))[::73],
    *sorted(REAL.glob("futures/um/**/1m/*.zip"))[:2],
]
NUMBERS = {"open": 1, "high": 2, "low": 3, "close": 4}
FLOATS = {"volume": 5, "quote_volume": 7, "taker_buy_volume": 9, "taker_buy_quote_volume": 10}


def content(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])


@pytest.mark.skipif(not REAL_FILES, reason=NO_FILES)
def test_every_value_of_real_files_equals_a_slow_reading() -> None:
    for path in REAL_FILES:
        raw = content(path)
        table = parse.klines_csv(raw, path.name, table=BARS_1M)
        rows = [row for row in csv.reader(io.StringIO(raw.decode())) if row[0].isdigit()]
        assert table.schema == BARS_1M.schema
        assert table.num_rows == len(rows)
        assert [t.timestamp() * 1000 for t in table.column("ts_open").to_pylist()] == [int(row[0]) for row in rows]
        assert table.column("trades").to_pylist() == [int(row[8]) for row in rows]
        for name, index in NUMBERS.items():
            assert table.column(name).to_pylist() == [Decimal(row[index]) for row in rows]
        for name, index in FLOATS.items():
            assert table.column(name).to_pylist() == [float(row[index]) for row in rows]


PRICE = st.decimals(min_value=Decimal("1e-8"), max_value=Decimal("9999999999.99999999"), places=8)


@settings(max_examples=30, deadline=None)
@given(prices=st.lists(PRICE, min_size=1, max_size=5), header=st.booleans(), micro=st.booleans())
def test_prices_come_through_exactly_from_files_and_from_json(
    prices: list[Decimal], *, header: bool, micro: bool
) -> None:
    rows = [kline(1_700_000_040_000 + number * 60_000) for number in range(len(prices))]
    for row, price in zip(rows, prices, strict=True):
        row[1:5] = [f"{price:f}"] * 4
    scale = 1000 if micro else 1
    lines = [",".join(parse.KLINE_COLUMNS)] * header
    lines += [",".join(str(value) for value in [int(str(row[0])) * scale, *row[1:]]) for row in rows]
    table = parse.klines_csv("\r\n".join(lines).encode(), name="file", table=BARS_1M)
    assert table.column("open").to_pylist() == prices
    assert table.equals(parse.klines_json(rows, table=BARS_1M, name="REST"))


@pytest.mark.parametrize(
    "payload",
    [
        "<html>",
        {"code": -1},
        None,
        [[None] * 12],
        [kline(0)[:11]],
        [[*kline(0)[:5], 1.5, *kline(0)[6:]]],
        [[True, *kline(0)[1:]]],
        [[*kline(0)[:1], "12,5", *kline(0)[2:]]],
        [[*kline(0)[:1], "0.123456789", *kline(0)[2:]]],
    ],
)
def test_a_payload_that_is_not_bars_is_refused(payload: object) -> None:
    with pytest.raises(InvalidDataError, match="REST klines"):
        parse.klines_json(payload, table=BARS_1M, name="REST klines")


def test_an_empty_page_is_an_empty_table() -> None:
    assert parse.klines_json([], table=BARS_1M, name="x").schema == BARS_1M.schema
    assert parse.funding_json([], name="x").schema == FUNDING_RATES.schema
    assert parse.open_interest_json([], name="x").schema == OPEN_INTEREST.schema
    assert parse.klines_csv(f"{','.join(parse.KLINE_COLUMNS)}\n".encode(), name="x", table=BARS_1M).num_rows == 0


def test_of_two_open_interests_for_one_moment_the_later_in_the_file_is_kept() -> None:
    lines = ["2024-01-01 00:05:00,BTCUSDT,1,10,,,,", "2024-01-01 00:05:03,BTCUSDT,2,20,,,,"]
    table = parse.metrics_csv(
        "\n".join([METRICS_HEADER, *lines]).encode(), name="x", table=OPEN_INTEREST, symbol="BTCUSDT"
    )
    assert table.to_pylist() == [
        {"ts_event": datetime(2024, 1, 1, 0, 5, tzinfo=UTC), "open_interest_base": 2.0, "open_interest_usd": 20.0}
    ]


def test_two_different_rates_for_one_settlement_are_refused() -> None:
    text = b"calc_time,funding_interval_hours,last_funding_rate\n28800000,8,0.0001\n28800007,8,0.0002\n"
    with pytest.raises(InvalidDataError, match="two different rows for 1970-01-01T08:00"):
        parse.funding_csv(text, name="x")


def test_a_file_with_other_columns_is_refused() -> None:
    with pytest.raises(InvalidDataError, match=r"x, line 1: expected the 12 columns open_time, open"):
        parse.klines_csv(b"<html>,not,a,file\n1,2,3,4\n", name="x", table=BARS_1M)
