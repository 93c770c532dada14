from collections.abc import Callable
from datetime import date, timedelta

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import PREMIUM_INDEX
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, minutes, ms, premium

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
DAY = date(2024, 6, 10)
ONE_DAY = timedelta(days=1)


def fetch(exchange: BinanceExchange, *days: date) -> list[FetchedDay]:
    return list(exchange.fetch_days("premium_index", BTC, days))


def stamps(day: FetchedDay) -> list[int]:
    return [ms(moment) for moment in day.rows.column("ts_open").to_pylist()]


def test_archive_and_rest_give_the_same_signed_rows(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(DAY))
    fake.premium.update(minutes(DAY) + minutes(DAY + ONE_DAY))
    (by_rest,) = fetch(connect(), DAY)
    fake.put_premium(DAY, minutes(DAY))
    (by_archive,) = fetch(connect(), DAY)
    assert (by_rest.source, by_archive.source) == ("rest", "archive-daily")
    assert by_rest.rows.equals(by_archive.rows)
    assert by_rest.rows.schema == PREMIUM_INDEX.schema
    assert (by_rest.complete, by_rest.gaps, stamps(by_rest)) == (True, (), minutes(DAY))
    row, raw = by_rest.rows.slice(1, 1).to_pylist()[0], premium(minutes(DAY)[1])
    assert [row[name] for name in ("open", "high", "low", "close")] == [float(str(value)) for value in raw[1:5]]
    assert row["open"] < 0


def test_holes_are_repaired_from_rest_and_else_are_gaps(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(DAY))
    fake.put_premium(DAY, minutes(DAY, 0, 100) + minutes(DAY, 200))
    fake.premium.update(minutes(DAY, 0, 150) + minutes(DAY, 200))
    (day,) = fetch(connect(), DAY)
    assert (day.source, day.complete) == ("archive-daily+rest", True)
    assert [gap.missing for gap in day.gaps] == [50]


def test_days_before_the_index_was_published_are_empty_and_final(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(DAY - ONE_DAY, 600) + minutes(DAY))
    fake.premium.update(minutes(DAY, 720) + minutes(DAY + ONE_DAY))
    before, without, first = fetch(connect(), DAY - 2 * ONE_DAY, DAY - ONE_DAY, DAY)
    assert before.reason == "before listing (first bar 2024-06-09 10:00 UTC)"
    assert without.reason == "not published: premium_index begins at 2024-06-10 12:00 UTC"
    assert [day.rows.num_rows for day in (before, without, first)] == [0, 0, 720]
    assert all(day.complete and not day.gaps for day in (before, without, first))
    assert connect().first_day("premium_index", BTC) == DAY


def test_an_index_that_was_never_published_leaves_empty_final_days(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(DAY))
    (day,) = fetch(connect(), DAY)
    assert (day.rows.num_rows, day.complete) == (0, True)
    assert day.reason == "not published: neither the archive nor REST has any premium_index of BTCUSDT"


def test_today_holds_closed_minutes_only(fake: FakeBinance, connect: Connect) -> None:
    today = fake.now.date()
    fake.bars.update(minutes(today))
    fake.premium.update(minutes(today))
    (day,) = fetch(connect(), today)
    assert (stamps(day), day.complete) == (minutes(today, 0, 720), False)


@pytest.mark.parametrize(("wrong", "message"), [("0.9", "low is above"), ("nan", "finite"), ("", "low is empty")])
def test_impossible_values_fail_the_day(fake: FakeBinance, connect: Connect, *, wrong: str, message: str) -> None:
    fake.bars.update(minutes(DAY))
    fake.put_premium(DAY, minutes(DAY))
    key = f"data/futures/um/daily/premiumIndexKlines/BTCUSDT/1m/BTCUSDT-1m-{DAY}.zip"
    row = ",".join(map(str, premium(minutes(DAY)[5])))
    bad = [*row.split(",")[:3], wrong, *row.split(",")[4:]]
    rows = [",".join(map(str, premium(stamp))) for stamp in minutes(DAY)]
    rows[5] = ",".join(bad)
    fake.put(key, "\n".join(rows).encode())
    with pytest.raises(InvalidDataError, match=message):
        fetch(connect(), DAY)
