"""OKX as the simulator plays it, and what its market really was: what the tests of that exchange share."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.okx.client import OkxExchange
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import MarketParameters, demo_parameters
from tradecore_pipeline.simulator.server import clock_at, create_app, running
from tradecore_pipeline.simulator.simulated import SimulatedBackend
from tradecore_pipeline_tests.access import local_access

BITCOIN = Instrument.parse("okx:BTC/USDT:USDT")
MINUTE_MS = 60_000
VALUES = {
    "bars_1m": ("ts_open", "open", "high", "low", "close", "volume", "quote_volume"),
    "funding_rates": ("ts_settle", "funding_rate"),
    "open_interest": ("ts_event", "open_interest_base", "open_interest_usd"),
}


@dataclass(frozen=True)
class OkxMarket:
    """A running simulator, frozen at ``now``, and a client of it."""

    market: SimulatedMarket
    exchange: OkxExchange
    url: str
    now: datetime
    budgets: Path

    def client(self, **changes: Any) -> OkxExchange:
        settings: dict[str, Any] = {"clock": lambda: self.now, "retries": 3} | changes
        return OkxExchange(local_access(self.url, budgets=self.budgets, **settings))

    def fetch(self, dataset: str, first: date, last: date) -> list[FetchedDay]:
        return list(self.exchange.fetch_days(dataset, BITCOIN, list(day_range(first, last))))

    def truth(self, dataset: str, first: date, last: date) -> dict[str, np.ndarray]:
        """What was published of the days by ``now``."""
        listing = self.market.listing(BITCOIN)
        after = min(day_start(last) + timedelta(days=1), self.now)
        if dataset == "bars_1m":
            bars = self.market.minute_bars(listing)
            stamps, known = bars.time_ms, bars.time_ms + MINUTE_MS
            prices = {name: getattr(bars, name) for name in VALUES[dataset][1:]}
        elif dataset == "funding_rates":
            rates = self.market.funding_rates(listing)
            stamps, known, prices = rates.time_ms // MINUTE_MS * MINUTE_MS, rates.time_ms, {"funding_rate": rates.rate}
        else:
            interest = self.market.open_interest(listing)
            stamps, known = interest.time_ms, interest.time_ms
            prices = {"open_interest_base": interest.base, "open_interest_usd": interest.usd}
        inside = (stamps >= ms(day_start(first))) & (stamps < ms(day_start(last) + timedelta(days=1)))
        inside &= known <= ms(after) if after == self.now else True
        return {VALUES[dataset][0]: stamps[inside]} | {name: values[inside] for name, values in prices.items()}

    def check(self, days: Sequence[FetchedDay], dataset: str) -> None:
        """The days' rows are what was published, row by row."""
        truth = self.truth(dataset, days[0].day, days[-1].day)
        key, *values = VALUES[dataset]
        keys = np.concatenate([epoch_ms(day.rows.column(key)) for day in days])
        assert keys.tolist() == truth[key].tolist()
        for name in values:
            told = np.concatenate([np.asarray(day.rows.column(name).to_pylist(), dtype=float) for day in days])
            # OKX writes four decimals of coins, two of contracts, ten of rates.
            assert np.allclose(told, truth[name], rtol=1e-7, atol=6e-4 if "rate" not in name else 6e-11), name

    def disturb(self, *rules: Mapping[str, Any], seed: int = 1) -> None:
        """Replace the fault plan."""
        answer = requests.post(f"{self.url}/_ctl", json={"seed": seed, "rules": list(rules)}, timeout=5)
        assert answer.status_code == 200, answer.text

    def fired(self) -> int:
        rules = requests.get(f"{self.url}/_ctl", timeout=5).json()["rules"]
        return sum(rule["fired"] for rule in rules)

    def calm(self) -> None:
        requests.delete(f"{self.url}/_ctl", timeout=5)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@contextmanager
def okx_market(
    start: date, end: date, now: datetime, budgets: Path, parameters: MarketParameters | None = None
) -> Generator[OkxMarket]:
    market = SimulatedMarket(parameters or demo_parameters(), 5, start=start, end=end)
    with running(create_app(SimulatedBackend(market), clock_at(now))) as url:
        exchange = OkxExchange(local_access(url, budgets=budgets, clock=lambda: now, retries=3))
        yield OkxMarket(market, exchange, url, now, budgets)
        exchange.close()


def settling(*intervals: tuple[int, int]) -> MarketParameters:
    """The demo market, OKX's bitcoin settling at other intervals: (from which day on, minutes)."""
    parameters = demo_parameters()
    coins = tuple(
        replace(
            coin,
            listings=tuple(
                replace(one, funding_minutes=intervals) if one.instrument == BITCOIN else one for one in coin.listings
            ),
        )
        for coin in parameters.coins
    )
    return replace(parameters, coins=coins)
