"""Markets with known parameters, whose best possible filter and forecast density are computed exactly."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from tradecore_pipeline.models.density import PERCENT, Floats, StudentMixture
from tradecore_pipeline.simulator.oracle import forward
from tradecore_pipeline_tests.models.markets import sticky

Integers = NDArray[np.int64]

MINUTES = 60
YEAR_BARS = 8760
GAUSSIAN_DF = 1e6
"""A Student-t with so many degrees of freedom is a normal distribution; world and oracle both use it."""


_EASY, _MID, _HARD = 0.98, 0.98, 0.93
"""Shares of the oracle's accuracy to be reached, by level."""


@dataclass(frozen=True)
class World:
    """Parameters of a market. A bar in state k has variance V = scale_k^2 f^2 (nu - 2) / G with G ~ chi-squared(nu).

    Its minutes are independent normals of mean ``means[k] * scale_k * f / 60`` and variance V / 60. The factor f is
    known before the bar: carried on from the bar before, given by the clock, or by a slow drift.
    """

    name: str
    by: str
    """What tells the states apart, and so their order: ``scale`` or ``mean``."""
    scales: tuple[float, ...]
    """Standard deviation of a bar's log return per state."""
    means: tuple[float, ...]
    """Mean of a bar's log return per state, in standard deviations."""
    stay: float
    df: float
    accuracy_bar: float
    """Share of the oracle's state accuracy that a model ought to reach."""
    carry: float = 0.0
    """Exponent with which the bar before's realized variance, relative to the middle state's, scales the variance."""
    drift: float = 0.0
    """Each state's log scale swings by so much in a year, each a third of the way behind the one before."""
    weekly: bool = False
    """Whether scales follow hour and weekend as in the simulator's demo."""

    @property
    def states(self) -> int:
        return len(self.scales)

    @property
    def easier(self) -> bool:
        """Whether it is not of the hardest level."""
        return self.accuracy_bar > _HARD


@dataclass(frozen=True)
class Market:
    """One draw of a world with what its oracle knows; row t of everything is known at t's close, but ``states``."""

    world: World
    bars: pd.DataFrame
    states: Integers
    filtered: Floats
    """The exact filtered probability of each state, (T, K)."""
    forecast: StudentMixture
    """The exact density of the bar after each one, in percent."""
    next_returns: Floats
    """Percent; NaN in the last row."""

    @property
    def log_density(self) -> Floats:
        """What the oracle gave to the bar after each one, nats."""
        return self.forecast.log_density(self.next_returns)


def mean_worlds() -> tuple[World, ...]:
    """Constant volatility, means apart, at three signal-to-noise levels, with thin and with heavy tails."""
    return tuple(
        World(f"mean {apart:g} {tails}", "mean", (0.0075,) * 3, (-apart, 0.0, apart), 0.98, df, bar)
        for tails, df in (("normal", GAUSSIAN_DF), ("t4", 4.0))
        for apart, bar in ((0.25, _EASY), (0.17, _MID), (0.08, _HARD))
    )


def scale_worlds() -> tuple[World, ...]:
    """Scales apart at three levels, heavy tails, small means; the easy one with two to five states."""
    levels = (
        ("easy", (1.0, 2.0, 4.0), 0.988, _EASY),
        ("mid", (1.0, 1.6, 2.5), 0.98, _MID),
        ("hard", (1.0, 1.25, 1.6), 0.97, _HARD),
    )
    three = [_by_scale(f"scale {name} K=3", ratios, stay, bar) for name, ratios, stay, bar in levels]
    others = [
        _by_scale(f"scale easy K={states}", tuple(2.0**k for k in range(states)), 0.988, _EASY) for states in (2, 4, 5)
    ]
    return (*three, *others)


def clustering_worlds() -> tuple[World, ...]:
    """The scale worlds of three states with a variance that also follows the bar before."""
    return tuple(
        replace(world, name=world.name.replace("scale", "carry"), carry=0.3)
        for world in scale_worlds()
        if world.states == 3
    )


def drifting_world() -> World:
    """The easy scale world whose scales swing over the year, for a model that is refitted monthly."""
    return replace(scale_worlds()[0], name="drift easy K=3", drift=0.2)


def weekly_world() -> World:
    """The easy scale world with a pattern over the day and the week."""
    return replace(scale_worlds()[0], name="week easy K=3", weekly=True)


def draw(world: World, rows: int, *, seed: int) -> Market:
    """``rows`` hourly bars of a world, and the oracle's knowledge of them."""
    random = np.random.default_rng(seed)
    states = _chain(sticky(world.states, world.stay), random.random(rows))
    index = pd.date_range("2021-01-04", periods=rows, freq="1h", tz="UTC", name="ts_open", unit="ms")
    unit = _unit_minutes(world, states, random)
    scale = _known_scales(world, index)[np.arange(rows), states]
    scale = scale * _carried_along(world, scale, (unit**2).sum(axis=1))
    bars = _as_bars(unit * scale[:, None], index, volume=random.lognormal(size=rows))
    filtered, forecast = exact(world, bars)
    move = np.log(bars["close"].to_numpy() / bars["open"].to_numpy())
    return Market(world, bars, states, filtered, forecast, PERCENT * np.append(move[1:], np.nan))


def exact(world: World, bars: pd.DataFrame) -> tuple[Floats, StudentMixture]:
    """The best possible filtered probabilities (T, K) and density of the next bar's return (percent), from bars alone.

    ``bars`` are a world's from its first on; row t uses those up to t.
    """
    index = pd.DatetimeIndex(bars.index)
    total = np.log(bars["close"].to_numpy(dtype=np.float64) / bars["open"].to_numpy(dtype=np.float64))
    square = bars["realized_variance"].to_numpy(dtype=np.float64)
    carried = np.append(1.0, (square / _usual(world) ** 2) ** (world.carry / 2))
    and_next = pd.DatetimeIndex(index.append(index[-1:] + pd.Timedelta(hours=1)))
    scale = _known_scales(world, and_next) * carried[:, None]
    likelihood = bar_log_likelihood(world, scale[:-1], total=total, total_square=square)
    transmat = sticky(world.states, world.stay)
    filtered = forward(likelihood, transmat, initial=np.full(world.states, 1 / world.states))
    forecast = StudentMixture(
        filtered @ transmat,
        PERCENT * scale[1:] * np.array(world.means),
        PERCENT * scale[1:] * np.sqrt((world.df - 2) / world.df),
        np.full((len(bars), world.states), world.df),
    )
    return filtered, forecast


def shuffled(market: Market, *, seed: int) -> pd.DataFrame:
    """The market's bars in random order, each with its own return, range and realized variance."""
    bars = market.bars
    order = np.random.default_rng(seed).permutation(len(bars))
    moved = bars.iloc[order].set_axis(bars.index)
    move = np.log(moved["close"] / moved["open"]).cumsum()
    level = bars["open"].iloc[0] * np.exp(move.shift(1, fill_value=0.0)) / moved["open"]
    prices = ["open", "high", "low", "close"]
    moved[prices] = moved[prices].mul(level, axis=0)
    return moved


def bar_log_likelihood(world: World, scale: Floats, *, total: Floats, total_square: Floats) -> Floats:
    """Log density (T, K) of each bar's sixty minute returns given each state.

    Given the state the minutes are a multivariate Student-t, so that their sum and sum of squares suffice:
    lgamma((nu + N) / 2) - lgamma(nu / 2) + N/2 log(A / pi) - (nu + N) / 2 log(1 + A Q), A = N / (scale^2 (nu - 2)),
    Q the sum of squares around the state's mean.
    """
    mean = scale * np.array(world.means) / MINUTES
    around = total_square[:, None] - 2 * mean * total[:, None] + MINUTES * mean**2
    precision = MINUTES / (scale**2 * (world.df - 2))
    power = (world.df + MINUTES) / 2
    constant = gammaln(power) - gammaln(world.df / 2)
    return constant + MINUTES / 2 * np.log(precision / np.pi) - power * np.log1p(precision * around)


def _by_scale(name: str, ratios: tuple[float, ...], stay: float, bar: float) -> World:
    means = tuple(np.linspace(0.05, -0.03, len(ratios)).tolist())
    return World(name, "scale", tuple(0.004 * ratio for ratio in ratios), means, stay, 4.0, bar)


def _chain(transmat: Floats, uniforms: Floats) -> Integers:
    cumulative = np.cumsum(transmat, axis=1)
    cumulative[:, -1] = 1.0
    states = np.empty(len(uniforms), dtype=np.int64)
    state = int(uniforms[0] * len(transmat))
    for row, uniform in enumerate(uniforms):
        state = int(np.searchsorted(cumulative[state], uniform, side="right")) if row else state
        states[row] = state
    return states


def _unit_minutes(world: World, states: Integers, random: np.random.Generator) -> Floats:
    """Minute returns of each bar in units of its scale."""
    shock = np.sqrt((world.df - 2) / random.chisquare(world.df, len(states)) / MINUTES)
    return np.array(world.means)[states][:, None] / MINUTES + shock[:, None] * random.normal(
        size=(len(states), MINUTES)
    )


def _known_scales(world: World, index: pd.DatetimeIndex) -> Floats:
    """Each state's scale (T, K) as clock and drift make it."""
    behind = 2 * np.pi * np.arange(world.states) / 3
    year = 2 * np.pi * np.arange(len(index)) / YEAR_BARS
    factor = np.exp(world.drift * np.sin(year[:, None] - behind))
    if world.weekly:
        wave = 1 + 0.3 * np.cos(2 * np.pi * (np.asarray(index.hour) - 15) / 24)
        factor *= (wave * np.where(np.asarray(index.day_of_week) >= 5, 0.75, 1.0))[:, None]
    return factor * np.array(world.scales)


def _usual(world: World) -> float:
    return world.scales[world.states // 2]


def _carried_along(world: World, scale: Floats, unit_variance: Floats) -> Floats:
    """The factor on each bar's scale that the bar before leaves; 1 for the first."""
    factor = np.ones(len(scale))
    if world.carry:
        for row in range(len(scale) - 1):
            variance = (scale[row] * factor[row]) ** 2 * unit_variance[row]
            factor[row + 1] = (variance / _usual(world) ** 2) ** (world.carry / 2)
    return factor


def _as_bars(minutes: Floats, index: pd.DatetimeIndex, *, volume: Floats) -> pd.DataFrame:
    path = np.cumsum(minutes.ravel()).reshape(minutes.shape)
    before = np.append(0.0, path[:-1, -1])
    start_price = 20_000.0
    return pd.DataFrame(
        {
            "open": start_price * np.exp(before),
            "high": start_price * np.exp(np.maximum(before, path.max(axis=1))),
            "low": start_price * np.exp(np.minimum(before, path.min(axis=1))),
            "close": start_price * np.exp(path[:, -1]),
            "volume": volume,
            "realized_variance": (minutes**2).sum(axis=1),
            "minutes": float(MINUTES),
        },
        index=index,
    )
