"""Where no API may be asked, the archive alone tells everything that it can, and no request goes elsewhere."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import SourceUnavailableError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, minutes, ms, serving, snapshots

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
MAY = list(day_range(date(2024, 5, 1), date(2024, 5, 31)))
YESTERDAY = date(2024, 6, 19)
MARCH = date(2024, 3, 5)


@pytest.fixture
def rest() -> Iterator[FakeBinance]:
    """A REST host that has everything, and that nobody may ask."""
    with serving() as rest:
        rest.bars.update(t for day in MAY for t in minutes(day))
        yield rest
        assert rest.log == []


@pytest.fixture
def exchange(rest: FakeBinance, connect: Connect) -> BinanceExchange:
    return connect(archive_only=True, rest_url=rest.url)


def fetch(exchange: BinanceExchange, dataset: str, *days: date) -> list[FetchedDay]:
    return list(exchange.fetch_days(dataset, BTC, days))


def test_bars_and_premium_of_the_archive_are_whole(fake: FakeBinance, exchange: BinanceExchange) -> None:
    fake.put_month("2024-05", [t for day in MAY for t in minutes(day)])
    fake.put_premium(MAY[3], minutes(MAY[3]))
    days = fetch(exchange, "bars_1m", MAY[0] - timedelta(days=1), *MAY)
    assert days[0].reason == "only archives were asked: their files of bars_1m begin on 2024-05-01"
    assert [day.complete for day in days] == [False] + [True] * 31
    assert {day.rows.num_rows for day in days[1:]} == {1440}
    assert exchange.first_day("bars_1m", BTC) == MAY[0]
    without, whole = fetch(exchange, "premium_index", *MAY[2:4])
    assert without.reason == "only archives were asked: their files of premium_index begin on 2024-05-04"
    assert not without.complete
    assert (whole.complete, whole.rows.num_rows) == (True, 1440)


def test_the_first_bar_is_told_by_the_first_file(fake: FakeBinance, exchange: BinanceExchange) -> None:
    fake.put_day(MARCH, minutes(MARCH, 600))
    (day,) = fetch(exchange, "bars_1m", MARCH)
    assert (day.complete, day.gaps, day.rows.num_rows) == (False, (), 840)
    assert day.reason.startswith("rows before the first one may be missing: ")


@pytest.mark.parametrize("dataset", ["bars_1m", "premium_index", "funding_rates", "open_interest", "long_short_ratios"])
def test_what_is_not_in_the_archive_yet_is_empty_and_not_complete(
    fake: FakeBinance, exchange: BinanceExchange, *, dataset: str
) -> None:
    fake.put_day(MARCH, minutes(MARCH))
    fake.put_premium(MARCH, minutes(MARCH))
    for day in fetch(exchange, dataset, YESTERDAY, fake.now.date()):
        assert (day.rows.num_rows, day.complete, day.forgotten) == (0, False, True)
        assert day.reason in {
            "day not over",
            "only archives were asked: they have no file for this day",
            "not in the archive yet, and only archives have it",
        }


def test_a_day_that_the_archive_never_got_is_not_final_where_rest_may_have_it(
    fake: FakeBinance, exchange: BinanceExchange
) -> None:
    fake.put_day(MARCH, minutes(MARCH))
    (day,) = fetch(exchange, "bars_1m", MARCH + timedelta(days=1))
    assert (day.complete, day.forgotten, day.rows.num_rows) == (False, True, 0)
    assert day.reason == "only archives were asked: they have no file for this day"


def test_open_interest_that_only_the_archive_could_have_is_final(fake: FakeBinance, exchange: BinanceExchange) -> None:
    fake.put_metrics(MARCH, snapshots(day_start(MARCH), 280))
    for day in fetch(exchange, "open_interest", MARCH - timedelta(days=1), MARCH, MARCH + timedelta(days=1)):
        assert day.complete
        assert day.rows.num_rows == 280 or day.reason.startswith("not published: open interest older than 30 days")


def test_holes_of_a_file_are_gaps_that_rest_may_fill(fake: FakeBinance, exchange: BinanceExchange) -> None:
    recent = date(2024, 6, 10)
    for day in (MARCH, recent):
        fake.put_day(day, minutes(day, 0, 100) + minutes(day, 163))
    for day in fetch(exchange, "bars_1m", MARCH, recent):
        assert (day.complete, [gap.missing for gap in day.gaps]) == (False, [63])
        assert "only archives are" in day.reason


def test_what_archives_alone_did_not_have_comes_as_soon_as_rest_may_be_asked(
    fake: FakeBinance, exchange: BinanceExchange, connect: Connect
) -> None:
    days = [MARCH, MARCH + timedelta(days=1), MARCH + timedelta(days=2)]
    fake.put_day(days[1], minutes(days[1], 0, 1400))
    assert not any(day.complete for day in fetch(exchange, "bars_1m", *days))
    fake.bars.update(t for day in [*days, days[-1] + timedelta(days=1)] for t in minutes(day))
    after = fetch(connect(), "bars_1m", *days)
    assert [(day.complete, day.rows.num_rows) for day in after] == [(True, 1440)] * 3


def test_funding_and_metrics_come_from_their_files(fake: FakeBinance, exchange: BinanceExchange) -> None:
    fake.put_day(MAY[0], minutes(MAY[0]))
    first = datetime(2024, 5, 1, tzinfo=UTC)
    fake.put_funding("2024-05", [(ms(first + timedelta(hours=8) * n), "0.0001") for n in range(93)])
    for day in MAY[:2]:
        fake.put_metrics(day, snapshots(day_start(day), 288))
    assert [day.rows.num_rows for day in fetch(exchange, "funding_rates", *MAY)] == [3] * 31
    for dataset in ("open_interest", "long_short_ratios"):
        days = fetch(exchange, dataset, *MAY[:2])
        assert [(day.rows.num_rows, day.complete) for day in days] == [(288, True)] * 2
        assert exchange.first_day(dataset, BTC) == MAY[0]


@pytest.mark.parametrize("archive_only", [True, False])
@pytest.mark.parametrize("dataset", ["bars_1m", "funding_rates", "open_interest"])
def test_a_clock_weeks_ahead_of_the_archives_answers_stores_nothing_and_says_so(
    fake: FakeBinance, connect: Connect, dataset: str, *, archive_only: bool
) -> None:
    fake.put_day(MARCH, minutes(MARCH))
    fake.put_metrics(MARCH, snapshots(day_start(MARCH), 288))
    exchange = connect(
        archive_only=archive_only,
        rest_url="http://127.0.0.1:9",
        retries=0,
        clock=datetime.now(UTC) + timedelta(days=60),
    )
    today = datetime.now(UTC).date()
    with pytest.raises(
        SourceUnavailableError, match=r"this machine's clock \(.*\) is ahead of the archive's \(.*\): set"
    ):
        fetch(exchange, dataset, today - timedelta(days=1), today)


def test_a_clock_a_little_ahead_of_the_archives_answers_is_not_trusted_with_a_day_to_come(
    fake: FakeBinance, connect: Connect
) -> None:
    fake.put_day(MARCH, minutes(MARCH))
    ahead = datetime.now(UTC) + timedelta(hours=23, minutes=59)
    with pytest.raises(UsageError, match="is in the future"):
        fetch(connect(archive_only=True, clock=ahead), "bars_1m", ahead.date() + timedelta(days=1))
    if ahead.date() > datetime.now(UTC).date():
        with pytest.raises(UsageError, match="is in the future"):
            fetch(connect(archive_only=True, clock=ahead), "bars_1m", ahead.date())


def test_the_clock_is_ours(fake: FakeBinance, exchange: BinanceExchange) -> None:
    assert exchange.server_time() == fake.now
