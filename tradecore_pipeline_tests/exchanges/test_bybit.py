"""What is Bybit's own: its refusals, its paging, and open interest that began after the bars."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import OPEN_INTEREST
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.bybit.client import BybitExchange
from tradecore_pipeline.exchanges.bybit.rest import BybitRest, explain
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.exchanges.retry import Retriable
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance
from tradecore_pipeline_tests.exchanges.simulated_exchanges import NOW, START, faults, make_market, serving

ETH = Instrument.parse("bybit:ETH/USDT:USDT")
DAYS = list(day_range(date(2024, 12, 9), date(2024, 12, 16)))
"""With the interval's change on the 10th and an outage on the 15th."""
DATASETS = ("bars_1m", "funding_rates", "open_interest")
BROKEN = ("http_500", "http_503", "html_200", "truncated_body", "cut_body")
LYING = ("empty_page", "duplicated_rows", "repeated_page", "cursor_ignored", "unsorted_page", "missing_rows")
Connect = Callable[..., BybitExchange]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_market()) as url:
        yield url


@pytest.fixture
def connect(url: str, tmp_path: Path) -> Iterator[Connect]:
    opened: list[BybitExchange] = []

    def build(**changes: Any) -> BybitExchange:
        opened.append(BybitExchange(local_access(url, budgets=tmp_path, clock=lambda: NOW, **changes)))
        return opened[-1]

    yield build
    for exchange in opened:
        exchange.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradecore_pipeline.exchanges.retry.FIRST_PAUSE_SECONDS", 0.001)


def fetch(exchange: BybitExchange, dataset: str, days: list[date] = DAYS) -> list[FetchedDay]:
    return list(exchange.fetch_days(dataset, ETH, days))


def told(days: list[FetchedDay]) -> list[tuple[Any, ...]]:
    return [(day.day, day.rows, day.gaps, day.complete, day.reason, day.forgotten) for day in days]


@pytest.mark.parametrize("fault", BROKEN + LYING)
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_fault_that_heals_leaves_no_trace_in_the_rows(url: str, connect: Connect, dataset: str, fault: str) -> None:
    truth = told(fetch(connect(), dataset))
    with faults(url, {"fault": fault, "path": "/v5/market/(kline|funding|open)", "probability": 0.6}):
        assert told(fetch(connect(), dataset)) == truth


def test_too_many_requests_are_waited_out(url: str, connect: Connect) -> None:
    truth = told(fetch(connect(), "funding_rates"))
    with faults(url, {"fault": "rate_limited", "path": "/v5/market/funding", "argument": 0.0}):
        assert told(fetch(connect(), "funding_rates")) == truth


@pytest.mark.parametrize(("fault", "words"), [("http_451", "geo-block"), ("http_403", "refuses this network")])
def test_a_refusal_fails_at_once_and_says_why(url: str, connect: Connect, fault: str, words: str) -> None:
    with (
        faults(url, {"fault": fault, "path": "/v5/", "times": 0}),
        pytest.raises(SourceUnavailableError, match=words),
    ):
        fetch(connect(), "bars_1m")
    report = requests.get(f"{url}/_ctl", timeout=5).json()
    assert report["rules"] == []


def test_a_page_that_stays_broken_fails_its_day_and_keeps_those_before(url: str, connect: Connect) -> None:
    third = round(day_start(DAYS[2]).timestamp() * 1000)
    with faults(url, {"fault": "html_200", "path": f"/v5/market/kline.*start={third}", "times": 0}):
        days = connect().fetch_days("bars_1m", ETH, DAYS)
        assert [next(days).day, next(days).day] == DAYS[:2]
        with pytest.raises(InvalidDataError, match="answered with a web page instead of data"):
            next(days)


def test_no_request_at_all_is_made_where_only_archives_may_be_asked(tmp_path: Path) -> None:
    nobody = local_access("http://127.0.0.1:1", budgets=tmp_path, clock=lambda: NOW, archive_only=True)
    exchange = BybitExchange(nobody)
    assert exchange.server_time() == NOW
    for dataset in DATASETS:
        with pytest.raises(SourceUnavailableError, match="only archives are"):
            fetch(exchange, dataset)
    with pytest.raises(UsageError, match="in the future"):
        fetch(exchange, "bars_1m", [NOW.date() + timedelta(days=1)])
    assert exchange.revised_days("bars_1m", ETH, []) == {}


def test_days_before_the_first_snapshot_say_that_bars_were_there_already(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = datetime(2024, 11, 23, 5, tzinfo=UTC)
    whole = SimulatedMarket.open_interest

    def later(market: SimulatedMarket, listing: Any) -> Any:
        rows = whole(market, listing)
        return rows.take(rows.time_ms >= round(begins.timestamp() * 1000))

    monkeypatch.setattr(SimulatedMarket, "open_interest", later)
    days = fetch(connect(), "open_interest", list(day_range(START - timedelta(days=1), date(2024, 11, 24))))
    reasons = [day.reason for day in days]
    unpublished = "not published: the first open interest is of 2024-11-23 05:00 UTC"
    assert reasons == ["before listing (first bar 2024-11-20 00:00 UTC)", *[unpublished] * 3, "", ""]
    assert [day.forgotten for day in days] == [False, True, True, True, False, False]
    assert [day.rows.num_rows for day in days] == [0, 0, 0, 0, 228, 288]
    assert all(day.complete and day.gaps == () for day in days)
    assert connect().first_day(OPEN_INTEREST.name, ETH) == begins.date()


def test_two_days_of_bars_cost_three_pages(url: str, connect: Connect) -> None:
    def total() -> int:
        return int(requests.get(f"{url}/_log", timeout=5).json()["total"])

    before = total()
    assert sum(day.rows.num_rows for day in fetch(connect(), "bars_1m", DAYS[:4])) == 4 * 1440
    clock_and_beginning = 3
    assert total() - before == clock_and_beginning + 2 * 3


def test_every_refusal_code_becomes_what_it_means() -> None:
    unknown = explain('bybit {"retCode":10001,"retMsg":"params error: Symbol Invalid"}', "XUSDT")
    assert isinstance(unknown, NotListedError)
    for code in (10006, 10018, 10000, 10016):
        assert isinstance(explain(str({"retCode": code, "retMsg": "no"}), "XUSDT"), Retriable)
    assert explain('{"retCode": 10001, "retMsg": "endTime is required"}', "XUSDT") is None
    assert explain("<html>", "XUSDT") is None


@pytest.mark.parametrize("code", [10006, 10018])
def test_too_many_requests_pause_every_process(code: int) -> None:
    refused = explain(str({"retCode": code, "retMsg": "no"}), "XUSDT")
    assert isinstance(refused, Retriable)
    assert refused.throttled


def test_an_address_that_asks_too_often_is_kept_from_the_host_for_ten_minutes(
    fake: FakeBinance, tmp_path: Path
) -> None:
    fake.faults.append(("/v5/", 99, Answer(403, b"access too frequent")))
    for words in ("refused for ten minutes", r"has banned this address until .* \((600|59\d) s\)"):
        exchange = BybitExchange(local_access(fake.url, budgets=tmp_path, clock=lambda: NOW))
        with pytest.raises(SourceUnavailableError, match=words):
            exchange.server_time()
        exchange.close()
    assert fake.asked("/v5/") == 1


def test_a_symbol_told_as_trading_and_as_closed_is_listed_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    trading = ListedInstrument(ETH, "ETHUSDT", ListingStatus.TRADING, date(2024, 1, 1), None)
    closed = replace(trading, status=ListingStatus.DELISTED, first_day=date(2021, 1, 1), last_day=date(2022, 1, 1))
    other = replace(closed, instrument=Instrument.parse("bybit:LUNA/USDT:USDT"))
    told = {"Trading": [trading], "Closed": [closed, other, replace(other, last_day=date(2022, 5, 1))]}
    monkeypatch.setattr(BybitRest, "_listed", lambda _, status: told[status])
    assert connect().instruments() == [
        replace(trading, first_day=closed.first_day),
        replace(other, last_day=date(2022, 5, 1)),
    ]


def test_what_is_no_linear_perpetual_is_refused(connect: Connect) -> None:
    with pytest.raises(UsageError, match="bybit spot is not served"):
        fetch_one(connect(), "bybit:BTC/USDT")
    with pytest.raises(NotListedError, match="bybit does not list BTC/USD:BTC: did you mean BTC/USDT:USDT"):
        fetch_one(connect(), "bybit:BTC/USD:BTC")
    with pytest.raises(NotListedError, match="bybit does not list BTCPERP: did you mean BTC/USDT:USDT"):
        fetch_one(connect(), "bybit:BTC/USDC:USDC")


def fetch_one(exchange: BybitExchange, instrument: str) -> list[FetchedDay]:
    return list(exchange.fetch_days("bars_1m", Instrument.parse(instrument), DAYS[:1]))
