"""Seeded markets with regimes and forecasts at several timeframes, for the tests of whole strategies."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.strategies.contracts import Exits, Plan
from tradecore_pipeline.strategies.decision import Strategy, joined
from tradecore_pipeline.strategies.higher import beside
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline.strategies.reading import variant
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig

PERPETUAL = "binance:BTC/USDT:USDT"
HOUR, QUARTER, FOUR_HOURS = Timeframe("1h"), Timeframe("15m"), Timeframe("4h")
START = pd.Timestamp("2024-01-01", tz="UTC")
_NAMES = {2: np.array(["Bull", "Bear"]), 3: np.array(["Bull", "Chop", "Bear"])}
_SCALES = np.array([0.003, 0.006, 0.015])

World = Mapping[Timeframe, Market]


def series(seed: int, timeframe: Timeframe, count: int, *, gaps: float = 0.0, holes: float = 0.0) -> Market:
    """Bars of a market whose states last, three of them at first and two from the middle on.

    Bars go missing with probability ``gaps``, and models with ``holes`` for a stretch of ten bars; some forecasts are 0
    and some volatilities are.
    """
    random = np.random.default_rng(seed)
    rows = np.arange(count)
    held = random.integers(0, 3, count)[np.maximum.accumulate(np.where(random.random(count) < 0.05, rows, 0))]
    states = np.where(rows < count // 2, 3, 2)
    held = np.minimum(held, states - 1)
    scale = _SCALES[held] * np.sqrt(timeframe.minutes / 60)
    close = np.round(20_000 * np.exp(np.cumsum(random.normal(0, scale))), 2)
    opened = np.concatenate(([20_000.0], close[:-1]))
    high = np.round(np.maximum(opened, close) * (1 + random.exponential(scale / 3)), 2)
    low = np.round(np.minimum(opened, close) * (1 - np.minimum(random.exponential(scale / 3), 0.2)), 2)
    trust = random.beta(5, 2, count)[:, None]
    probabilities = trust * np.eye(3)[held] + (1 - trust) * random.dirichlet((1.0, 1.0, 1.0), count)
    probabilities[states == 2, 2] = np.nan
    volatility = scale * np.exp(random.normal(0, 0.2, count)) * (random.random(count) > 0.01)
    forecast = 0.01 * scale * random.normal(0, 1, count) * (random.random(count) > 0.03)
    absent = np.repeat(random.random(count // 10 + 1) < holes, 10)[:count]
    regime = np.where(states == 3, _NAMES[3][held], _NAMES[2][np.minimum(held, 1)])
    index = pd.date_range(START, periods=count, freq=timeframe.duration, name="ts_open")
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": random.gamma(2, 10, count)}
    market = Market(
        PERPETUAL,
        timeframe,
        pd.DataFrame({"ts_close": index + timeframe.duration} | columns, index=index),
        probabilities=np.where(absent[:, None], np.nan, probabilities),
        held=np.where(absent, NO_STATE, held),
        regime=np.where(absent, "", regime),
        direction_significant=~absent & (rows % 50 < 10),
        trend=np.sign(np.round(np.sin(rows / 40), 1)).astype(np.int64),
        forecast=np.where(absent, np.nan, forecast),
        volatility=np.where(absent, np.nan, volatility),
        funding_rate=np.where(rows < 8, np.nan, 1e-4),
        equal_scales=(rows // 60) % 7 == 6,
    )
    return chosen(market, np.flatnonzero(random.random(count) >= gaps))


def world(seed: int, hours: int, *, gaps: float = 0.0, holes: float = 0.0) -> World:
    """The same span at an hour, a quarter of one and four of them."""
    lengths = (HOUR, QUARTER, FOUR_HOURS)
    return {
        length: series(seed + number, length, hours * 60 // length.minutes, gaps=gaps, holes=holes)
        for number, length in enumerate(lengths)
    }


def seen(markets: World) -> Market:
    """The hourly market with the others beside it."""
    own = markets[HOUR]
    others = {length: beside(other, own.bars) for length, other in markets.items() if length != HOUR}
    return replace(own, higher=others)


def until(markets: World, moment: datetime) -> World:
    """What had closed by then."""
    return {length: market.rows(0, _closed(market, moment)) for length, market in markets.items()}


def scrambled(markets: World, moment: datetime, seed: int) -> World:
    """The same until then, and another market's bars and models afterwards."""
    found = {}
    for number, (length, market) in enumerate(markets.items()):
        row = _closed(market, moment)
        noise = series(seed + number, length, len(market))
        times = {"ts_close": market.bars["ts_close"]}
        noise = replace(noise, bars=noise.bars.set_axis(market.bars.index).assign(**times))
        found[length] = joined(market.rows(0, row), noise.rows(row, len(market))) if row else noise
    return found


def _closed(market: Market, moment: datetime) -> int:
    return int((market.bars["ts_close"] <= moment).sum())


def chosen(market: Market, rows: np.ndarray) -> Market:
    """Some of the bars."""
    arrays = ("held", "regime", "direction_significant", "trend", "forecast", "volatility", "funding_rate")
    picked = {name: getattr(market, name)[rows] for name in (*arrays, "probabilities")}
    return replace(market, bars=market.bars.iloc[rows], **picked, equal_scales=market.equal_states[rows])


def changed(config: StrategyConfig, **sections: Mapping[str, Any]) -> StrategyConfig:
    """``config`` with other values in its sections, checked again."""
    document = config.model_dump(mode="json")
    for section, values in sections.items():
        document[section] = document[section] | values if isinstance(values, Mapping) else values
    return StrategyConfig.model_validate(document)


def shipped(name: str, *, warmup: int) -> Strategy:
    """A shipped configuration that begins to trade after ``warmup`` bars."""
    return Strategy.of(changed(variant(name), backtesting_parameters={"warmup": warmup}), Registry())


def columns_of(plan: Plan) -> dict[str, np.ndarray]:
    """All that a plan says, by name."""
    exits = {field.name: getattr(plan.exits, field.name) for field in fields(Exits)}
    return {"side": plan.side, "size": plan.size} | exits


def assert_same(left: Plan, right: Plan, rows: slice, *, of: slice) -> None:
    """Rows ``rows`` of one plan are rows ``of`` of another: sides and reasons exactly, numbers to 1e-9."""
    assert left.rebalance == right.rebalance
    for (name, one), other in zip(columns_of(left).items(), columns_of(right).values(), strict=True):
        if one.dtype == np.int8:
            np.testing.assert_array_equal(one[rows], other[of], err_msg=name)
        else:
            np.testing.assert_allclose(one[rows], other[of], rtol=1e-9, atol=1e-12, equal_nan=True, err_msg=name)
