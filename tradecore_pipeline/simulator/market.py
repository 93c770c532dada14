"""The simulated market: a seeded regime-switching price path per coin and everything published about it."""

from datetime import date, timedelta
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.time import MINUTES_PER_DAY, day_start
from tradecore_pipeline.simulator.generation import (
    Path,
    Streams,
    simulate_bars,
    simulate_funding,
    simulate_open_interest,
    simulate_path,
    simulate_premium,
)
from tradecore_pipeline.simulator.parameters import VENUES, Listing, MarketParameters
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars, FundingRates, Integers, OpenInterest, TimeRows, utc_index

_STREAMS = {
    name: number
    for number, name in enumerate(
        (
            *("states", "variance", "returns", "funding", "jitter", "interest"),
            *("high", "low", "volume", "trades", "taker", "premium", "premium_reach"),
        )
    )
}

_DAY_MS = MINUTES_PER_DAY * MINUTE_MS
_NEVER_MS = 2**62

_RowsT = TypeVar("_RowsT", bound=TimeRows)


class SimulatedMarket:
    """A market that is a pure function of its parameters, seed and start; ``end`` only says where it stops.

    Symbols are generated when first asked for and kept. Two markets that differ only in ``end`` agree on every row
    that both hold.
    """

    def __init__(self, parameters: MarketParameters, seed: int, *, start: date, end: date) -> None:
        """``start`` is the first day, ``end`` the first day that is not simulated.

        Raises:
            UsageError: there is no day between them, or the seed is negative.
        """
        if end <= start or seed < 0:
            raise UsageError(f"a simulated market needs start < end and seed >= 0, not {start}, {end} and {seed}")
        self.parameters = parameters
        self.seed = seed
        self.start = start
        self.end = end
        self._paths: dict[int, Path] = {}
        self._bars: dict[Listing, Bars] = {}
        self._funding: dict[Listing, FundingRates] = {}
        self._interest: dict[Listing, OpenInterest] = {}
        self._premium: dict[Listing, Bars] = {}

    @property
    def market_id(self) -> str:
        """The name that keeps its days apart from every other market's."""
        return f"seed{self.seed}-{self.start.isoformat()}"

    @property
    def start_ms(self) -> int:
        """The first moment, in milliseconds since 1970."""
        return int(day_start(self.start).timestamp()) * 1000

    @property
    def minutes_total(self) -> int:
        """Minutes from start to end, the unpublished ones included."""
        return (self.end - self.start).days * MINUTES_PER_DAY

    @property
    def outages(self) -> tuple[Gap, ...]:
        """The minutes missing from every symbol's bars, in order."""
        begin = day_start(self.start)
        return tuple(
            Gap(
                begin + timedelta(minutes=outage.offset_minutes),
                begin + timedelta(minutes=outage.offset_minutes + outage.minutes - 1),
                outage.minutes,
            )
            for outage in self.parameters.outages
            if outage.offset_minutes + outage.minutes <= self.minutes_total
        )

    def listing(self, instrument: Instrument) -> Listing:
        """The symbol that ``instrument`` is here.

        Raises:
            UsageError: this market does not list it.
        """
        for listing in self.parameters.listings:
            if listing.instrument == instrument:
                return listing
        known = ", ".join(str(listing.instrument) for listing in self.parameters.listings)
        raise UsageError(f"the simulated market does not list {instrument}: choose one of {known}")

    def states(self, instrument: Instrument) -> pd.DataFrame:
        """The true ``state`` (0 is the calmest) of every interval, indexed by its ts_open. Never published."""
        path = self._path(self._coin_of(self.listing(instrument)))
        return pd.DataFrame({"state": path.states}, index=utc_index(self.interval_ms))

    def bars(self, instrument: Instrument) -> pd.DataFrame:
        """The published minutes, indexed by ts_open: float64 prices on the tick, the outages' minutes absent."""
        return self.minute_bars(self.listing(instrument)).to_frame()

    @cached_property
    def interval_ms(self) -> Integers:
        """The first moment of every interval of the regime clock."""
        minutes = self.parameters.timeframe.minutes
        return self.start_ms + np.arange(self.minutes_total // minutes) * (minutes * MINUTE_MS)

    def listed_ms(self, listing: Listing) -> int:
        """When a symbol is listed, in milliseconds since 1970."""
        return self.start_ms + listing.listed_after_days * _DAY_MS

    def delisted_ms(self, listing: Listing) -> int | None:
        """When it is delisted; None for never."""
        days = listing.delisted_after_days
        return None if days is None else self.start_ms + days * _DAY_MS

    def minute_bars(self, listing: Listing) -> Bars:
        """The published minutes of one symbol."""
        if listing not in self._bars:
            self._bars[listing] = self._simulate_bars(listing)
        return self._bars[listing]

    def premium_bars(self, listing: Listing) -> Bars:
        """The published minutes of a perpetual's premium index, as a fraction."""
        if listing not in self._premium:
            coin = self._coin_of(listing)
            bars = simulate_premium(
                self.parameters, path=self._path(coin), time_ms=self._minute_ms, streams=self._streams(coin, listing)
            )
            self._premium[listing] = self._while_listed(listing, self._published(bars))
        return self._premium[listing]

    def funding_rates(self, listing: Listing) -> FundingRates:
        """Settlements of a perpetual while it is listed, by its own intervals counted from the market's start."""
        if listing not in self._funding:
            coin = self._coin_of(listing)
            path, streams = self._path(coin), self._streams(coin, listing)
            rates = simulate_funding(self.parameters, listing, path=path, start_ms=self.start_ms, streams=streams)
            self._funding[listing] = self._while_listed(listing, rates)
        return self._funding[listing]

    def open_interest(self, listing: Listing) -> OpenInterest:
        """Five-minute snapshots of a perpetual's open contracts while it is listed."""
        if listing not in self._interest:
            coin = self._coin_of(listing)
            snapshots = simulate_open_interest(
                self.parameters,
                self.parameters.coins[coin],
                venue=listing.venue,
                path=self._path(coin),
                start_ms=self.start_ms,
                streams=self._streams(coin, listing),
            )
            self._interest[listing] = self._while_listed(listing, snapshots)
        return self._interest[listing]

    def _simulate_bars(self, listing: Listing) -> Bars:
        coin = self._coin_of(listing)
        bars = simulate_bars(
            listing,
            self.parameters.coins[coin],
            path=self._path(coin),
            time_ms=self._minute_ms,
            streams=self._streams(coin, listing),
        )
        return self._while_listed(listing, self._published(bars))

    @property
    def _minute_ms(self) -> Integers:
        return self.start_ms + np.arange(self.minutes_total) * MINUTE_MS

    def _published(self, bars: Bars) -> Bars:
        published = np.ones(len(bars), dtype=np.bool_)
        for outage in self.parameters.outages:
            published[outage.offset_minutes : outage.offset_minutes + outage.minutes] = False
        return bars.take(published)

    def _while_listed(self, listing: Listing, rows: _RowsT) -> _RowsT:
        delisted = self.delisted_ms(listing)
        if listing.listed_after_days == 0 and delisted is None:
            return rows
        return rows.between(self.listed_ms(listing), _NEVER_MS if delisted is None else delisted - 1)

    def _path(self, coin: int) -> Path:
        if coin not in self._paths:
            streams = self._streams(coin, None)
            self._paths[coin] = simulate_path(
                self.parameters, self.parameters.coins[coin], interval_ms=self.interval_ms, streams=streams
            )
        return self._paths[coin]

    def _coin_of(self, listing: Listing) -> int:
        return next(number for number, coin in enumerate(self.parameters.coins) if listing in coin.listings)

    def _streams(self, coin: int, listing: Listing | None) -> Streams:
        venue = 0 if listing is None else 1 + VENUES.index(listing.venue)
        entropy = [self.seed, self.start.toordinal(), coin, venue]
        return lambda name: np.random.default_rng([*entropy, _STREAMS[name]])
