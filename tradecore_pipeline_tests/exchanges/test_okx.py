"""OKX against the simulator: every route gives what the market published, and says what is not there any more."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.okx.bulk import BulkFiles, address
from tradecore_pipeline.exchanges.okx.parse import BulkFile
from tradecore_pipeline.exchanges.pieces import Piece, cut
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline_tests.exchanges.okx_market import BITCOIN, OkxMarket, okx_market, settling

START, END = date(2023, 11, 20), date(2024, 1, 20)
NOW = datetime(2024, 1, 8, 10, 30, 30, tzinfo=UTC)
TODAY = NOW.date()
DATASETS = ("bars_1m", "funding_rates", "open_interest")
ONE_DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def okx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OkxMarket]:
    with okx_market(START, END, NOW, tmp_path_factory.mktemp("budgets")) as market:
        yield market


def said(days: list[FetchedDay]) -> list[tuple[object, ...]]:
    return [(day.day, day.rows.to_pylist(), day.gaps, day.complete, day.reason, day.forgotten) for day in days]


def test_bars_by_every_route_are_the_markets(okx: OkxMarket) -> None:
    days = okx.fetch("bars_1m", START - 2 * ONE_DAY, TODAY)
    okx.check(days, "bars_1m")
    # A month's last UTC day ends in the next month's file, of which only the first day is asked for.
    assert {"archive-monthly", "archive-monthly+rest", "archive-daily", "rest"} <= {day.source for day in days}
    assert [gap for day in days for gap in day.gaps] == [gap for gap in okx.market.outages if gap.last_missing < NOW]
    assert [day.complete for day in days] == [True] * (len(days) - 1) + [False]
    assert days[-1].reason == "day not over"
    assert all(file.sha256 for day in days if day.source == "archive-daily" for file in day.files)


def test_a_day_before_listing_is_empty_and_final(okx: OkxMarket) -> None:
    for dataset in DATASETS:
        (day,) = okx.fetch(dataset, START - ONE_DAY, START - ONE_DAY)
        assert (day.rows.num_rows, day.complete, day.forgotten) == (0, True, False)
        assert day.reason == "before listing (first bar 2023-11-20 00:00 UTC)"


def test_open_interest_is_what_the_server_still_keeps(okx: OkxMarket) -> None:
    days = okx.fetch("open_interest", START, TODAY)
    assert days[0].forgotten
    assert days[0].complete
    assert days[0].reason == "not published: OKX keeps five-minute open interest for 5 days"
    kept = [day for day in days if day.rows.num_rows]
    partial, *whole = kept
    assert (partial.day, partial.rows.num_rows, partial.forgotten) == (date(2024, 1, 3), 161, True)
    okx.check(whole, "open_interest")
    assert not any(day.forgotten for day in whole)
    assert okx.exchange.first_day("open_interest", BITCOIN) == date(2024, 1, 3)
    assert okx.exchange.first_day("bars_1m", BITCOIN) == START


@pytest.mark.parametrize("dataset", DATASETS)
def test_any_slicing_gives_the_same_days(okx: OkxMarket, dataset: str) -> None:
    first = date(2023, 12, 20)
    whole = said(okx.fetch(dataset, first, TODAY))
    single = [row for day in day_range(first, TODAY) for row in said(okx.fetch(dataset, day, day))]
    assert single == whole


def test_the_future_is_refused(okx: OkxMarket) -> None:
    with pytest.raises(UsageError, match=r"2024-01-09 is in the future \(exchange time 2024-01-08 10:30 UTC\)"):
        okx.fetch("bars_1m", TODAY, TODAY + ONE_DAY)


def test_an_unknown_symbol_gets_a_suggestion(okx: OkxMarket) -> None:
    wrong = Instrument.parse("okx:BTC/USD:USDT")
    with pytest.raises(NotListedError, match="okx does not list BTC/USD:USDT: did you mean BTC/USDT:USDT"):
        list(okx.exchange.fetch_days("bars_1m", wrong, [TODAY]))


def test_a_dataset_that_okx_does_not_offer_is_refused(okx: OkxMarket) -> None:
    with pytest.raises(UsageError, match="has no long_short_ratios: choose from bars_1m"):
        okx.exchange.fetch_days("long_short_ratios", BITCOIN, [TODAY])


def test_a_reader_may_stop_early(okx: OkxMarket) -> None:
    days = okx.exchange.fetch_days("bars_1m", BITCOIN, list(day_range(START, TODAY)))
    assert next(days).day == START
    del days
    assert okx.fetch("bars_1m", START, START)[0].day == START


def test_the_listing_names_units_and_days(okx: OkxMarket) -> None:
    (bitcoin, *_) = okx.exchange.instruments()
    assert (bitcoin.instrument, bitcoin.raw_symbol) == (BITCOIN, "BTC-USDT-SWAP")
    assert (bitcoin.status, bitcoin.first_day, bitcoin.last_day) == (ListingStatus.TRADING, START, None)


def test_with_archives_only_nothing_works_and_the_message_says_so(okx: OkxMarket) -> None:
    client = okx.client(archive_only=True)
    with pytest.raises(SourceUnavailableError, match="OKX has no archive apart from its API"):
        list(client.fetch_days("bars_1m", BITCOIN, [TODAY]))
    assert client.server_time() == NOW
    client.close()


@pytest.mark.parametrize(("skew", "closed_until"), [(3 * 86_400, NOW), (-3600, NOW - timedelta(hours=1))])
def test_a_wrong_server_clock_never_lets_an_open_bar_pass(okx: OkxMarket, skew: float, closed_until: datetime) -> None:
    okx.disturb({"fault": "clock_skew", "path": "/api/v5/public/time", "times": 0, "argument": skew})
    try:
        (day,) = okx.fetch("bars_1m", TODAY, TODAY)
    finally:
        okx.calm()
    assert day.rows.column("ts_open")[-1].as_py() == closed_until.replace(second=0) - timedelta(minutes=1)
    assert not day.complete


def test_days_that_came_over_rest_are_revised_once_files_exist(okx: OkxMarket) -> None:
    def held(day: date, source: str, ingested_at: datetime) -> HeldDay:
        return HeldDay(day, source, (), ingested_at)

    soon, late = (datetime(2024, 1, day, 6, tzinfo=UTC) for day in (3, 7))
    days = [
        held(date(2024, 1, 1), "rest", late),
        held(date(2024, 1, 2), "rest", soon),
        held(date(2024, 1, 3), "archive-daily+rest", soon),
        held(date(2024, 1, 7), "rest", NOW),
    ]
    revised = okx.exchange.revised_days("bars_1m", BITCOIN, days)
    assert revised == {date(2024, 1, 2): "its bulk files are published by now"}
    assert okx.exchange.revised_days("funding_rates", BITCOIN, days) == {}


def test_files_without_rows_for_a_day_are_looked_into_once(okx: OkxMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    day = date(2024, 1, 2)
    whole = BulkFiles.piece

    def without_the_day(self: BulkFiles, *about: Any) -> Piece | None:
        piece = whole(self, *about)
        return None if piece is None else cut(piece, BARS_1M, start=day_start(date(2020, 1, 1)), end=day_start(day))

    monkeypatch.setattr(BulkFiles, "piece", without_the_day)
    (fetched,) = okx.fetch("bars_1m", day, day)
    assert (fetched.source, fetched.rows.num_rows) == ("rest", 1440)
    held = HeldDay(day, fetched.source, fetched.files, datetime(2024, 1, 3, 6, tzinfo=UTC))
    assert okx.exchange.revised_days("bars_1m", BITCOIN, [held]) == {}
    assert okx.exchange.revised_days("bars_1m", BITCOIN, [replace(held, files=())]) != {}


@pytest.mark.parametrize(
    ("api", "told", "followed"),
    [
        ("https://www.okx.com", "https://static.okx.com/cdn/a.zip?v=1", True),
        ("https://www.okx.com", "https://www.okx.com/cdn/a.zip", True),
        ("https://www.okx.com", "http://static.okx.com/cdn/a.zip", False),
        ("https://www.okx.com", "https://okx.com.example/a.zip", False),
        ("https://www.okx.com", "https://static.okx.com@example.org/a.zip", False),
        ("https://www.okx.com", "https://notokx.com/a.zip", False),
        ("https://www.okx.com", "https://static.okx.com:8443/a.zip", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/cdn/a.zip", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:9000/cdn/a.zip", False),
        ("http://127.0.0.1:8000", "http://169.254.169.254/latest", False),
        ("http://127.0.0.1:8000", "file:///etc/passwd", False),
    ],
)
def test_only_addresses_of_the_api_itself_and_of_okx_are_followed(api: str, told: str, followed: bool) -> None:
    if followed:
        endpoint, path = address(BulkFile("a.zip", told), api_url=api)
        assert endpoint.url + path == told
    else:
        with pytest.raises(InvalidDataError, match="not followed"):
            address(BulkFile("a.zip", told), api_url=api)


def test_bars_before_the_first_file_come_over_rest(tmp_path: Path) -> None:
    start, now = date(2021, 8, 25), datetime(2021, 9, 9, 0, 0, 20, tzinfo=UTC)
    with okx_market(start, date(2021, 9, 20), now, tmp_path) as okx:
        days = okx.fetch("bars_1m", start, now.date())
        okx.check(days, "bars_1m")
        assert [day.source for day in days][:7] == ["rest"] * 6 + ["archive-daily+rest"]
        assert days[-1].rows.num_rows == 0
        assert days[-1].reason == "day not over"


def test_funding_of_all_times_is_the_markets_or_not_published(tmp_path: Path) -> None:
    start, now = date(2022, 2, 10), datetime(2022, 7, 3, 17, 0, 1, tzinfo=UTC)
    with okx_market(start, date(2022, 7, 10), now, tmp_path, settling((0, 480), (40, 240))) as okx:
        days = okx.fetch("funding_rates", start, now.date())
        gone = [day for day in days if day.forgotten]
        assert [day.day for day in gone] == list(day_range(start, date(2022, 2, 28)))
        assert all(day.complete and day.reason.startswith("not published") for day in gone)
        served = days[len(gone) :]
        okx.check(served, "funding_rates")
        assert {day.source for day in served} == {"archive-monthly", "rest", "rest+archive-monthly"}
        intervals = [value for day in served for value in day.rows.column("funding_interval_minutes").to_pylist()]
        assert set(intervals) == {480, 240}
        again = [row for day in served[::9] for row in said(okx.fetch("funding_rates", day.day, day.day))]
        assert again == said(served[::9])
