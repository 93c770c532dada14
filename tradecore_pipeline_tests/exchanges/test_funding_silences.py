"""Days without any settlement: only what other windows bear out is final, whoever denied it how often before."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tradecore_pipeline.domain.errors import SourceError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import FUNDING_RATES, TIMESTAMP
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.answers import Answer, answer_of
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline.exchanges.hyperliquid.client import HyperliquidExchange
from tradecore_pipeline.exchanges.hyperliquid.rest import HyperliquidRest
from tradecore_pipeline.exchanges.payloads import rows_of
from tradecore_pipeline.exchanges.pieces import ONE_DAY
from tradecore_pipeline.exchanges.rest import Page
from tradecore_pipeline.exchanges.settlements import FundingSeries, funding_days
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.exchanges import test_okx_funding as okx
from tradecore_pipeline_tests.exchanges.fake import Answer as Reply
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, minutes, ms
from tradecore_pipeline_tests.exchanges.simulated_exchanges import NOW, make_market, serving

BTC = Instrument.parse("bybit:BTC/USDT:USDT")
DAY = date(2024, 5, 10)
START = day_start(DAY)
HOUR = timedelta(hours=1)
WEEK = list(day_range(DAY - 3 * ONE_DAY, DAY + 3 * ONE_DAY))
NOTHING = Reply(200, b"[]", {"Content-Type": "application/json"})
Hides = Callable[[datetime, datetime, int], bool]


def settled(stamps: list[datetime]) -> pa.Table:
    columns = {"ts_settle": pa.array(stamps, TIMESTAMP), "funding_rate": pa.array([0.0001] * len(stamps))}
    return rows_of(FUNDING_RATES, columns, name="test")


class Host:
    """Hourly settlements, those of ``DAY`` left out where ``hides`` says so of a window and of how often it came."""

    def __init__(self, hides: Hides, *, published: bool = True, shows_ends: bool = True) -> None:
        stamps = [START - 10 * ONE_DAY + n * HOUR for n in range(20 * 24)]
        self.stamps = [s for s in stamps if published or s.date() != DAY]
        self.hides, self.shows_ends = hides, shows_ends
        self.windows: list[tuple[datetime, datetime]] = []

    def read(self, start: datetime, end: datetime) -> Answer:
        self.windows.append((start, end))
        shown = self.stamps
        if self.hides(start, end, self.windows.count((start, end))):
            shown = [s for s in shown if s.date() != DAY]
        if not self.shows_ends and (start, end) != self.windows[0]:
            shown = []
        rows = settled([*[s for s in shown if s < start][-1:], *(s for s in shown if start <= s < end)])
        return answer_of([Page(rows, "http://test/page", "real")], FUNDING_RATES, host="test")

    def seen_since(self, moment: datetime) -> datetime | None:
        return self.stamps[-1] if self.stamps[-1] >= moment else None


def fetch(host: Host, days: list[date]) -> dict[date, FetchedDay]:
    series = FundingSeries(BTC, host.read, host.seen_since, HOUR)
    now = START + 30 * ONE_DAY
    return {day.day: day for day in funding_days(series, days, now=now, opened=START - 10 * ONE_DAY)}


@pytest.mark.parametrize("days", [WEEK, [DAY]])
def test_a_day_that_one_window_denies_for_ever_comes_from_another(days: list[date]) -> None:
    host = Host(lambda start, end, _: (start, end) == host.windows[0])
    fetched = fetch(host, days)
    assert {day.rows.num_rows for day in fetched.values()} == {24}
    assert all(day.complete and day.gaps == () for day in fetched.values())
    assert set(fetched[DAY].rows.column("funding_interval_minutes").to_pylist()) == {60}


def test_a_whole_day_without_settlements_is_final_once_two_more_windows_show_both_ends_and_nothing_between() -> None:
    host = Host(lambda *_: False, published=False)
    day = fetch(host, WEEK)[DAY]
    assert (day.complete, day.rows.num_rows, day.gaps[0].missing) == (True, 0, 24)
    assert len(set(host.windows)) == 3


def test_an_empty_day_whose_surroundings_are_denied_too_is_not_final_and_says_why() -> None:
    host = Host(lambda *_: True, shows_ends=False)
    fetched = fetch(host, WEEK)
    day = fetched.pop(DAY)
    assert (day.complete, day.rows.num_rows) == (False, 0)
    assert day.reason.startswith("no settlements, which is not proven: test did not even show the settlements around")
    assert all(other.complete and other.rows.num_rows == 24 for other in fetched.values())


def test_an_exchange_that_shows_nothing_at_all_of_a_day_must_show_a_newest_settlement_first() -> None:
    host = Host(lambda *_: True)
    asked: list[datetime] = []

    def seen_since(moment: datetime) -> None:
        asked.append(moment)

    host.stamps, host.seen_since = [], seen_since  # type: ignore[method-assign]  # what this test is about
    fetch(host, [DAY])
    assert asked == [START]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_market()) as url:
        yield url


@pytest.fixture
def hyperliquid(url: str, tmp_path: Path) -> Iterator[HyperliquidExchange]:
    exchange = HyperliquidExchange(local_access(url, budgets=tmp_path, clock=lambda: NOW))
    yield exchange
    exchange.close()


def test_hyperliquid_does_not_empty_days_of_a_coin_that_trades(
    hyperliquid: HyperliquidExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = HyperliquidRest.funding
    days = list(day_range(date(2025, 1, 7), date(2025, 1, 9)))

    def funding(rest: HyperliquidRest, coin: str, start: datetime, end: datetime) -> Answer:
        whole = truth(rest, coin, start, end)
        rows = whole.window(FUNDING_RATES, start=start - 40 * ONE_DAY, end=day_start(days[1])).rows
        return answer_of([Page(rows, "http://test", whole.pieces[0].market)], FUNDING_RATES, host="test")

    def none(*_: Any) -> None:
        return None

    monkeypatch.setattr(HyperliquidRest, "funding", funding)
    monkeypatch.setattr(HyperliquidRest, "settlement_since", none)
    coin = Instrument.parse("hyperliquid:BTC/USDC:USDC")
    fetched: list[FetchedDay] = []
    with pytest.raises(SourceError, match="shows no settlement of BTC since 2025-01-07 23:01 UTC, though it trades"):
        fetched.extend(hyperliquid.fetch_days("funding_rates", coin, days))
    assert [(day.rows.num_rows, day.complete) for day in fetched] == [(24, True)]


def test_okx_must_show_what_is_younger_than_it_keeps() -> None:
    exchange = okx.Okx(8, okx.NOON, lies=0, in_file=False)
    exchange.stamps = []
    day = okx.fetched(exchange)
    assert (day.complete, day.forgotten) == (False, True)
    assert day.reason.startswith("OKX keeps three months of funding rates, but showed none")
    old = okx.fetched(exchange, okx.DAY - timedelta(days=120))
    assert (old.complete, old.forgotten) == (True, True)


def test_binance_is_asked_in_other_windows_where_no_file_bears_an_empty_day_out(
    fake: FakeBinance, connect: Callable[..., BinanceExchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = datetime(2024, 6, 1, tzinfo=UTC)
    fake.bars.update(minutes(date(2024, 4, 20), 600))
    fake.funding = [(ms(first + 8 * HOUR * n), "0.0001") for n in range(58)]
    day, truth, windows = date(2024, 6, 10), forward.funding, list[tuple[datetime, datetime]]()

    def funding(rest: Any, listed: Any, *, start: datetime, end: datetime) -> forward.Answer:
        windows.append((start, end))
        with monkeypatch.context() as lie:
            if (start, end) == windows[0]:
                lie.setattr(
                    fake, "funding", [r for r in fake.funding if not 0 <= r[0] - ms(day_start(day)) < 86_400_000]
                )
            return truth(rest, listed, start=start, end=end)

    monkeypatch.setattr(forward, "funding", funding)
    days = list(connect().fetch_days("funding_rates", Instrument.parse("binance:BTC/USDT:USDT"), [day, day + ONE_DAY]))
    assert [(one.rows.num_rows, one.complete, one.gaps) for one in days] == [(3, True, ())] * 2
    assert windows[0] == windows[1] != windows[2]


def test_binance_is_asked_for_its_newest_settlement_where_days_up_to_today_seem_to_have_none(
    fake: FakeBinance, connect: Callable[..., BinanceExchange]
) -> None:
    fake.bars.update(minutes(date(2024, 4, 20), 600))
    fake.funding = [(ms(datetime(2024, 6, 1, tzinfo=UTC) + 8 * HOUR * n), "0.0001") for n in range(58)]
    fake.faults.append(("fundingRate?symbol=BTCUSDT&startTime", 99, NOTHING))
    coin = Instrument.parse("binance:BTC/USDT:USDT")
    with pytest.raises(SourceError, match="contradicts itself about funding_rates"):
        list(connect().fetch_days("funding_rates", coin, list(day_range(date(2024, 6, 16), fake.now.date()))))
