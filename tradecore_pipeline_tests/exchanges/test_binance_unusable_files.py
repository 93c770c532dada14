"""A file that is not what its checksum says, or cannot be read: others fill in, and it is looked at again."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import ChecksumError, InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, klines_csv, minutes, ms, snapshots, zipped

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
DAY = date(2024, 6, 10)
NEXT = DAY + timedelta(days=1)
OLD = date(2024, 3, 5)
KEY = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-06-10.zip"
WRONG = Answer(200, b"0" * 64 + b"  x.zip\n")
MAY = list(day_range(date(2024, 5, 1), date(2024, 5, 31)))


def wrong_checksum(fake: FakeBinance, part: str) -> None:
    fake.faults.append((f"{part}.CHECKSUM", 99, WRONG))


def held(day: FetchedDay) -> HeldDay:
    return HeldDay(day.day, day.source, day.files, datetime(2024, 6, 12, tzinfo=UTC))


def fetch(exchange: BinanceExchange, *days: date, dataset: str = "bars_1m") -> list[FetchedDay]:
    return list(exchange.fetch_days(dataset, BTC, days))


@pytest.fixture
def whole(fake: FakeBinance) -> FakeBinance:
    fake.put_day(DAY, minutes(DAY))
    fake.bars.update(minutes(DAY) + minutes(NEXT))
    return fake


def test_rest_fills_in_for_a_wrong_checksum_and_the_day_says_so_until_the_file_is_good(
    whole: FakeBinance, connect: Connect
) -> None:
    wrong_checksum(whole, KEY)
    (day,) = fetch(connect(), DAY)
    assert (day.source, day.rows.num_rows, day.complete) == ("rest", 1440, True)
    assert day.reason.startswith("a file was not used: ")
    assert "BTCUSDT-1m-2024-06-10.zip does not match its checksum" in day.reason
    assert connect().revised_days("bars_1m", BTC, [held(day)]) == {}, "it is as bad as it was"
    whole.faults.clear()
    revised = connect().revised_days("bars_1m", BTC, [held(day)])
    assert revised == {DAY: "BTCUSDT-1m-2024-06-10.zip can be used by now"}
    (again,) = fetch(connect(), DAY)
    assert (again.source, again.reason) == ("archive-daily", "")
    assert connect().revised_days("bars_1m", BTC, [held(again)]) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"not a zip",
        zipped(b"x", "readme.txt"),
        zipped(klines_csv(minutes(DAY), header=True) * 2, "BTCUSDT-1m-2024-06-10.csv"),
        zipped(klines_csv(minutes(DAY), header=True), "ETHUSDT-1m-2024-06-10.csv"),
        zipped(klines_csv(minutes(DAY), header=True), "BTCUSDT-1m-2024-06-11.csv"),
        zipped(klines_csv(minutes(DAY), header=True), "BTCUSDT-3m-2024-06-10.csv"),
    ],
)
def test_rest_fills_in_for_a_file_that_cannot_be_read_until_it_is_rewritten(
    whole: FakeBinance, connect: Connect, *, body: bytes
) -> None:
    good, whole.files[KEY] = whole.files[KEY], body
    (day,) = fetch(connect(), DAY)
    assert (day.source, day.rows.num_rows, day.complete) == ("rest", 1440, True)
    assert "BTCUSDT-1m-2024-06-10.zip" in day.reason
    assert connect().revised_days("bars_1m", BTC, [held(day)]) == {}
    whole.files[KEY] = good
    whole.written[KEY] = datetime(2024, 6, 13, tzinfo=UTC)
    assert list(connect().revised_days("bars_1m", BTC, [held(day)])) == [DAY]


def test_without_rest_the_day_fails_with_what_is_wrong_with_its_file(whole: FakeBinance, connect: Connect) -> None:
    wrong_checksum(whole, KEY)
    for exchange in (connect(rest_url="http://127.0.0.1:9", retries=0), connect(archive_only=True)):
        with pytest.raises(ChecksumError, match="does not match its checksum"):
            fetch(exchange, DAY)


def test_a_day_that_rest_has_no_row_of_fails_where_its_file_may_have_some(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY))
    fake.bars.update(minutes(DAY - timedelta(days=1)))
    wrong_checksum(fake, KEY)
    with pytest.raises(ChecksumError):
        fetch(connect(), DAY)
    fake.bars.update(minutes(NEXT))
    (day,) = fetch(connect(), DAY)
    assert (day.rows.num_rows, day.complete) == (0, True), "REST shows what came after: there was nothing"


def test_daily_files_and_rest_fill_in_for_a_bad_month(fake: FakeBinance, connect: Connect) -> None:
    days = MAY[:12]
    everything = [t for day in MAY for t in minutes(day)]
    fake.put_month("2024-05", everything)
    for day in days[:9]:
        fake.put_day(day, minutes(day))
    fake.bars.update(everything)
    wrong_checksum(fake, "BTCUSDT-1m-2024-05.zip")
    fetched = fetch(connect(), *days)
    assert [day.source for day in fetched] == ["archive-daily"] * 9 + ["rest"] * 3
    assert all(day.complete and day.rows.num_rows == 1440 for day in fetched)
    assert [bool(day.reason) for day in fetched] == [False] * 9 + [True] * 3, "whole days need no word"
    fake.faults.clear()
    assert list(connect().revised_days("bars_1m", BTC, [held(day) for day in fetched])) == days[9:]


def test_rest_fills_in_for_a_bad_month_of_funding(fake: FakeBinance, connect: Connect) -> None:
    first = datetime(2024, 4, 20, tzinfo=UTC)
    fake.bars.update(minutes(first.date()))
    fake.funding = [(ms(first + timedelta(hours=8) * n), "0.0001") for n in range(180)]
    fake.put_funding("2024-05", [row for row in fake.funding if ms(day_start(MAY[0])) <= row[0] < ms(day_start(DAY))])
    with_strays = fetch(connect(), *MAY, dataset="funding_rates")
    assert {day.source for day in with_strays} == {"rest"}
    assert "holds settlements outside its month" in with_strays[0].reason
    wrong_checksum(fake, "fundingRate-2024-05.zip")
    days = fetch(connect(), *MAY, dataset="funding_rates")
    assert all((day.source, day.rows.num_rows, day.complete) == ("rest", 3, True) for day in days)
    assert all("does not match its checksum" in day.reason for day in days)
    for exchange in (connect(rest_url="http://127.0.0.1:9", retries=0, clock=fake.now), connect(archive_only=True)):
        fake.put_day(first.date(), minutes(first.date()))
        with pytest.raises(ChecksumError):
            fetch(exchange, *MAY, dataset="funding_rates")


def test_rest_fills_in_for_recent_open_interest_and_older_days_fail(fake: FakeBinance, connect: Connect) -> None:
    fake.open_interest = snapshots(day_start(DAY), 400)
    for day in (DAY, OLD):
        fake.put_metrics(day, snapshots(day_start(day), 288))
        wrong_checksum(fake, f"metrics-{day}.zip")
    (recent,) = fetch(connect(), DAY, dataset="open_interest")
    assert (recent.source, recent.rows.num_rows, recent.complete) == ("rest", 288, True)
    assert "does not match its checksum" in recent.reason
    for day, dataset in ((OLD, "open_interest"), (OLD, "long_short_ratios"), (DAY, "long_short_ratios")):
        with pytest.raises(InvalidDataError, match="does not match its checksum"):
            fetch(connect(), day, dataset=dataset)


def test_a_first_snapshot_in_a_bad_file_is_not_taken_for_a_gap_for_good(fake: FakeBinance, connect: Connect) -> None:
    days = [OLD, OLD + timedelta(days=1)]
    for day in days:
        fake.put_metrics(day, snapshots(day_start(day) + timedelta(minutes=5), 288))
    wrong_checksum(fake, f"metrics-{OLD}.zip")
    (day,) = fetch(connect(), days[1], dataset="open_interest")
    assert (day.rows.num_rows, day.complete, [gap.missing for gap in day.gaps]) == (287, False, [1])
    assert "does not match its checksum" in day.reason
    fake.faults.clear()
    (day,) = fetch(connect(), days[1], dataset="open_interest")
    assert (day.rows.num_rows, day.complete, day.reason) == (288, True, "")
