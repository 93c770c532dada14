"""What every exchange must do, against the simulator: one suite, and one line of facts per exchange.

To join: a line in ``FACTS``. What the simulator publishes is the truth that each fetched row is compared with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
import requests

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, ListingStatus
from tradecore_pipeline.domain.offers import offered
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges import make_exchange
from tradecore_pipeline.exchanges.base import Exchange
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.exchanges.simulated_exchanges import (
    BEGINNING,
    MARKET,
    NOW,
    START,
    faults,
    make_market,
    serving,
)

TODAY = NOW.date()
ONE_DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
LONG_BEFORE = [START - timedelta(days=days) for days in (400, 3, 2)]
DATASETS = (BARS_1M, FUNDING_RATES, OPEN_INTEREST)


@dataclass(frozen=True)
class Facts:
    """What differs between exchanges."""

    symbol: str
    misspelled: str
    changing: str | None = None
    """A symbol whose funding interval changes inside the market."""
    bars_from: datetime = BEGINNING
    """Older bars are forgotten."""
    interest_from: datetime | None = BEGINNING
    """Older open interest is forgotten; None: all but the present one."""
    volume_atol: float = 1e-6
    has_usd: bool = True
    """Whether open interest is valued."""


FACTS = {
    "binance": Facts("BTC/USDT:USDT", misspelled="BTC/USTD:USTD", changing="AVAX/USDT:USDT"),
    "bybit": Facts("BTC/USDT:USDT", misspelled="BCT/USDT:USDT", changing="ETH/USDT:USDT", has_usd=False),
    "okx": Facts(
        "BTC/USDT:USDT",
        misspelled="BCT/USDT:USDT",
        interest_from=datetime(2025, 1, 7, 9, 35, tzinfo=UTC),
        volume_atol=1e-3,
    ),
    "hyperliquid": Facts(
        "BTC/USDC:USDC",
        misspelled="BCT/USDC:USDC",
        bars_from=NOW.replace(second=0) - 4999 * MINUTE,
        interest_from=None,
    ),
}


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return make_market()


@pytest.fixture(scope="module")
def url(market: SimulatedMarket) -> Iterator[str]:
    with serving(market) as url:
        yield url


@pytest.fixture(params=sorted(FACTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def facts(name: str) -> Facts:
    return FACTS[name]


@pytest.fixture
def exchange(name: str, url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    budgets = tmp_path_factory.mktemp("budgets")
    exchange = make_exchange(name, local_access(url, budgets=budgets, clock=lambda: NOW, timeout_seconds=20))
    yield exchange
    exchange.close()


@pytest.fixture
def instrument(name: str, facts: Facts) -> Instrument:
    return Instrument.parse(f"{name}:{facts.symbol}")


def fetch(exchange: Exchange, table: Table, instrument: Instrument, days: list[date]) -> list[FetchedDay]:
    fetched = list(exchange.fetch_days(table.name, instrument, days))
    assert [day.day for day in fetched] == sorted(set(days))
    assert {(day.instrument, day.dataset, day.market) for day in fetched} == {(instrument, table.name, MARKET)}
    return fetched


def everything(exchange: Exchange, table: Table, instrument: Instrument) -> list[FetchedDay]:
    days = fetch(exchange, table, instrument, list(day_range(START, TODAY)))
    assert [day.complete for day in days] == [True] * (len(days) - 1) + [False]
    return days


def rows_of(days: list[FetchedDay]) -> pa.Table:
    return pa.concat_tables([day.rows for day in days])


def keys_of(days: list[FetchedDay], table: Table) -> list[int]:
    return epoch_ms(rows_of(days).column(table.key)).tolist()


def test_every_bar_is_the_markets(
    market: SimulatedMarket, exchange: Exchange, instrument: Instrument, facts: Facts
) -> None:
    days = everything(exchange, BARS_1M, instrument)
    truth = market.bars(instrument)
    truth = truth[(truth.index + MINUTE <= NOW) & (truth.index >= facts.bars_from)]
    assert keys_of(days, BARS_1M) == truth.index.as_unit("ms").asi8.tolist()
    rows = rows_of(days)
    for column in ("open", "high", "low", "close"):
        assert rows.column(column).to_numpy().astype(float).tolist() == truth[column].tolist()
    assert np.allclose(rows.column("volume").to_numpy(), truth["volume"], rtol=0, atol=facts.volume_atol)
    for column in ("quote_volume", "trades"):
        told = rows.column(column).to_pandas()
        assert told.isna().all() or np.allclose(told, truth[column], rtol=1e-4)
    assert all(day.forgotten == (day_start(day.day) < facts.bars_from) for day in days)


def test_every_missing_minute_is_in_the_gap_ledger_and_no_other(
    market: SimulatedMarket, exchange: Exchange, instrument: Instrument, facts: Facts
) -> None:
    days = everything(exchange, BARS_1M, instrument)
    gaps = [gap for day in days for gap in day.gaps]
    assert gaps == [gap for gap in market.outages if facts.bars_from <= gap.first_missing and gap.last_missing < NOW]


def test_every_settlement_is_the_markets(market: SimulatedMarket, exchange: Exchange, instrument: Instrument) -> None:
    check_funding(market, exchange, instrument)


@pytest.mark.parametrize("name", sorted(name for name, facts in FACTS.items() if facts.changing), indirect=True)
def test_a_funding_interval_that_changes_is_measured(
    market: SimulatedMarket, exchange: Exchange, name: str, facts: Facts
) -> None:
    rows = check_funding(market, exchange, Instrument.parse(f"{name}:{facts.changing}"))
    assert set(rows.column("funding_interval_minutes").to_pylist()[1:]) == {480, 240}


def check_funding(market: SimulatedMarket, exchange: Exchange, instrument: Instrument) -> pa.Table:
    days = everything(exchange, FUNDING_RATES, instrument)
    listing = market.listing(instrument)
    truth = market.funding_rates(listing).between(0, round(NOW.timestamp() * 1000))
    stamps = (truth.time_ms - truth.time_ms % 60_000).tolist()
    assert keys_of(days, FUNDING_RATES) == stamps
    rows = rows_of(days)
    assert np.allclose(rows.column("funding_rate").to_numpy(), truth.rate, rtol=0, atol=5e-9)
    first, *others = rows.column("funding_interval_minutes").to_pylist()
    # Only an archive's file says how long the first one was.
    assert first in {None, 480}
    assert others == (np.diff(stamps) // 60_000).tolist()
    assert all(day.gaps == () for day in days)
    return rows


def test_every_snapshot_of_open_interest_is_the_markets_one_side_in_coins(
    market: SimulatedMarket, exchange: Exchange, instrument: Instrument, facts: Facts
) -> None:
    days = everything(exchange, OPEN_INTEREST, instrument)
    kept = facts.interest_from
    for day in days:
        assert day.forgotten == (kept is None or day_start(day.day) < kept)
        assert not day.forgotten or not day.complete or day.reason.startswith("not published: ")
    if kept is None:
        assert sum(day.rows.num_rows for day in days[:-1]) == 0
        check_recorded(market, days[-1])
        return
    first, last = (round(moment.timestamp() * 1000) for moment in (kept, NOW))
    truth = market.open_interest(market.listing(instrument)).between(first, last)
    assert keys_of(days, OPEN_INTEREST) == truth.time_ms.tolist()
    rows = rows_of(days)
    assert np.allclose(rows.column("open_interest_base").to_numpy(), truth.base, rtol=1e-6)
    usd = rows.column("open_interest_usd")
    assert usd.null_count == (0 if facts.has_usd else len(usd))
    assert all(day.gaps == () for day in days)


def check_recorded(market: SimulatedMarket, today: FetchedDay) -> None:
    """One snapshot, under the first mark after it was taken: a row must not know what came after its key."""
    assert (today.complete, today.forgotten, today.rows.num_rows) == (False, True, 1)
    (row,) = today.rows.to_pylist()
    assert row["ts_event"] == datetime(2025, 1, 12, 9, 35, tzinfo=UTC)
    truth = market.open_interest(market.listing(today.instrument)).between(0, round(NOW.timestamp() * 1000))
    assert row["open_interest_base"] == pytest.approx(truth.base[-1], rel=1e-6)
    assert row["open_interest_usd"] == pytest.approx(
        row["open_interest_base"] * truth.usd[-1] / truth.base[-1], rel=0.02
    )


@pytest.mark.parametrize("table", DATASETS, ids=lambda table: table.name)
def test_days_before_listing_are_empty_final_and_say_since_when(
    exchange: Exchange, instrument: Instrument, table: Table
) -> None:
    days = fetch(exchange, table, instrument, [*LONG_BEFORE, START])
    for day in days[:3]:
        assert (day.rows.num_rows, day.source, day.complete, day.gaps) == (0, "none", True, ())
    if table is not OPEN_INTEREST or instrument.exchange != "binance":
        assert all(day.reason.startswith("before listing (first ") for day in days[:3])
        assert all("2024-11-20" in day.reason for day in days[:3])


@pytest.mark.parametrize("table", DATASETS, ids=lambda table: table.name)
def test_the_same_rows_come_however_the_days_are_sliced(
    exchange: Exchange, instrument: Instrument, table: Table
) -> None:
    days = list(day_range(TODAY - timedelta(days=5), TODAY))
    days += [date(2024, 11, 29), date(2024, 11, 30), date(2024, 12, 15), date(2024, 12, 31)]
    together = fetch(exchange, table, instrument, days)
    one_by_one = [day for wanted in sorted(days) for day in fetch(exchange, table, instrument, [wanted])]
    for left, right in zip(together, one_by_one, strict=True):
        assert left.rows.equals(right.rows)
        assert (left.gaps, left.complete, left.reason) == (right.gaps, right.complete, right.reason)
        assert left.forgotten == right.forgotten


def test_today_holds_no_open_bar_even_if_the_servers_clock_runs_ahead(
    exchange: Exchange, instrument: Instrument, url: str
) -> None:
    (usual,) = fetch(exchange, BARS_1M, instrument, [TODAY])
    with faults(url, {"fault": "clock_skew", "times": 0, "argument": 3 * 3600.0}):
        (ahead,) = fetch(exchange, BARS_1M, instrument, [TODAY])
    for day in (usual, ahead):
        assert day.rows.column("ts_open")[-1].as_py() == datetime(2025, 1, 12, 9, 29, tzinfo=UTC)
        assert (day.rows.num_rows, day.complete, day.reason, day.gaps) == (570, False, "day not over", ())


@pytest.mark.parametrize("table", DATASETS, ids=lambda table: table.name)
def test_a_day_in_the_future_is_refused(exchange: Exchange, instrument: Instrument, table: Table) -> None:
    with pytest.raises(UsageError, match=r"2025-01-13 is in the future .*: ask for days up to today"):
        list(exchange.fetch_days(table.name, instrument, [TODAY, TODAY + ONE_DAY]))


@pytest.mark.parametrize("table", DATASETS, ids=lambda table: table.name)
def test_an_unknown_symbol_is_refused_with_the_nearest_one(
    exchange: Exchange, name: str, facts: Facts, table: Table
) -> None:
    wrong = Instrument.parse(f"{name}:{facts.misspelled}")
    with pytest.raises(NotListedError, match=f"{name} does not list .*: did you mean .*{facts.symbol}"):
        list(exchange.fetch_days(table.name, wrong, [TODAY]))


def test_a_reader_may_stop_early(exchange: Exchange, instrument: Instrument, url: str) -> None:
    asked = requests.get(f"{url}/_log", timeout=5).json()["total"]
    days = exchange.fetch_days(BARS_1M.name, instrument, list(day_range(START, TODAY - timedelta(days=1))))
    assert [day.day for day in islice(days, 3)] == [START + timedelta(days=n) for n in range(3)]
    del days
    assert requests.get(f"{url}/_log", timeout=5).json()["total"] - asked < 60


def test_the_first_days_and_the_instruments_are_told(
    exchange: Exchange, name: str, instrument: Instrument, facts: Facts
) -> None:
    assert exchange.name == name
    assert exchange.server_time() == NOW
    assert exchange.first_day(BARS_1M.name, instrument) == facts.bars_from.date()
    assert exchange.first_day(FUNDING_RATES.name, instrument) == START
    listed = {one.instrument: one for one in exchange.instruments()}
    assert list(listed) == sorted(listed)
    assert listed[instrument].status is ListingStatus.TRADING
    assert listed[instrument].first_day in {START, None}
    assert exchange.revised_days(BARS_1M.name, instrument, []) == {}


def test_every_exchange_has_its_line() -> None:
    assert set(FACTS) <= set(EXCHANGES)
    tables = {name: offered(Instrument.parse(f"{name}:{facts.symbol}")) for name, facts in FACTS.items()}
    assert all(set(DATASETS) <= set(held) for held in tables.values())
