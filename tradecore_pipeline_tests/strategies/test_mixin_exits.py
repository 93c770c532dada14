"""Exits against cases by hand, and what the engine makes of them."""

from dataclasses import fields

import numpy as np
import pytest

from tradecore_pipeline.backtest.orders import Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.twin import SlowBacktest
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.strategies.contracts import Exit, Exits
from tradecore_pipeline.strategies.exits.atr import AdvancedATRExitMixin, ATRExitMixin, SimpleATRExitMixin
from tradecore_pipeline.strategies.exits.fixed_ratio import FixedRatioExitMixin
from tradecore_pipeline.strategies.exits.ma_crossover import MACrossoverExitMixin
from tradecore_pipeline.strategies.exits.multi_level_atr import MultiLevelATRExitMixin
from tradecore_pipeline.strategies.exits.regime_change import RegimeChangeExitMixin
from tradecore_pipeline.strategies.exits.rsi_bb import RSIBBExitMixin
from tradecore_pipeline.strategies.exits.time_based import TimeBasedExitMixin
from tradecore_pipeline.strategies.exits.trailing_stop import TrailingStopExitMixin
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import RegimeRule, StrategyConfig, SymbolRule
from tradecore_pipeline_tests.backtest.cases import FREE, bars_of
from tradecore_pipeline_tests.strategies.mixin_cases import (
    CONFIG,
    average_true_range,
    closes,
    market_of,
    random_market,
    strength_index,
)

RULES = Rules(
    sizing=Sizing.UNITS, distance=Distance.FRACTION, stop_first=True, leverage=1.0, maintenance_margin=0.0,
    isolated=True, lot=0.0, minimum_notional=0.0, resize_step=np.inf, trail_by_bar=False,
)  # fmt: skip
FLAT = (100.0, 100.0, 100.0, 100.0)


def found(mixin: Exit, market: Market, *, side: int = 1, config: StrategyConfig = CONFIG) -> Exits:
    return mixin.exits(market, config, np.full(len(market), side, dtype=np.int8))


def fills(exits: Exits, rows: list[tuple[float, float, float, float]], *, side: int) -> list[tuple[int, str, float]]:
    """A position of ``side``, opened at the second bar by the last row of ``exits``: what the engine fills."""
    last = {field.name: getattr(exits, field.name)[-1:] for field in fields(Exits)}
    orders = Orders.of([float(side)] + [np.nan] * (len(rows) - 1), **last)
    orders.check(len(rows))
    run = SlowBacktest(bars_of(rows), orders, costs=FREE, rules=RULES, capital=1_000.0)
    run.run(None, None)
    return [(fill.bar, Reason(fill.reason).name.lower(), round(fill.price, 9)) for fill in run.fills[1:]]


def test_an_atr_stop_is_so_many_ranges_away_and_nothing_is_opened_before_there_is_a_range() -> None:
    market = random_market(1, 80)
    exits = found(ATRExitMixin(atr_period=5, sl_multiplier=3.0, tp_multiplier=4.0), market)
    unit = np.array(average_true_range(market, 5)) / market.column("close")
    np.testing.assert_allclose(exits.stop, 3 * unit, rtol=1e-12)
    np.testing.assert_allclose(exits.profit, 4 * unit, rtol=1e-12)
    assert (exits.exit_long[:5] == Reason.OTHER_RULE).all()
    assert (exits.exit_short[:5] == Reason.OTHER_RULE).all()
    assert not exits.exit_long[5:].any()


def test_an_atr_stop_of_prices_that_never_moved_opens_nothing() -> None:
    exits = found(ATRExitMixin(), market_of([(100.0, 100.0, 100.0)] * 30))
    assert np.isnan(exits.stop).all()
    assert (exits.exit_long == Reason.OTHER_RULE).all()


def test_a_simple_atr_stop_moves_to_the_entry_after_its_gain() -> None:
    exits = found(SimpleATRExitMixin(), closes([100.0] * 20))  # a range of 2
    assert exits.stop[-1] == pytest.approx(0.04)
    assert exits.breakeven[-1] == pytest.approx(0.02)
    assert fills(exits, [FLAT, (100, 102, 99, 101), (101, 101, 96, 97)], side=1) == [(2, "breakeven_stop", 100.0)]
    assert fills(exits, [FLAT, (100, 101.9, 99, 101), (101, 101, 96, 97)], side=1) == [(2, "stop", 96.0)]
    assert fills(exits, [FLAT, (100, 101, 98, 99), (99, 104, 99, 103)], side=-1) == [(2, "breakeven_stop", 100.0)]


@pytest.mark.parametrize("side", [1, -1])
def test_an_advanced_atr_stop_lies_at_the_swing_between_its_bounds(side: int) -> None:
    mixin = AdvancedATRExitMixin(p_fast=3, p_slow=8, swing_lookback=6)
    market = random_market(2, 300)
    exits = found(mixin, market, side=side)
    fast, slow = (average_true_range(market, period) for period in (3, 8))
    close, low, high = (market.column(name) for name in ("close", "low", "high"))
    kinds = set[str]()
    for t in range(8, 300):
        unit = max(fast[t], slow[t])
        swing = close[t] - low[t - 5 : t + 1].min() if side > 0 else high[t - 5 : t + 1].max() - close[t]
        expected = min(max(swing, 2.0 * unit), 2.5 * unit)
        kinds.add("swing" if expected == swing else "bound")
        assert exits.stop[t] * close[t] == pytest.approx(expected, rel=1e-12)
        assert exits.trail[t] * close[t] == pytest.approx(2.0 * unit, rel=1e-12)
        assert exits.trail_activation[t] == exits.stop[t]
    assert kinds == {"swing", "bound"}
    assert (exits.exit_long[:8] == Reason.OTHER_RULE).all()


def test_multi_level_takes_parts_then_breaks_even() -> None:
    exits = found(MultiLevelATRExitMixin(), closes([100.0] * 80))  # 2 wide, in four bars as in one
    assert exits.stop[-1] == pytest.approx(0.05)
    np.testing.assert_allclose(exits.partial_distance[-1], [0.02, 0.04, 0.06])
    rows = [FLAT, (100, 102.5, 99, 102), (102, 102, 99, 100)]
    assert fills(exits, rows, side=1) == [(1, "partial_exit", 102.0), (2, "breakeven_stop", 100.6)]
    rows = [FLAT, (100, 107, 99, 106), (106, 106, 99, 100)]
    parts = [(1, "partial_exit", price) for price in (102.0, 104.0, 106.0)]
    assert fills(exits, rows, side=1) == [*parts, (2, "trailing_stop", pytest.approx(107 * 0.96))]


def test_the_wide_stop_counts_in_ranges_of_longer_bars() -> None:
    # One up each bar, 2 wide: four bars reach from the close before them (and the low 4 below) to a high 1 above.
    exits = found(MultiLevelATRExitMixin(htf_period=3), closes([100.0 + t for t in range(40)]))
    assert np.isnan(exits.stop[11])
    assert (exits.exit_long[:14] == Reason.OTHER_RULE).all()
    assert exits.stop[30] == pytest.approx(2.5 * 5 / 130)
    assert exits.trail[30] == pytest.approx(2 * 2 / 130)


def test_fixed_ratios_are_a_target_and_a_stop() -> None:
    exits = found(FixedRatioExitMixin(), closes([100.0] * 3))
    assert fills(exits, [FLAT, (100, 111, 99, 110)], side=1) == [(1, "profit_target", 110.0)]
    assert fills(exits, [FLAT, (100, 106, 99, 100)], side=-1) == [(1, "stop", 105.0)]


def test_a_trailing_stop_is_there_from_the_fill_on_and_follows_closed_bars() -> None:
    exits = found(TrailingStopExitMixin(trail_pct=0.03), closes([100.0] * 3))
    assert fills(exits, [FLAT, (100, 101, 96, 97)], side=1) == [(1, "stop", 97.0)]
    rows = [FLAT, (100, 110, 99, 109), (109, 109, 100, 101)]
    assert fills(exits, rows, side=1) == [(2, "trailing_stop", pytest.approx(106.7))]
    rows = [FLAT, (100, 101, 90, 91), (91, 95, 91, 94)]
    assert fills(exits, rows, side=-1) == [(2, "trailing_stop", pytest.approx(92.7))]


def test_an_activated_trailing_stop_waits_for_its_gain() -> None:
    exits = found(TrailingStopExitMixin(trail_pct=0.03, activation_pct=0.05), closes([100.0] * 3))
    assert fills(exits, [FLAT, (100, 104.9, 60, 61), (61, 62, 50, 51)], side=1) == []
    rows = [FLAT, (100, 105, 90, 104), (104, 104, 95, 96)]
    assert fills(exits, rows, side=1) == [(2, "trailing_stop", pytest.approx(105 * 0.97))]


def test_a_trailing_stop_by_ranges() -> None:
    market = random_market(3, 60)
    exits = found(TrailingStopExitMixin(use_atr=True, atr_period=6, atr_multiplier=1.5), market)
    unit = np.array(average_true_range(market, 6)) / market.column("close")
    np.testing.assert_allclose(exits.trail, 1.5 * unit, rtol=1e-12)
    np.testing.assert_array_equal(exits.stop, exits.trail)
    assert (exits.exit_short[:6] == Reason.OTHER_RULE).all()


@pytest.mark.parametrize(
    ("bars", "minutes", "timeframe", "expected"),
    [(20, None, "1h", 20), (20, 90, "1h", 2), (1, 600, "1h", 1), (None, 1, "1d", 1), (None, 60, "15m", 4)],
)
def test_time_is_up_after_bars_or_minutes(bars: int | None, minutes: int | None, timeframe: str, expected: int) -> None:
    market = random_market(1, 5)
    market = Market(
        market.instrument, Timeframe(timeframe), market.bars, market.probabilities, market.held, market.regime,
        market.direction_significant, market.trend, market.forecast, market.volatility, market.funding_rate,
    )  # fmt: skip
    exits = found(TimeBasedExitMixin(max_bars=bars, max_minutes=minutes), market)
    assert exits.max_holding_bars.tolist() == [expected] * 5
    rows = [FLAT] * (expected + 3)
    assert fills(exits, rows, side=1) == [(1 + expected, "max_holding", 100.0)]


def test_means_that_cross_close_once() -> None:
    mixin = MACrossoverExitMixin(fast_period=2, slow_period=3)
    # 2: -, 10.5, 11.5, 11.5, 10, 8.5, 10; 3: -, -, 11, 11.3, 10.7, 9.3, 9.7
    exits = found(mixin, closes([10, 11, 12, 11, 9, 8, 12]))
    assert exits.exit_long.tolist() == [0, 0, 0, 0, Reason.INDICATOR, 0, 0]
    assert exits.exit_short.tolist() == [0, 0, 0, 0, 0, 0, Reason.INDICATOR]


def test_means_of_a_price_that_stands_never_cross() -> None:
    for kind in ("SMA", "EMA"):
        exits = found(MACrossoverExitMixin(ma_type=kind), closes([100.1] * 200))
        assert not exits.exit_long.any()
        assert not exits.exit_short.any()


def test_exponential_means_cross_where_written_out_they_do() -> None:
    market = random_market(4, 200)
    close = market.column("close")
    fast, slow = (_exponential(close, period) for period in (4, 9))
    below = [t >= 9 and fast[t] < slow[t] and fast[t - 1] >= slow[t - 1] for t in range(200)]
    exits = found(MACrossoverExitMixin(fast_period=4, slow_period=9, ma_type="EMA"), market)
    assert (exits.exit_long > 0).tolist() == below
    assert sum(below) > 5


def _exponential(values: np.ndarray, period: int) -> list[float]:
    found = [float("nan")] * len(values)
    found[period - 1] = float(values[:period].mean())
    for t in range(period, len(values)):
        found[t] = found[t - 1] + 2 / (period + 1) * (values[t] - found[t - 1])
    return found


@pytest.mark.parametrize("combine", ["and", "or"])
def test_index_and_bands_close_what_is_overdone(combine: str) -> None:
    market = random_market(5, 400)
    exits = found(RSIBBExitMixin.model_validate({"combine": combine}), market)
    index, close = strength_index(market, 14), market.column("close")
    long, short = [], []
    for t in range(400):
        window = close[t - 19 : t + 1]
        known = t >= 19
        high = [known and close[t] >= window.mean() + 2 * window.std(), index[t] >= 70]
        low = [known and close[t] <= window.mean() - 2 * window.std(), index[t] <= 30]
        long.append(all(high) if combine == "and" else any(high))
        short.append(all(low) if combine == "and" else any(low))
    assert (exits.exit_long == np.where(long, Reason.INDICATOR, 0)).all()
    assert (exits.exit_short == np.where(short, Reason.INDICATOR, 0)).all()
    assert sum(long) > 3
    assert sum(short) > 3


def _changing() -> Market:
    held = np.array([0, 0, 1, 1, 2, 2, 0, -1, -1])
    certain = np.array([0.9, 0.9, 0.5, 0.7, 0.9, 0.9, 0.9, 0.0, 0.0])
    probabilities = np.full((9, 3), 0.05)
    probabilities[np.arange(9), np.maximum(held, 0)] = certain
    regime = np.array(["Chop", "Chop", "Bear", "Bear", "Bull", "Bull", "Chop", "", ""])
    return market_of([(101.0, 99.0, 100.0)] * 9, held=held, probabilities=probabilities, regime=regime)


@pytest.mark.parametrize(
    ("when", "long", "short"),
    [("any", {3, 4, 6}, {3, 4, 6}), ("riskier", {3, 4}, {3, 4}), ("against", {3}, {4})],
)
def test_a_change_of_regime_closes_once_it_is_certain(when: str, long: set[int], short: set[int]) -> None:
    exits = found(RegimeChangeExitMixin.model_validate({"when": when}), _changing())
    assert set(np.flatnonzero(exits.exit_long == Reason.REGIME_CHANGE)) == long
    assert set(np.flatnonzero(exits.exit_short == Reason.REGIME_CHANGE)) == short
    assert set(np.flatnonzero(exits.exit_long == Reason.OTHER_RULE)) == {7, 8}


def test_rules_of_regime_and_symbol_scale_every_distance() -> None:
    config = CONFIG.model_copy(
        update={
            "regime_specific_rules": {"regime_0": RegimeRule(exit_speed="fast")},
            "symbol_specific_rules": {"binance:BTC/USDT:USDT": SymbolRule(volatility_multiplier=3.0)},
        }
    )
    market = closes([100.0] * 80)
    assert found(TimeBasedExitMixin(), market, config=config).max_holding_bars[0] == 10
    for mixin in (
        ATRExitMixin(tp_multiplier=1.0), SimpleATRExitMixin(), AdvancedATRExitMixin(), MultiLevelATRExitMixin(),
        FixedRatioExitMixin(), TrailingStopExitMixin(),
    ):  # fmt: skip
        plain, scaled = found(mixin, market), found(mixin, market, config=config)
        for name in ("stop", "profit", "trail", "breakeven", "partial_distance"):
            np.testing.assert_allclose(getattr(scaled, name), 1.5 * getattr(plain, name), rtol=1e-12)
