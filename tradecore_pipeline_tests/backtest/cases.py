"""Random markets, orders and rules for the tests and benchmarks of the backtest engine."""

from typing import Any

import numpy as np

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.twin import SlowBacktest
from tradecore_pipeline.strategies.reasons import FIRST_STRATEGY_REASON, Reason

HOUR = 3_600 * 10**9
START = 1_640_995_200 * 10**9
FREE = Costs(maker=0.0, taker=0.0, slippage=0.0)
PLAIN = Rules(
    sizing=Sizing.UNITS, distance=Distance.PRICE, stop_first=True, leverage=1.0, maintenance_margin=0.0,
    isolated=True, lot=0.0, minimum_notional=0.0, resize_step=0.0, trail_by_bar=False,
)  # fmt: skip


def bars_of(
    rows: list[tuple[float, float, float, float]], *, funding: Funding | None = None, inner: BarArrays | None = None,
    step: int = HOUR,
) -> BarArrays:  # fmt: skip
    """Hourly bars of the given open, high, low and close."""
    prices = np.array(rows, dtype=np.float64)
    opens = START + step * np.arange(len(rows))
    columns = {name: np.ascontiguousarray(prices[:, at]) for at, name in enumerate(("open", "high", "low", "close"))}
    settled = funding or Funding.none()
    return BarArrays(ts_open=opens, ts_close=opens + step, **columns, funding=settled, inner=inner)


def random_bars(random: np.random.Generator, count: int, *, step: int, funding: Funding, gaps: float) -> BarArrays:
    """A walk with jumps; bars go missing with probability ``gaps``."""
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, count)))
    opened = np.concatenate(([100.0], close[:-1])) * np.exp(
        random.normal(0, 0.01, count) * (random.random(count) < 0.3)
    )
    high = np.maximum(opened, close) * (1 + random.exponential(0.008, count))
    low = np.minimum(opened, close) * (1 - np.minimum(random.exponential(0.008, count), 0.5))
    kept = random.random(count) >= gaps
    kept[0] = True
    times = (START + step * np.arange(count))[kept]
    return BarArrays(
        ts_open=times, ts_close=times + step, open=opened[kept], high=high[kept], low=low[kept], close=close[kept],
        funding=funding, inner=None,
    )  # fmt: skip


def grouped(inner: BarArrays, *, step: int, funding: Funding) -> BarArrays:
    """Coarser bars around ``inner``."""
    begin = inner.ts_open // step * step
    first = np.flatnonzero(np.concatenate(([True], np.diff(begin) > 0)))
    last = np.concatenate((first[1:], [len(inner)])) - 1
    return BarArrays(
        ts_open=begin[first], ts_close=begin[first] + step, open=inner.open[first], close=inner.close[last],
        high=np.maximum.reduceat(inner.high, first), low=np.minimum.reduceat(inner.low, first), funding=funding,
        inner=inner,
    )  # fmt: skip


def random_funding(random: np.random.Generator, span: int) -> Funding:
    """Settlements on a grid of 1, 4 or 8 hours or at odd moments; some marks are unknown."""
    every = int(random.choice([1, 4, 8]))
    times = START + np.arange(-2, span // every + 2) * every * HOUR
    if random.random() < 0.3:
        times = np.unique(times + random.integers(0, HOUR, len(times)))
    mark = np.where(random.random(len(times)) < 0.5, np.nan, random.uniform(90, 110, len(times)))
    return Funding.of(times, random.normal(0, 0.002, len(times)), mark)


def random_orders(random: np.random.Generator, count: int, *, fractions: bool, units: bool) -> Orders:
    """Targets and protections of every kind, some columns constant, most with holes."""
    scale = 0.02 if fractions else 2.0

    def column(chance: float, low: float, high: float) -> Any:
        if random.random() > chance:
            return np.nan
        if random.random() < 0.3:
            return float(random.uniform(low, high))
        return np.where(random.random(count) < 0.8, random.uniform(low, high, count), np.nan)

    def exits() -> Any:
        codes = random.integers(FIRST_STRATEGY_REASON, max(Reason) + 1, count)
        return np.where(random.random(count) < 0.05, codes, 0) if random.random() < 0.5 else 0

    target = np.where(
        random.random(count) < random.uniform(0.02, 0.9), random.choice([-2, -1, 0, 0.5, 1, 2], count), np.nan
    )
    if random.random() < 0.3:
        target = target * random.uniform(0.2, 1.0, count)
    levels = int(random.integers(0, 5))
    distances = np.cumsum(random.uniform(0.1, 1.0, (count, levels)), axis=1) * scale
    distances[random.random((count, levels)) < 0.1] = np.nan
    return Orders.of(
        target * (5 if units else 1), exit_long=exits(), exit_short=exits(),
        stop=column(0.6, 0.2 * scale, 2 * scale), profit=column(0.6, 0.3 * scale, 3 * scale),
        trail=column(0.5, 0.1 * scale, 2 * scale), trail_activation=column(0.5, 0.0, 2 * scale),
        breakeven=column(0.4, 0.0, 2 * scale), breakeven_offset=float(random.uniform(-0.2, 0.2) * scale),
        partial_distance=distances, partial_fraction=np.full((1, levels), random.choice([0.25, 0.3, 0.5])),
        max_holding_bars=column(0.3, 1, 20),
    )  # fmt: skip


def random_rules(random: np.random.Generator, *, fractions: bool, units: bool, isolated: bool) -> Rules:
    leverage = float(random.choice([1.0, 3.0, 10.0]))
    return Rules(
        sizing=Sizing.UNITS if units else Sizing.EQUITY,
        distance=Distance.FRACTION if fractions else Distance.PRICE,
        stop_first=bool(random.random() < 0.7),
        leverage=leverage,
        maintenance_margin=float(random.choice([0.0, 0.005, 0.05])),
        isolated=isolated,
        lot=float(random.choice([0.0, 0.0, 0.01, 1.0])),
        minimum_notional=float(random.choice([0.0, 10.0])),
        resize_step=float(random.choice([0.0, 0.1, np.inf])),
        trail_by_bar=bool(random.random() < 0.3),
    )


def random_case(seed: int, count: int) -> tuple[BarArrays, Orders, Costs, Rules]:
    """Bars (some with finer ones inside), orders, costs and rules; all from ``seed``."""
    random = np.random.default_rng(seed)
    fractions, units = random.random() < 0.5, random.random() < 0.5
    funding = random_funding(random, count) if random.random() < 0.7 else Funding.none()
    if random.random() < 0.4:
        inner = random_bars(random, count, step=HOUR // 4, funding=Funding.none(), gaps=0.1)
        bars = grouped(inner, step=HOUR, funding=funding)
    else:
        bars = random_bars(random, count, step=HOUR, funding=funding, gaps=0.05)
    orders = random_orders(random, len(bars), fractions=fractions, units=units)
    costs = Costs(
        maker=random.choice([0.0, 0.0002]), taker=random.choice([0.0, 0.0006]), slippage=random.choice([0, 0.001])
    )
    rules = random_rules(random, fractions=fractions, units=units, isolated=bool(random.random() < 0.7))
    return bars, orders, costs, rules


def difference(fast: Backtest, slow: SlowBacktest) -> str:
    """What differs between the two beyond 1e-12 relative, or nothing."""
    fills = np.array([
        (f.bar, f.path_bar, f.at_open, f.reason, f.units, f.price, f.fee, f.slippage, f.held, f.cash)
        for f in slow.fills
    ]).reshape(-1, 10)  # fmt: skip
    trades = np.array([
        (t.first_fill, t.last_fill, t.anchor, t.highest, t.lowest, t.funding, t.pnl, t.reason) for t in slow.trades
    ]).reshape(-1, 8)  # fmt: skip
    scale = max(float(np.abs(fast.equity).max()), 1.0)
    pairs = {
        "equity": (fast.equity, np.array(slow.equity)),
        "fills": (fast.fill_rows[:, :10], fills),
        "trades": (fast.trade_rows[:, 10:], trades),
        "counts": (np.array([fast.capped, fast.small]), np.array([slow.capped, slow.small])),
    }
    for name, (one, other) in pairs.items():
        if one.shape != other.shape:
            return f"{name}: {one.shape} and {other.shape}"
        if not np.allclose(one, other, rtol=1e-12, atol=1e-12 * scale, equal_nan=True):
            return f"{name}: {np.abs(one - other).max()}"
    return ""


def both(bars: BarArrays, orders: Orders, costs: Costs, rules: Rules, capital: float) -> tuple[Backtest, SlowBacktest]:
    """A run of the compiled engine and one of its twin."""
    fast = run_backtest(bars, orders, costs=costs, rules=rules, capital=capital)
    slow = SlowBacktest(bars, orders, costs=costs, rules=rules, capital=capital)
    slow.run(None, None)
    return fast, slow
