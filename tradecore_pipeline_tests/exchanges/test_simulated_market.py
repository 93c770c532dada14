"""The whole way against the simulator: what is fetched is what the market published."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.exchanges import make_exchange
from tradecore_pipeline.exchanges.base import Exchange
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import clock_at, create_app, running
from tradecore_pipeline.simulator.simulated import SimulatedBackend
from tradecore_pipeline_tests.access import local_access

START, END = date(2024, 11, 20), date(2025, 1, 20)
NOW = datetime(2025, 1, 12, 9, 30, 20, tzinfo=UTC)
TODAY = NOW.date()
PERPETUAL = Instrument.parse("binance:BTC/USDT:USDT")
SPOT = Instrument.parse("binance:BTC/USDT")


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return SimulatedMarket(demo_parameters(), 3, start=START, end=END)


@pytest.fixture(scope="module")
def exchange(market: SimulatedMarket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with running(create_app(SimulatedBackend(market), clock_at(NOW))) as url:
        budgets = tmp_path_factory.mktemp("budgets")
        exchange = make_exchange("binance", local_access(url, budgets=budgets, clock=lambda: NOW, timeout_seconds=20))
        yield exchange
        exchange.close()


def fetch(exchange: Exchange, dataset: str, instrument: Instrument) -> list[FetchedDay]:
    days = list(day_range(START - timedelta(days=2), TODAY))
    fetched = list(exchange.fetch_days(dataset, instrument, days))
    assert [day.day for day in fetched] == days
    assert {day.market for day in fetched} == {"simulated:seed3-2024-11-20"}
    assert [day.complete for day in fetched] == [True] * (len(days) - 1) + [False]
    return fetched


def column(days: list[FetchedDay], name: str) -> np.ndarray:
    return np.concatenate([day.rows.column(name).to_numpy() for day in days])


@pytest.mark.parametrize("instrument", [PERPETUAL, SPOT], ids=str)
def test_bars_by_every_route_are_the_markets(
    market: SimulatedMarket, exchange: Exchange, instrument: Instrument
) -> None:
    days = fetch(exchange, "bars_1m", instrument)
    assert {day.source for day in days} == {"none", "archive-monthly", "archive-daily", "rest"}
    truth = market.bars(instrument)
    truth = truth[truth.index + timedelta(minutes=1) <= NOW]
    keys = np.concatenate([epoch_ms(day.rows.column("ts_open")) for day in days])
    assert keys.tolist() == (truth.index.as_unit("ms").asi8).tolist()
    for name in ("open", "high", "low", "close"):
        assert column(days, name).astype(float).tolist() == truth[name].tolist()
    assert np.allclose(column(days, "volume"), truth["volume"].to_numpy(), rtol=0, atol=1e-6)
    gaps = [gap for day in days for gap in day.gaps]
    assert gaps == [gap for gap in market.outages if gap.last_missing < NOW]
    assert exchange.first_day("bars_1m", instrument) == START


def test_funding_by_both_routes_is_the_markets(market: SimulatedMarket, exchange: Exchange) -> None:
    days = fetch(exchange, "funding_rates", PERPETUAL)
    assert {day.source for day in days} == {"none", "archive-monthly", "rest"}
    keys = np.concatenate([epoch_ms(day.rows.column("ts_settle")) for day in days])
    assert (np.diff(keys) == 8 * 3_600_000).all()
    assert [day.rows.num_rows for day in days[2:-1]] == [3] * (len(days) - 3)
    assert set(column(days[3:], "funding_interval_minutes")) == {480}
    truth = market.funding_rates(market.listing(PERPETUAL))
    rates = column(days, "funding_rate")
    assert np.allclose(rates, np.asarray(truth.rate)[: len(rates)], rtol=0, atol=5e-9)


def test_open_interest_by_both_routes_is_whole(exchange: Exchange) -> None:
    days = fetch(exchange, "open_interest", PERPETUAL)
    assert {day.source for day in days} == {"none", "archive-daily", "rest"}
    assert [day.rows.num_rows for day in days[2:-1]] == [288] * (len(days) - 3)
    assert all(day.gaps == () for day in days)


def test_the_premium_index_by_every_route_is_the_markets(market: SimulatedMarket, exchange: Exchange) -> None:
    days = fetch(exchange, "premium_index", PERPETUAL)
    assert {day.source for day in days} == {"none", "archive-monthly", "archive-daily", "rest"}
    truth = market.premium_bars(market.listing(PERPETUAL))
    keys = np.concatenate([epoch_ms(day.rows.column("ts_open")) for day in days])
    assert keys.tolist() == np.asarray(truth.time_ms)[: len(keys)].tolist()
    assert (column(days, "low") < 0).any()
    for name in ("open", "high", "low", "close"):
        assert np.allclose(column(days, name), np.asarray(getattr(truth, name))[: len(keys)], rtol=0, atol=5e-9)


def test_ratios_come_from_the_archive_as_far_as_it_goes(exchange: Exchange) -> None:
    days = list(exchange.fetch_days("long_short_ratios", PERPETUAL, list(day_range(START, TODAY))))
    assert [day.complete for day in days[-3:]] == [True, False, False]
    assert {day.rows.num_rows for day in days[:-2]} == {288}


def test_the_servers_clock_is_the_exchanges_time(exchange: Exchange) -> None:
    assert exchange.server_time() == NOW
    assert exchange.name == "binance"


def test_an_unknown_exchange_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown exchange 'kraken': choose one of binance, bybit"):
        make_exchange("kraken", local_access("", budgets=tmp_path, clock=lambda: NOW))


def test_importing_exchanges_leaves_ccxt_out() -> None:
    code = "import sys, tradecore_pipeline.exchanges; sys.exit('ccxt' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
