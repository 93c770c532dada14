"""What is HyperLiquid's own: bars it forgets, open interest without a history, and coins of a thousand."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tradecore_pipeline.domain.errors import SourceError, SourceUnavailableError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.exchanges.hyperliquid.client import NO_HISTORY, ONLY_NEWEST, HyperliquidExchange
from tradecore_pipeline.exchanges.hyperliquid.parse import Snapshot
from tradecore_pipeline.exchanges.hyperliquid.rest import HyperliquidRest
from tradecore_pipeline.exchanges.rest import Page
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.exchanges.simulated_exchanges import NOW, faults, make_market, serving

BTC = Instrument.parse("hyperliquid:BTC/USDC:USDC")
TODAY = NOW.date()
DAYS = list(day_range(date(2025, 1, 6), TODAY))
BROKEN = ("http_429", "http_500", "http_503", "html_200", "truncated_body", "cut_body")
LYING = ("empty_page", "duplicated_rows", "repeated_page", "cursor_ignored", "unsorted_page", "missing_rows")
Connect = Callable[..., HyperliquidExchange]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_market()) as url:
        yield url


@pytest.fixture
def connect(url: str, tmp_path: Path) -> Iterator[Connect]:
    opened: list[HyperliquidExchange] = []

    def build(**changes: Any) -> HyperliquidExchange:
        opened.append(HyperliquidExchange(local_access(url, budgets=tmp_path, clock=lambda: NOW, **changes)))
        return opened[-1]

    yield build
    for exchange in opened:
        exchange.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradecore_pipeline.exchanges.retry.FIRST_PAUSE_SECONDS", 0.001)


def fetch(exchange: HyperliquidExchange, dataset: str, days: list[date] = DAYS) -> list[FetchedDay]:
    return list(exchange.fetch_days(dataset, BTC, days))


def told(days: list[FetchedDay]) -> list[tuple[Any, ...]]:
    return [(day.day, day.rows, day.gaps, day.complete, day.reason, day.forgotten) for day in days]


def test_days_out_of_reach_are_forgotten_and_the_one_cut_through_keeps_what_is_served(connect: Connect) -> None:
    days = {day.day.day: day for day in fetch(connect(), "bars_1m")}
    for number in (6, 7):
        gone = days[number]
        assert (gone.rows.num_rows, gone.complete, gone.forgotten, gone.gaps) == (0, True, True, ())
        assert gone.reason == ONLY_NEWEST
    cut = days[8]
    assert cut.rows.column("ts_open")[0].as_py() == datetime(2025, 1, 8, 22, 11, tzinfo=UTC)
    assert (cut.rows.num_rows, cut.complete, cut.forgotten, cut.gaps, cut.reason) == (109, True, True, (), ONLY_NEWEST)
    for number in (9, 10, 11):
        assert (days[number].rows.num_rows, days[number].complete, days[number].forgotten) == (1440, True, False)
    assert (days[12].rows.num_rows, days[12].complete, days[12].forgotten) == (570, False, False)


def test_old_days_alone_cost_no_request_each(url: str, connect: Connect) -> None:
    before = requests.get(f"{url}/_log", timeout=5).json()["total"]
    days = fetch(connect(), "bars_1m", list(day_range(date(2024, 11, 21), date(2025, 1, 7))))
    assert all(day.forgotten and day.complete for day in days)
    assert requests.get(f"{url}/_log", timeout=5).json()["total"] - before < 10


@pytest.mark.parametrize("fault", BROKEN + LYING)
@pytest.mark.parametrize("dataset", ["bars_1m", "funding_rates", "open_interest"])
def test_a_fault_that_heals_leaves_no_trace_in_the_rows(url: str, connect: Connect, dataset: str, fault: str) -> None:
    truth = told(fetch(connect(), dataset))
    rule = {"fault": fault, "path": "/info", "probability": 0.6}
    with faults(url, rule | ({"argument": 0.0} if fault == "http_429" else {})):
        assert told(fetch(connect(), dataset)) == truth


def test_open_interest_of_ended_days_was_recorded_or_is_not_there(connect: Connect) -> None:
    *ended, today = fetch(connect(), "open_interest")
    for day in ended:
        assert (day.rows.num_rows, day.complete, day.forgotten, day.reason) == (0, True, True, NO_HISTORY)
    assert (today.rows.num_rows, today.complete, today.forgotten) == (1, False, True)
    assert today.reason == "day not over (recorded)"


def test_a_snapshot_that_is_known_only_tomorrow_is_not_todays(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = datetime(2025, 1, 11, 23, 57, tzinfo=UTC)
    monkeypatch.setattr(
        HyperliquidRest, "server_time", lambda _: Page(late, "http://test", "simulated:seed3-2024-11-20")
    )
    (day,) = fetch(connect(), "open_interest", [late.date()])
    assert (day.rows.num_rows, day.source, day.complete, day.forgotten) == (0, "none", False, True)


def test_the_snapshots_moment_is_asked_for_after_its_value(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that cross a five-minute mark on their way must not be stamped before they were measured."""
    moments = iter([datetime(2025, 1, 12, 9, 29, 59, tzinfo=UTC), *[datetime(2025, 1, 12, 9, 30, 1, tzinfo=UTC)] * 9])
    order: list[str] = []

    def server_time(_: HyperliquidRest) -> Page[datetime]:
        order.append("time")
        moment = datetime(2025, 1, 12, 9, 30, 1, tzinfo=UTC) if "value" in order else next(moments)
        return Page(moment, "http://test", "real")

    def snapshot(_: HyperliquidRest, coin: str) -> Page[Snapshot]:
        order.append("value")
        return Page(Snapshot(5.0, 10.0), f"http://test/{coin}", "real")

    monkeypatch.setattr(HyperliquidRest, "server_time", server_time)
    monkeypatch.setattr(HyperliquidRest, "snapshot", snapshot)
    (day,) = fetch(connect(), "open_interest", [TODAY])
    assert order[-2:] == ["value", "time"]
    assert day.rows.column("ts_event")[0].as_py() == datetime(2025, 1, 12, 9, 35, tzinfo=UTC)


def test_a_coin_of_a_thousand_is_asked_for_by_its_own_name(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = connect()
    asked: list[str] = []

    def meta(_: HyperliquidRest) -> tuple[Any, ...]:
        from tradecore_pipeline.exchanges.hyperliquid.parse import meta_json  # noqa: PLC0415 (one test's need)

        return meta_json({"universe": [{"name": "kPEPE"}]}, name="meta")

    def first_settlement(_: HyperliquidRest, coin: str) -> None:
        asked.append(coin)

    monkeypatch.setattr(HyperliquidRest, "meta", meta)
    monkeypatch.setattr(HyperliquidRest, "first_settlement", first_settlement)
    with pytest.raises(SourceError, match="without any settlement of kPEPE"):
        list(exchange.fetch_days("bars_1m", Instrument.parse("hyperliquid:KPEPE/USDC:USDC"), [TODAY]))
    assert asked == ["kPEPE"]


def test_no_request_at_all_is_made_where_only_archives_may_be_asked(tmp_path: Path) -> None:
    nobody = local_access("http://127.0.0.1:1", budgets=tmp_path, clock=lambda: NOW, archive_only=True)
    exchange = HyperliquidExchange(nobody)
    assert exchange.server_time() == NOW
    for dataset in ("bars_1m", "funding_rates", "open_interest"):
        with pytest.raises(SourceUnavailableError, match="only archives are"):
            fetch(exchange, dataset)
    with pytest.raises(UsageError, match="in the future"):
        fetch(exchange, "bars_1m", [TODAY + timedelta(days=1)])
    assert exchange.revised_days("bars_1m", BTC, []) == {}
