import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, minutes, ms

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
LISTED = datetime(2024, 4, 20, 10, tzinfo=UTC)
MAY = list(day_range(date(2024, 5, 1), date(2024, 5, 31)))


def settlements(first: datetime, after: datetime, hours: int = 8) -> list[tuple[int, str]]:
    """Stamped a few ms late, as the exchange does."""
    count = -(-(after - first) // timedelta(hours=hours))
    return [
        (ms(first + timedelta(hours=hours) * n) + n * 7 % 32, f"{(n % 11 - 3) / 100_000:.8f}") for n in range(count)
    ]


def fetch(exchange: BinanceExchange, days: list[date]) -> list[FetchedDay]:
    return list(exchange.fetch_days("funding_rates", BTC, days))


@pytest.fixture
def rows(fake: FakeBinance) -> list[tuple[int, str]]:
    """From the listing in April to now, known to REST; the bars' beginning too."""
    fake.funding = settlements(datetime(2024, 4, 20, 16, tzinfo=UTC), fake.now)
    fake.bars.update(minutes(LISTED.date(), 600))
    return fake.funding


def in_month(rows: list[tuple[int, str]], month: int) -> list[tuple[int, str]]:
    return [row for row in rows if datetime.fromtimestamp(row[0] / 1000, tz=UTC).month == month]


def test_archive_and_rest_give_the_same_rows_on_the_minute(
    fake: FakeBinance, connect: Connect, rows: list[tuple[int, str]]
) -> None:
    by_rest = fetch(connect(), MAY)
    fake.put_funding("2024-04", in_month(rows, 4))
    fake.put_funding("2024-05", in_month(rows, 5))
    by_archive = fetch(connect(), MAY)
    assert {day.source for day in by_rest} == {"rest"}
    assert {day.source for day in by_archive} == {"archive-monthly"}
    assert [day.rows for day in by_archive] == [day.rows for day in by_rest]
    first = by_archive[0].rows.to_pylist()[1]
    assert first["ts_settle"] == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert first["funding_interval_minutes"] == 480
    assert first["funding_rate"] == float(
        next(rate for t, rate in rows if t >= ms(datetime(2024, 5, 1, 8, tzinfo=UTC)))
    )
    assert all(day.complete and day.gaps == () and day.rows.num_rows == 3 for day in by_rest + by_archive)


def test_the_first_settlement_has_no_interval_and_days_before_listing_none_at_all(
    connect: Connect, rows: list[tuple[int, str]]
) -> None:
    assert rows
    before, first, second = fetch(connect(), [LISTED.date() + timedelta(days=n) for n in (-1, 0, 1)])
    assert before.reason == "before listing (first bar 2024-04-20 10:00 UTC)"
    assert first.rows.column("funding_interval_minutes").to_pylist() == [None]
    assert second.rows.column("funding_interval_minutes").to_pylist() == [480] * 3
    assert first.complete
    assert first.reason == ""


def test_a_changed_interval_is_measured_and_is_no_gap(fake: FakeBinance, connect: Connect) -> None:
    middle = datetime(2024, 5, 10, tzinfo=UTC)
    fake.bars.update(minutes(LISTED.date(), 600))
    fake.funding = settlements(datetime(2024, 5, 9, tzinfo=UTC), middle) + settlements(middle, fake.now, hours=4)
    days = fetch(connect(), [date(2024, 5, 10), date(2024, 5, 11)])
    assert days[0].rows.column("funding_interval_minutes").to_pylist() == [480, 240, 240, 240, 240, 240]
    assert all(day.gaps == () and day.complete for day in days)


def test_a_settlement_missing_everywhere_is_a_gap(
    fake: FakeBinance, connect: Connect, rows: list[tuple[int, str]]
) -> None:
    lost = datetime(2024, 5, 14, 8, tzinfo=UTC)
    fake.funding = [row for row in rows if not 0 <= row[0] - ms(lost) < 60_000]
    fake.put_funding("2024-05", in_month(fake.funding, 5))
    (day,) = fetch(connect(), [lost.date()])
    assert day.gaps == (Gap(lost, lost, 1),)
    assert (day.complete, day.source, day.rows.num_rows) == (True, "archive-monthly", 2)


def test_settlements_that_the_archive_lacks_are_repaired_from_rest(
    fake: FakeBinance, connect: Connect, rows: list[tuple[int, str]]
) -> None:
    whole = fetch(connect(), MAY)
    fake.put_funding("2024-05", in_month(rows, 5)[:40])
    days = fetch(connect(), MAY)
    assert [day.rows for day in days] == [day.rows for day in whole]
    assert days[20].complete
    fake.faults.append(("fundingRate?", 99, Answer(500, b"")))
    short = fetch(connect(retries=0), MAY)
    assert [day.complete for day in short] == [True] * 13 + [False] * 18


def test_today_is_not_complete_and_yesterday_is(connect: Connect, rows: list[tuple[int, str]]) -> None:
    assert rows
    yesterday, today = fetch(connect(), [date(2024, 6, 19), date(2024, 6, 20)])
    assert (yesterday.complete, yesterday.rows.num_rows) == (True, 3)
    assert (today.complete, today.reason, today.rows.num_rows) == (False, "day not over", 2)


def test_an_impossible_rate_fails_the_month(fake: FakeBinance, connect: Connect, rows: list[tuple[int, str]]) -> None:
    may = in_month(rows, 5)
    fake.put_funding("2024-05", [*may[:9], (may[9][0], "0.5"), *may[10:]])
    with pytest.raises(InvalidDataError, match="funding_rate is beyond"):
        fetch(connect(), MAY)


def test_a_payload_of_another_shape_is_refused(
    fake: FakeBinance, connect: Connect, rows: list[tuple[int, str]]
) -> None:
    assert rows
    fake.faults.append(("fundingRate?", 9, Answer(200, b'[{"fundingTime": "1", "fundingRate": "0.1"}]')))
    with pytest.raises(InvalidDataError, match="row 0 lacks fundingTime"):
        fetch(connect(retries=0), MAY)


def test_a_settlement_that_a_page_left_out_once_is_not_lost(
    fake: FakeBinance, connect: Connect, rows: list[tuple[int, str]]
) -> None:
    page = [{"fundingTime": t, "fundingRate": rate} for t, rate in rows if t != rows[50][0]]
    fake.faults.append(("fundingRate?startTime", 1, Answer(200, json.dumps(page).encode())))
    fake.faults.append(("fundingRate?symbol", 1, Answer(200, json.dumps(page).encode())))
    days = fetch(connect(), MAY)
    assert all(day.gaps == () and day.complete and day.rows.num_rows == 3 for day in days)


def test_one_settlement_missing_at_a_shorter_interval_is_a_gap(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(LISTED.date(), 600))
    every_four_hours = settlements(datetime(2024, 5, 1, tzinfo=UTC), fake.now, hours=4)
    lost = datetime(2024, 5, 14, 8, tzinfo=UTC)
    fake.funding = [row for row in every_four_hours if not 0 <= row[0] - ms(lost) < 60_000]
    fake.put_funding("2024-05", in_month(fake.funding, 5))
    day, after = fetch(connect(), [lost.date(), lost.date() + timedelta(days=1)])
    assert (day.gaps, day.complete, after.gaps) == ((Gap(lost, lost, 1),), True, ())
    fake.funding = every_four_hours
    (repaired,) = fetch(connect(), [lost.date()])
    assert (repaired.gaps, repaired.source) == ((), "archive-monthly+rest")
    assert repaired.rows.column("funding_interval_minutes").to_pylist() == [240] * 6
