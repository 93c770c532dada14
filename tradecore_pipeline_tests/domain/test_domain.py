from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain import errors
from tradecore_pipeline.domain.errors import TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, Instrument
from tradecore_pipeline.domain.tables import BARS, GAPS, MARKET_DATA, REGIMES, features_table
from tradecore_pipeline.domain.time import (
    TIMEFRAME_MINUTES,
    Timeframe,
    add_months,
    day_range,
    day_start,
    month_days,
    month_of,
    month_range,
    parse_day,
    parse_month,
    utc_now,
)

COINS = st.from_regex(r"[A-Z0-9]{1,20}", fullmatch=True)
INSTRUMENTS = st.builds(
    lambda exchange, base, quote, settle: Instrument.parse(
        f"{exchange}:{base}/{quote}" + (f":{settle}" * bool(settle))
    ),
    st.sampled_from(EXCHANGES),
    COINS,
    COINS,
    st.one_of(st.just(""), COINS),
)
DATES = st.dates(date(1990, 1, 1), date(2100, 1, 1))
TIMEFRAMES = st.sampled_from(sorted(TIMEFRAME_MINUTES)).map(Timeframe.parse)


@given(INSTRUMENTS)
def test_an_instrument_survives_text_and_is_one_safe_path_segment(instrument: Instrument) -> None:
    assert Instrument.parse(str(instrument)) == instrument
    assert not set("/:\\.") & set(instrument.path_symbol)
    assert instrument.symbol.startswith(f"{instrument.base}/{instrument.quote}")
    assert instrument.is_perpetual == (instrument.symbol.count(":") == 1)


@given(st.text(max_size=30))
def test_text_that_is_no_instrument_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Instrument.parse(f"{text}!")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "BTC/USDT", "binance:btc/usdt", "binance:BTC-USDT", "binance:../../x", "x:A/B"])
def test_malformed_instruments_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Instrument.parse(text)


@given(DATES)
def test_a_day_survives_text_and_begins_at_midnight_utc(day: date) -> None:
    assert parse_day(day.isoformat()) == day
    assert day_start(day) == datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert parse_month(f"{day:%Y-%m}") == month_of(day)


@pytest.mark.parametrize("text", ["", "2022-5-01", "20220501", "2022-02-30", "2022-05-01T00", "2022-W01-1", "May"])
def test_other_ways_to_write_a_day_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a day: write YYYY-MM-DD"):
        parse_day(text)
    with pytest.raises(UsageError, match="is not a month: write YYYY-MM,"):
        parse_month(text)


@given(DATES, st.integers(-200, 200))
def test_months_add_up(day: date, count: int) -> None:
    month = month_of(day)
    assert add_months(add_months(month, count), -count) == month
    assert len(list(month_range(month, add_months(month, abs(count))))) == abs(count) + 1
    assert month_days(day)[0] == month
    assert month_days(day)[-1] + timedelta(days=1) == add_months(month, 1)


@given(DATES, st.integers(0, 400))
def test_day_ranges_hold_both_ends_and_nothing_twice(first: date, length: int) -> None:
    days = list(day_range(first, first + timedelta(days=length)))
    assert (days[0], days[-1], len(set(days))) == (first, first + timedelta(days=length), length + 1)
    assert list(day_range(first, first - timedelta(days=1))) == []


@given(TIMEFRAMES, st.integers(1, 10_000))
def test_days_hold_the_bars_they_are_counted_for(timeframe: Timeframe, bars: int) -> None:
    days = timeframe.days(bars)
    assert (days - 1) * timeframe.bars_per_day < bars <= days * timeframe.bars_per_day
    assert timeframe.duration * timeframe.bars_per_day == timedelta(days=1)


def test_now_is_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_every_column_has_a_unit_a_meaning_and_a_place_in_its_schema() -> None:
    for table in (*MARKET_DATA.values(), BARS, REGIMES, GAPS, features_table(["rsi_14"])):
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert names[0] == table.key or table is GAPS
        assert table.key in names
        assert table.schema.names == names
        assert all(column.unit and column.meaning for column in table.columns)
        for column in table.columns:
            assert column.name.startswith("ts_") <= (column.type == pa.timestamp("ms", tz="UTC"))
        assert not table.schema.field(table.key).nullable


def test_features_come_in_the_order_asked_for_and_may_be_null() -> None:
    table = features_table(["b", "a"])
    assert [column.name for column in table.columns] == ["ts_open", "ts_close", "b", "a"]
    assert [column.nullable for column in table.columns] == [False, False, True, True]


def test_every_error_is_one_of_ours_and_says_what_it_means() -> None:
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(own) > 5
    assert all(issubclass(error, TradecoreError) and error.__doc__ for error in own)
