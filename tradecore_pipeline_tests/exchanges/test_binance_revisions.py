from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, SourceFile
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, minutes, ms

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
DAY = date(2024, 6, 10)
KEY = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-06-10.zip"
INGESTED = datetime(2024, 6, 12, tzinfo=UTC)
LATER = INGESTED + timedelta(days=3)


def held(day: FetchedDay, at: datetime = INGESTED) -> HeldDay:
    return HeldDay(day.day, day.source, day.files, at)


def fetched(exchange: BinanceExchange, *days: date, dataset: str = "bars_1m") -> list[FetchedDay]:
    return list(exchange.fetch_days(dataset, BTC, days))


@pytest.fixture
def whole(fake: FakeBinance) -> FakeBinance:
    fake.bars.update(minutes(DAY) + minutes(DAY + timedelta(days=1)))
    return fake


def test_a_day_that_came_over_rest_is_fetched_again_once_the_archive_has_it(
    whole: FakeBinance, connect: Connect
) -> None:
    (day,) = fetched(connect(), DAY)
    assert connect().revised_days("bars_1m", BTC, [held(day)]) == {}
    whole.put_day(DAY, minutes(DAY))
    exchange = connect()
    assert exchange.revised_days("bars_1m", BTC, [held(day)]) == {DAY: "in the archive by now"}
    (again,) = fetched(exchange, DAY)
    assert (again.source, exchange.revised_days("bars_1m", BTC, [held(again)])) == ("archive-daily", {})


def test_a_rewritten_file_is_told_by_its_checksum_and_only_younger_files_are_asked_for_theirs(
    whole: FakeBinance, connect: Connect
) -> None:
    whole.put_day(DAY, minutes(DAY, 0, 1400))
    (day,) = fetched(connect(), DAY)
    assert day.source == "archive-daily+rest"
    whole.log.clear()
    whole.written[KEY] = INGESTED - timedelta(days=1)
    whole.put_day(DAY, minutes(DAY))
    assert connect().revised_days("bars_1m", BTC, [held(day)]) == {}
    assert whole.asked("CHECKSUM") == 0
    whole.written[KEY] = LATER
    assert connect().revised_days("bars_1m", BTC, [held(day)]) == {DAY: "BTCUSDT-1m-2024-06-10.zip was rewritten since"}
    (again,) = fetched(connect(), DAY)
    assert connect().revised_days("bars_1m", BTC, [held(again)]) == {}
    assert whole.asked("CHECKSUM") == 3  # the first question, the file itself, the second question


def test_a_monthly_file_covers_its_days_and_is_asked_for_once(whole: FakeBinance, connect: Connect) -> None:
    days = list(day_range(date(2024, 5, 1), date(2024, 5, 31)))
    everything = [t for day in days for t in minutes(day)]
    whole.bars.update(everything)
    whole.put_month("2024-05", everything)
    stored = [held(day) for day in fetched(connect(), *days)]
    key = "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-05.zip"
    whole.written[key] = LATER
    assert connect().revised_days("bars_1m", BTC, stored) == {}
    whole.put_month("2024-05", everything[:-1])
    whole.log.clear()
    revised = connect().revised_days("bars_1m", BTC, stored)
    assert (list(revised), whole.asked("CHECKSUM")) == (days, 1)


def test_a_file_without_rows_for_a_day_does_not_bring_it_back_for_ever(whole: FakeBinance, connect: Connect) -> None:
    days = list(day_range(date(2024, 5, 1), date(2024, 5, 31)))
    everything = [t for day in days for t in minutes(day)]
    whole.bars.update(everything)
    whole.put_month("2024-05", [t for t in everything if t < ms(datetime(2024, 5, 20, tzinfo=UTC))])
    stored = fetched(connect(), *days)
    assert {day.source for day in stored} == {"archive-monthly", "rest"}
    assert connect().revised_days("bars_1m", BTC, [held(day) for day in stored]) == {}


def test_an_unpublished_day_is_fetched_again_when_its_file_appears(fake: FakeBinance, connect: Connect) -> None:
    old = date(2024, 3, 5)
    (day,) = fetched(connect(), old, dataset="open_interest")
    assert (day.source, day.forgotten) == ("none", True)
    fake.put_metrics(old, [])
    assert connect().revised_days("open_interest", BTC, [held(day)]) == {old: "in the archive by now"}
    (looked_into,) = fetched(connect(), old, dataset="open_interest")
    assert connect().revised_days("open_interest", BTC, [held(looked_into)]) == {}
    fake.written[f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{old}.zip"] = LATER
    assert connect().revised_days("open_interest", BTC, [held(day)]) == {old: "published on 2024-06-15"}


def test_funding_over_rest_is_fetched_again_from_its_monthly_file(whole: FakeBinance, connect: Connect) -> None:
    first = datetime(2024, 6, 9, tzinfo=UTC)
    whole.funding = [(ms(first + timedelta(hours=8) * n), "0.0001") for n in range(33)]
    (day,) = fetched(connect(), DAY, dataset="funding_rates")
    whole.put_funding("2024-06", whole.funding)
    assert connect().revised_days("funding_rates", BTC, [held(day)]) == {DAY: "in the archive by now"}


def test_an_imported_day_is_compared_with_the_archive(whole: FakeBinance, connect: Connect) -> None:
    imported = [
        HeldDay(DAY, source, (SourceFile("BTCUSDT-1m-2024-06-10.csv", "ab" * 32),), INGESTED)
        for source in ("import", "import+rest", "archive-daily+import")
    ]
    assert connect().revised_days("bars_1m", BTC, imported) == {}
    whole.put_day(DAY, minutes(DAY))
    found = [connect().revised_days("bars_1m", BTC, [day]) for day in imported]
    assert found == [{DAY: "in the archive by now"}, {DAY: "in the archive by now"}, {}]


@pytest.mark.parametrize("answer", [Answer(200, b"hello"), Answer(404, b""), Answer(403, b""), Answer(500, b"")])
def test_a_checksum_that_cannot_be_read_makes_its_day_a_suspect_and_hides_no_other(
    whole: FakeBinance, connect: Connect, *, answer: Answer
) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    for day in days:
        whole.put_day(day, minutes(day))
    stored = [held(day) for day in fetched(connect(), *days)]
    for day in days:
        whole.written[KEY.replace(str(DAY), str(day))] = LATER
    whole.put_day(days[1], minutes(days[1], 0, 1400))
    whole.faults.append((f"{KEY}.CHECKSUM", 9, answer))
    revised = connect(retries=0).revised_days("bars_1m", BTC, stored)
    assert list(revised) == days
    assert "its checksum cannot be read" in revised[days[0]]
    assert revised[days[1]] == "BTCUSDT-1m-2024-06-11.zip was rewritten since"


def test_funding_that_was_taken_for_unpublished_is_fetched_again_but_not_the_days_before_listing(
    whole: FakeBinance, connect: Connect
) -> None:
    first = datetime(2024, 4, 20, tzinfo=UTC)
    rows = [(ms(first + timedelta(hours=8) * n), "0.0001") for n in range(60)]
    whole.put_funding("2024-04", [row for row in rows if row[0] < ms(datetime(2024, 5, 1, tzinfo=UTC))])
    whole.put_funding("2024-05", [row for row in rows if row[0] >= ms(datetime(2024, 5, 1, tzinfo=UTC))])
    empty = [HeldDay(day, "none", (), INGESTED) for day in (date(2024, 4, 1), date(2024, 5, 3))]
    assert connect().revised_days("funding_rates", BTC, empty) == {date(2024, 5, 3): "in the archive by now"}
