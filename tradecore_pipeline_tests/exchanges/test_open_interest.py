from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, open_interest_at, snapshots

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
STEP = timedelta(minutes=5)
OLD = date(2024, 3, 5)
RECENT = date(2024, 6, 10)


def fetch(exchange: BinanceExchange, *days: date) -> list[FetchedDay]:
    return list(exchange.fetch_days("open_interest", BTC, days))


def moments(day: FetchedDay) -> list[datetime]:
    return day.rows.column("ts_event").to_pylist()


def test_a_file_from_midnight_holds_its_day(fake: FakeBinance, connect: Connect) -> None:
    fake.put_metrics(OLD, snapshots(day_start(OLD), 288))
    (day,) = fetch(connect(), OLD)
    assert moments(day) == snapshots(day_start(OLD), 288)
    assert day.rows.column("open_interest_base").to_pylist() == [open_interest_at(t) for t in moments(day)]
    assert (day.source, day.complete, day.gaps, day.reason) == ("archive-daily", True, (), "")


def test_a_midnight_row_in_the_file_before_belongs_to_this_day(fake: FakeBinance, connect: Connect) -> None:
    days = [OLD, OLD + timedelta(days=1), OLD + timedelta(days=2)]
    for day in days:
        fake.put_metrics(day, snapshots(day_start(day) + STEP, 288))
    first, second, third = fetch(connect(), *days)
    assert moments(second) == snapshots(day_start(days[1]), 288)
    assert moments(third) == snapshots(day_start(days[2]), 288)
    assert [file.url[-14:-4] for file in second.files] == ["2024-03-06", "2024-03-05"]
    assert first.gaps == (Gap(day_start(OLD), day_start(OLD), 1),)
    assert all(day.complete for day in (first, second, third))
    assert fake.asked("metrics-2024-03-06.zip") == 2  # the file and its checksum, once


def test_shuffled_repeated_and_late_rows_are_put_in_order_once_and_the_last_wins(
    fake: FakeBinance, connect: Connect
) -> None:
    rows = snapshots(day_start(OLD), 288)
    fake.put_metrics(OLD, [*rows[100:], rows[3] + timedelta(seconds=2), *rows[:100], *rows[50:60]])
    (day,) = fetch(connect(), OLD)
    assert moments(day) == rows
    assert day.complete


def test_rows_without_a_value_are_gaps(fake: FakeBinance, connect: Connect) -> None:
    key = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{OLD}.zip"
    lines = ["create_time,symbol,sum_open_interest,sum_open_interest_value,a,b,c,d"]
    lines += [
        f"{t:%Y-%m-%d %H:%M:%S},BTCUSDT,{'' if t.hour == 7 else 5},10,,,," for t in snapshots(day_start(OLD), 288)
    ]
    fake.put(key, "\n".join(lines).encode())
    (day,) = fetch(connect(), OLD)
    assert [gap.missing for gap in day.gaps] == [12]
    assert day.complete


def test_a_file_of_another_symbol_is_refused(fake: FakeBinance, connect: Connect) -> None:
    key = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{OLD}.zip"
    lines = ["create_time,symbol,sum_open_interest,sum_open_interest_value,a,b,c,d", f"{OLD} 00:05:00,ETHUSDT,5,9,,,,"]
    fake.put(key, "\n".join(lines).encode())
    with pytest.raises(InvalidDataError, match="'ETHUSDT' instead of BTCUSDT"):
        fetch(connect(), OLD)


def test_a_recent_day_without_a_file_comes_from_rest(fake: FakeBinance, connect: Connect) -> None:
    fake.open_interest = snapshots(day_start(RECENT), 400)
    (day,) = fetch(connect(), RECENT)
    assert moments(day) == snapshots(day_start(RECENT), 288)
    assert (day.source, day.complete, day.market) == ("rest", True, "real")


def test_a_short_recent_file_is_repaired_from_rest(fake: FakeBinance, connect: Connect) -> None:
    fake.put_metrics(RECENT, snapshots(day_start(RECENT), 200))
    fake.open_interest = snapshots(day_start(RECENT), 400)
    (day,) = fetch(connect(), RECENT)
    assert (day.source, day.rows.num_rows, day.gaps) == ("archive-daily+rest", 288, ())
    fake.faults.append(("openInterestHist", 9, Answer(403, b"<html>")))
    (day,) = fetch(connect(), RECENT)
    assert (day.source, day.rows.num_rows, day.complete) == ("archive-daily", 200, False)
    assert "88 rows missing" in day.reason


def test_an_old_day_without_a_file_is_empty_and_final_and_says_why(fake: FakeBinance, connect: Connect) -> None:
    fake.put_metrics(OLD, snapshots(day_start(OLD), 288))
    (day,) = fetch(connect(), OLD + timedelta(days=9))
    assert (day.rows.num_rows, day.source, day.complete) == (0, "none", True)
    assert day.reason.startswith("not published: open interest older than 30 days exists only in the archive")
    assert fake.asked("openInterestHist") == 0
    assert connect().first_day("open_interest", BTC) == OLD


def test_today_is_not_complete_and_holds_what_is_known(fake: FakeBinance, connect: Connect) -> None:
    today = fake.now.date()
    fake.open_interest = snapshots(day_start(today), 288)
    (day,) = fetch(connect(), today)
    assert moments(day)[-1] == datetime(2024, 6, 20, 12, tzinfo=UTC)
    assert (day.complete, day.reason, day.gaps) == (False, "day not over", ())


def test_a_recent_day_fails_when_rest_is_blocked(fake: FakeBinance, connect: Connect) -> None:
    fake.faults.append(("openInterestHist", 9, Answer(451, b"{}")))
    with pytest.raises(SourceUnavailableError, match="does not serve this country"):
        fetch(connect(), RECENT)


def test_the_exchange_clock_decides_what_is_too_old(fake: FakeBinance, connect: Connect) -> None:
    edge = fake.now.date() - timedelta(days=28)
    fake.open_interest = snapshots(day_start(edge - timedelta(days=3)), 288 * 5)
    assert fetch(connect(), edge)[0].source == "rest"
    assert fetch(connect(), edge - timedelta(days=1))[0].source == "none"
