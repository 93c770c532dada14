"""What defines a simulated market: its regimes, its coins, and what a listed symbol looks like."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.simulator.rows import Floats

Venue = Literal["um", "spot", "bybit", "okx", "hyperliquid"]
"""Binance's two by Binance's names (``um``: USDT-margined perpetual futures); of the other exchanges the perpetuals."""

VENUES: tuple[Venue, ...] = get_args(Venue)
"""In the order that numbers them in the seeds of their draws: a new one goes to the end, or every market changes."""

FUNDING_MINUTES = 480
"""Time between two settlements, where a listing says nothing else."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol of one venue and how its numbers are written."""

    venue: Venue
    base: str
    quote: str
    price_decimals: int
    volume_decimals: int
    contract_size: float = 1.0
    """Coins per contract, where the venue counts contracts."""
    funding_minutes: tuple[tuple[int, int], ...] = ((0, FUNDING_MINUTES),)
    """Minutes between settlements, each from so many days after the market's start on."""
    listed_after_days: int = 0
    delisted_after_days: int | None = None
    """Both counted from the market's start; None: never."""

    @property
    def symbol(self) -> str:
        """The exchange's own name, e.g. ``BTCUSDT``; the same on both of Binance's venues."""
        if self.venue == "okx":
            return f"{self.base}-{self.quote}-SWAP"
        return self.base if self.venue == "hyperliquid" else self.base + self.quote

    @property
    def instrument(self) -> Instrument:
        """The instrument it is to the pipeline."""
        unified = f"{self.base}/{self.quote}"
        exchange = "binance" if self.venue in {"um", "spot"} else self.venue
        return Instrument(exchange, unified if self.venue == "spot" else f"{unified}:{self.quote}")

    @property
    def written_decimals(self) -> tuple[int, int, int]:
        """Digits written after the point for prices, volumes and quote volumes: spot always writes eight."""
        return (8, 8, 8) if self.venue == "spot" else (self.price_decimals, self.volume_decimals, 5)


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin: all its listings share one price path."""

    start_price_usd: float
    minute_volume_base: float
    """Typical traded amount of a minute in the middle regime."""
    trade_size_base: float
    open_interest_base: float
    """Open contracts in the calmest regime."""
    listings: tuple[Listing, ...]


@dataclass(frozen=True, slots=True)
class Outage:
    """Minutes that the exchange never published, counted from the market's start."""

    offset_minutes: int
    minutes: int


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """A regime-switching market whose best possible filter is known.

    The regime is a Markov chain that may switch between intervals of ``timeframe``. An interval in state s at an hour
    of pattern c has variance V = sigma_s^2 c^2 (nu - 2) / G with G ~ chi-squared(nu); its minutes' log returns are
    independent normals of mean mu_s / N and variance V / N, N minutes to an interval. States are in order of scale.
    """

    timeframe: Timeframe
    transition: tuple[tuple[float, ...], ...]
    mean_log_return: tuple[float, ...]
    volatility: tuple[float, ...]
    """Standard deviation of an interval's log return, per state."""
    degrees_of_freedom: float
    hour_pattern: tuple[float, ...]
    """Factor on the volatility per UTC hour of the interval's start."""
    weekend_factor: float
    funding_rate: tuple[float, ...]
    """Fraction per eight hours that funding tends to, per state."""
    open_interest_share: tuple[float, ...]
    """Share of the coin's open interest that stays open, per state."""
    coins: tuple[Coin, ...]
    outages: tuple[Outage, ...]

    def __post_init__(self) -> None:
        states = len(self.volatility)
        per_state = (self.transition, self.mean_log_return, self.funding_rate, self.open_interest_share)
        if any(len(values) != states for values in per_state) or any(len(row) != states for row in self.transition):
            raise UsageError(f"market parameters name {states} volatilities: give every table one entry per state")
        if any(abs(sum(row) - 1) > 1e-9 or min(row) < 0 for row in self.transition):
            raise UsageError("the rows of the market's transition matrix must be probabilities that sum to 1")
        if list(self.volatility) != sorted(self.volatility) or self.volatility[0] <= 0:
            raise UsageError("the market's states must have positive volatilities in ascending order")
        if self.degrees_of_freedom <= 2 or len(self.hour_pattern) != 24:
            raise UsageError("the market needs degrees_of_freedom above 2 and an hour_pattern of 24 factors")

    @property
    def states(self) -> int:
        """How many regimes there are."""
        return len(self.volatility)

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Every symbol of every coin."""
        return tuple(listing for coin in self.coins for listing in coin.listings)

    def transition_matrix(self) -> Floats:
        """Row: from state; column: to state."""
        return np.array(self.transition)

    def stationary(self) -> Floats:
        """The share of time spent in each state; the market starts from it."""
        system = np.vstack([self.transition_matrix().T - np.eye(self.states), np.ones(self.states)])
        target = np.append(np.zeros(self.states), 1.0)
        return np.linalg.lstsq(system, target, rcond=None)[0].astype(np.float64)


def demo_parameters() -> MarketParameters:
    """Three regimes at 1h with the scale, tails and persistence of BTC.

    BTC and ETH perpetuals on four exchanges and BTC spot; on Binance also one perpetual that is listed late and settles
    more often after a while (AVAX), and one that is delisted (LUNA).
    """
    wave = 1 + 0.3 * np.cos(2 * np.pi * (np.arange(24) - 15) / 24)
    pattern = wave / np.sqrt(np.mean(wave**2))
    return MarketParameters(
        timeframe=Timeframe.parse("1h"),
        transition=((0.988, 0.011, 0.001), (0.010, 0.986, 0.004), (0.002, 0.013, 0.985)),
        mean_log_return=(0.0002, 0.0, -0.0004),
        volatility=(0.004, 0.0075, 0.0145),
        degrees_of_freedom=4.0,
        hour_pattern=tuple(float(factor) for factor in pattern),
        weekend_factor=0.75,
        funding_rate=(0.0001, 0.00006, -0.00004),
        open_interest_share=(1.0, 0.94, 0.8),
        coins=(_bitcoin(), _ether(), _late(), _delisted()),
        outages=(Outage(9 * 1440 + 197, 7), Outage(25 * 1440 + 702, 63)),
    )


_EVERY_HOUR = ((0, 60),)


def _bitcoin() -> Coin:
    return Coin(
        start_price_usd=40_000.0,
        minute_volume_base=180.0,
        trade_size_base=0.08,
        open_interest_base=105_000.0,
        listings=(
            Listing("um", "BTC", "USDT", 1, 3),
            Listing("spot", "BTC", "USDT", 2, 5),
            Listing("bybit", "BTC", "USDT", 1, 3),
            Listing("okx", "BTC", "USDT", 1, 4, contract_size=0.01),
            Listing("hyperliquid", "BTC", "USDC", 0, 5, funding_minutes=_EVERY_HOUR),
        ),
    )


def _ether() -> Coin:
    return Coin(
        start_price_usd=2_500.0,
        minute_volume_base=2_400.0,
        trade_size_base=0.9,
        open_interest_base=1_600_000.0,
        listings=(
            Listing("um", "ETH", "USDT", 2, 3),
            # Readers must not take eight hours for granted: here they become four.
            Listing("bybit", "ETH", "USDT", 2, 2, funding_minutes=((0, FUNDING_MINUTES), (20, 240))),
            Listing("okx", "ETH", "USDT", 2, 3, contract_size=0.1),
            Listing("hyperliquid", "ETH", "USDC", 1, 4, funding_minutes=_EVERY_HOUR),
        ),
    )


def _late() -> Coin:
    return Coin(
        start_price_usd=35.0,
        minute_volume_base=60_000.0,
        trade_size_base=30.0,
        open_interest_base=9_000_000.0,
        listings=(
            Listing(
                venue="um",
                base="AVAX",
                quote="USDT",
                price_decimals=3,
                volume_decimals=0,
                funding_minutes=((0, FUNDING_MINUTES), (30, 240)),
                listed_after_days=12,
            ),
        ),
    )


def _delisted() -> Coin:
    return Coin(
        start_price_usd=80.0,
        minute_volume_base=20_000.0,
        trade_size_base=12.0,
        open_interest_base=3_000_000.0,
        listings=(Listing("um", "LUNA", "USDT", 3, 0, delisted_after_days=40),),
    )
