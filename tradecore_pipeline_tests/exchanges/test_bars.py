from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import (
    InvalidDataError,
    MixedHomeError,
    SourceUnavailableError,
    UsageError,
)
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.time import month_days
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, kline, klines_csv, minutes, ms

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
DAY = date(2024, 6, 10)
DAILY_KEY = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-06-10.zip"
MAY_KEY = "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-05.zip"


def fetch(exchange: BinanceExchange, *days: date, instrument: Instrument = BTC) -> list[FetchedDay]:
    return list(exchange.fetch_days("bars_1m", instrument, days))


def stamps(day: FetchedDay) -> list[int]:
    return [ms(moment) for moment in day.rows.column("ts_open").to_pylist()]


def test_a_whole_daily_file_is_taken_as_it_is_and_without_asking_rest(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY))
    (day,) = fetch(connect(), DAY)
    assert (day.source, day.market, day.complete, day.reason, day.gaps) == ("archive-daily", "real", True, "", ())
    assert stamps(day) == minutes(DAY)
    row = day.rows.slice(7, 1).to_pylist()[0]
    raw = kline(minutes(DAY)[7])
    assert [str(row[name]) for name in ("high", "low")] == [raw[2], f"{raw[3]}0000000"]
    assert (row["volume"], row["quote_volume"], row["trades"]) == (1.5, float(str(raw[7])), 7)
    assert day.files[0].url.endswith(DAILY_KEY)
    assert len(day.files[0].sha256) == 64
    assert fake.asked("/fapi/v1/klines") == 0


def test_minutes_that_the_archive_lacks_are_repaired_from_rest(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY, 0, 100) + minutes(DAY, 163))
    fake.bars.update(minutes(DAY) + minutes(DAY + timedelta(days=1)))
    (day,) = fetch(connect(), DAY)
    assert day.source == "archive-daily+rest"
    assert (day.complete, day.gaps) == (True, ())
    assert stamps(day) == minutes(DAY)


def test_minutes_that_neither_has_are_a_gap_of_a_complete_day(fake: FakeBinance, connect: Connect) -> None:
    traded = minutes(DAY, 0, 100) + minutes(DAY, 163)
    fake.put_day(DAY, traded)
    fake.bars.update(traded)
    (day,) = fetch(connect(), DAY)
    start = datetime(2024, 6, 10, tzinfo=UTC)
    assert day.gaps == (Gap(start + timedelta(minutes=100), start + timedelta(minutes=162), 63),)
    assert (day.source, day.complete, day.rows.num_rows) == ("archive-daily", True, 1377)


def test_a_short_archive_day_is_not_complete_while_rest_refuses(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY, 0, 1000))
    fake.faults.append(("/fapi/v1/klines", 99, Answer(451, b"{}")))
    (day,) = fetch(connect(), DAY)
    assert (day.complete, day.rows.num_rows, day.gaps[0].missing) == (False, 1000, 440)
    assert "440 rows missing" in day.reason
    assert "geo-block" in day.reason


def test_a_day_that_only_rest_has_is_paged_and_its_holes_are_asked_for_twice(
    fake: FakeBinance, connect: Connect
) -> None:
    fake.bars.update(minutes(DAY, 0, 500) + minutes(DAY, 510) + minutes(DAY + timedelta(days=1)))
    (day,) = fetch(connect(), DAY)
    assert (day.source, day.rows.num_rows, day.complete) == ("rest", 1430, True)
    assert [gap.missing for gap in day.gaps] == [10]
    assert fake.asked("/fapi/v1/klines") == 5  # the first bar, three pages of up to 499, the hole again


def test_an_empty_answer_once_does_not_lose_the_day(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(DAY) + minutes(DAY + timedelta(days=1)))
    exchange = connect()
    exchange.first_day("bars_1m", BTC)
    fake.faults.append(("/fapi/v1/klines", 1, Answer(200, b"[]")))
    (day,) = fetch(exchange, DAY)
    assert (day.rows.num_rows, day.complete) == (1440, True)


def test_today_holds_closed_bars_only_and_is_not_complete(fake: FakeBinance, connect: Connect) -> None:
    today = fake.now.date()
    fake.bars.update(minutes(today))
    (day,) = fetch(connect(), today)
    assert stamps(day) == minutes(today, 0, 720)
    assert (day.complete, day.reason, day.gaps) == (False, "day not over", ())


def test_the_first_minute_of_today_gives_an_empty_incomplete_day(fake: FakeBinance, connect: Connect) -> None:
    fake.now = datetime(2024, 6, 20, 0, 0, 30, tzinfo=UTC)
    fake.market = "simulated:x"
    fake.bars.update(minutes(fake.now.date()))
    (day,) = fetch(connect(), fake.now.date())
    assert (day.rows.num_rows, day.complete, day.reason, day.market) == (0, False, "day not over", "simulated:x")


def test_a_day_just_over_that_rest_has_not_all_of_is_not_complete(fake: FakeBinance, connect: Connect) -> None:
    yesterday = fake.now.date() - timedelta(days=1)
    fake.bars.update(minutes(yesterday, 0, 1430))
    (day,) = fetch(connect(), yesterday)
    assert (day.complete, day.gaps) == (False, ())
    assert day.reason == "no rows yet from 23:50 UTC on (halted or delayed)"


def test_a_future_day_is_refused_with_the_exchange_time(fake: FakeBinance, connect: Connect) -> None:
    with pytest.raises(UsageError, match=r"2024-06-21 is in the future \(exchange time 2024-06-20 12:00 UTC\)"):
        fetch(connect(), fake.now.date() + timedelta(days=1))


def test_days_before_the_first_bar_are_empty_and_final(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(DAY, 600) + minutes(DAY + timedelta(days=1)))
    before, first = fetch(connect(), DAY - timedelta(days=3), DAY)
    assert (before.rows.num_rows, before.source, before.complete) == (0, "none", True)
    assert before.reason == "before listing (first bar 2024-06-10 10:00 UTC)"
    assert (first.rows.num_rows, first.complete, first.gaps) == (840, True, ())
    assert connect().first_day("bars_1m", BTC) == DAY


def test_without_rest_a_day_before_the_archive_fails_instead_of_looking_unlisted(
    fake: FakeBinance, connect: Connect
) -> None:
    fake.put_day(DAY, minutes(DAY))
    exchange = connect(rest_url="http://127.0.0.1:9", retries=0)
    with pytest.raises(SourceUnavailableError, match=r"cannot reach 127\.0\.0\.1:9 .*TRADECORE_BINANCE_REST_URL"):
        fetch(exchange, DAY - timedelta(days=1))
    assert fetch(exchange, DAY)[0].complete


def test_ten_days_of_a_month_come_from_its_file_and_its_short_days_from_daily_files_or_rest(
    fake: FakeBinance, connect: Connect
) -> None:
    days = [date(2024, 5, number) for number in range(1, 13)]
    short_here, short_everywhere = days[4], days[7]
    rows = [t for day in days for t in minutes(day, 0, 1000 if day in {short_here, short_everywhere} else 1440)]
    fake.put_month("2024-05", rows)
    fake.put_day(short_here, minutes(short_here))
    fake.bars.update(minutes(short_everywhere) + minutes(days[8]))
    fetched = fetch(connect(), *days)
    assert [day.day for day in fetched] == days
    assert all(stamps(day) == minutes(day.day) and day.complete for day in fetched)
    sources = {day.day: day.source for day in fetched}
    assert sources.pop(short_here) == "archive-daily"
    assert sources.pop(short_everywhere) == "archive-monthly+rest"
    assert set(sources.values()) == {"archive-monthly"}


def test_few_days_of_a_month_come_from_daily_files(fake: FakeBinance, connect: Connect) -> None:
    fake.put_month("2024-06", minutes(DAY))
    fake.put_day(DAY, minutes(DAY))
    assert fetch(connect(), DAY)[0].source == "archive-daily"
    del fake.files[DAILY_KEY]
    assert fetch(connect(), DAY)[0].source == "archive-monthly"


@pytest.mark.parametrize(("scale", "header"), [(1, False), (1000, False), (1, True)])
def test_header_and_unit_of_time_are_told_from_the_file(
    fake: FakeBinance, connect: Connect, *, scale: int, header: bool
) -> None:
    spot = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-06-10.zip"
    fake.put(spot, klines_csv(minutes(DAY), header=header, scale=scale))
    (day,) = fetch(connect(), DAY, instrument=Instrument.parse("binance:BTC/USDT"))
    assert stamps(day) == minutes(DAY)


def test_shuffled_and_repeated_rows_are_put_in_order_once(fake: FakeBinance, connect: Connect) -> None:
    rows = minutes(DAY)
    fake.put_day(DAY, rows[700:] + rows[:720])
    (day,) = fetch(connect(), DAY)
    assert (stamps(day), day.complete) == (rows, True)


def test_the_days_before_a_failing_one_are_handed_over(fake: FakeBinance, connect: Connect) -> None:
    days = [date(2024, 5, number) for number in range(1, 13)]
    fake.put_month("2024-05", [t for day in days[:9] for t in minutes(day)])
    fake.faults.append(("/fapi/v1/klines", 99, Answer(200, b"<html>")))
    reading = connect(retries=0).fetch_days("bars_1m", BTC, days)
    assert [next(reading).day for _ in range(9)] == days[:9]
    with pytest.raises(InvalidDataError, match="answered with a web page instead of data"):
        next(reading)


def test_an_unlisted_symbol_is_a_usage_error(fake: FakeBinance, connect: Connect) -> None:
    fake.symbols.clear()
    with pytest.raises(UsageError, match="binance does not list BTCUSDT"):
        fetch(connect(), DAY)


def test_archive_and_rest_of_different_markets_do_not_mix(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY, 0, 1000))
    fake.bars.update(minutes(DAY))
    page = str([kline(t) for t in minutes(DAY, 1000)]).replace("'", '"').encode()
    fake.faults.append(("/fapi/v1/klines", 1, Answer(200, page, {"X-Tradecore-Market": "simulated:y"})))
    with pytest.raises(MixedHomeError, match="simulated:y"):
        fetch(connect(), DAY)


def test_a_reader_may_stop_early(fake: FakeBinance, connect: Connect) -> None:
    days = [date(2024, 5, 1) + timedelta(days=number) for number in range(30)]
    for day in days:
        fake.put_day(day, minutes(day))
    reading = connect().fetch_days("bars_1m", BTC, days)
    assert next(reading).day == days[0]
    reading.close()  # type: ignore[attr-defined]
    assert fake.asked(".zip") < 2 * len(days)


def test_a_dataset_or_market_that_is_not_offered_is_a_usage_error(connect: Connect) -> None:
    spot = Instrument.parse("binance:BTC/USDT")
    with pytest.raises(UsageError, match="binance:BTC/USDT is spot and has no open_interest"):
        connect().fetch_days("open_interest", spot, [DAY])
    with pytest.raises(UsageError, match="settles in BTC"):
        connect().fetch_days("bars_1m", Instrument.parse("binance:BTC/USD:BTC"), [DAY])


def test_days_in_a_monthly_file_ask_for_no_other_listing(fake: FakeBinance, connect: Connect) -> None:
    days = month_days(date(2024, 5, 1))
    fake.put_month("2024-05", [stamp for day in days for stamp in minutes(day)])
    assert [day.source for day in fetch(connect(), *days)] == ["archive-monthly"] * 31
    assert (fake.asked("monthly%2Fklines"), fake.asked("daily%2Fklines")) == (1, 0)


def test_a_bad_row_in_a_monthly_file_fails_its_own_day_and_no_day_before_it(
    fake: FakeBinance, connect: Connect
) -> None:
    days = month_days(date(2024, 5, 1))
    csv = klines_csv([stamp for day in days for stamp in minutes(day)], header=True)
    bad = klines_csv(minutes(days[11])[:1], header=False)
    high = kline(minutes(days[11])[0])[2]
    fake.put(MAY_KEY, csv.replace(bad, bad.replace(f",{high},".encode(), b",-1,", 1), 1))
    stream = connect().fetch_days("bars_1m", BTC, days)
    assert [next(stream).day for _ in range(11)] == list(days[:11])
    with pytest.raises(InvalidDataError, match=r"2024-05-12T00:00:00Z: high is not above zero"):
        next(stream)
