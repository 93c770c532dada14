"""Small days of market data for the storage tests and benchmarks: seeded, exact, on the grid."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET, FetchedDay, Gap, SourceFile
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST, REGIMES, Table
from tradecore_pipeline.domain.time import Timeframe, day_start

BTC = Instrument.parse("binance:BTC/USDT:USDT")
ETH = Instrument.parse("binance:ETH/USDT:USDT")
SPOT = Instrument.parse("binance:BTC/USDT")
HOUR = Timeframe.parse("1h")
DAY = date(2022, 5, 1)
NOW = datetime(2022, 6, 1, tzinfo=UTC)
PRICE_NAMES = ("open", "high", "low", "close")


def bar_values(count: int, seed: int) -> dict[str, object]:
    generator = np.random.default_rng(seed)
    ticks = 2_000_000 + np.cumsum(generator.integers(-50, 51, count + 1))
    first, last = ticks[:-1], ticks[1:]
    reach = generator.integers(0, 30, count)
    prices = (first, np.maximum(first, last) + reach, np.minimum(first, last) - reach, last)
    volume = np.round(generator.gamma(2.0, 20.0, count), 3)
    values: dict[str, object] = {
        name: [Decimal(int(tick)).scaleb(-2) for tick in price] for name, price in zip(PRICE_NAMES, prices, strict=True)
    }
    return values | {
        "volume": volume,
        "quote_volume": np.round(volume * last / 100, 5),
        "trades": generator.integers(1, 3000, count),
        "taker_buy_volume": np.round(volume * 0.5, 3),
        "taker_buy_quote_volume": np.round(volume * last / 200, 5),
    }


def moments(day: date, step: timedelta, count: int) -> list[datetime]:
    return [day_start(day) + index * step for index in range(count)]


def minute_bars(day: date = DAY, *, count: int = 1440, seed: int = 1) -> pa.Table:
    columns = {"ts_open": moments(day, timedelta(minutes=1), count)} | bar_values(count, seed)
    return pa.table(columns, schema=BARS_1M.schema)


def hour_bars(day: date = DAY, *, seed: int = 1) -> pa.Table:
    opens = moments(day, timedelta(hours=1), 24)
    columns = {"ts_open": opens, "ts_close": [ts + timedelta(hours=1) for ts in opens]} | bar_values(24, seed)
    columns |= {"realized_variance": np.full(24, 1e-5), "minutes": np.full(24, 60)}
    return pa.table(columns, schema=BARS.schema)


def funding(day: date = DAY) -> pa.Table:
    return pa.table(
        {
            "ts_settle": moments(day, timedelta(hours=8), 3),
            "funding_rate": [0.0001, -0.0002, 0.0003],
            "funding_interval_minutes": [None, 480, 480],
        },
        schema=FUNDING_RATES.schema,
    )


def open_interest(day: date = DAY, *, count: int = 288) -> pa.Table:
    base = np.linspace(70_000.0, 71_000.0, count)
    return pa.table(
        {
            "ts_event": moments(day, timedelta(minutes=5), count),
            "open_interest_base": base,
            "open_interest_usd": base * 20_000.0,
        },
        schema=OPEN_INTEREST.schema,
    )


def regimes(day: date = DAY) -> pa.Table:
    opens = moments(day, timedelta(hours=1), 24)
    columns: dict[str, Sequence[object]] = {
        "ts_open": opens,
        "ts_close": [ts + timedelta(hours=1) for ts in opens],
        "regime_index": [0] * 24,
        "volatility_regime": ["Calm"] * 24,
        "regime": ["Bull"] * 24,
        "direction_significant": [False] * 24,
        "confidence": [0.8] * 24,
        "held_index": pa.array([1] * 24, pa.int32()),
        "trend": pa.array([-1] * 24, pa.int32()),
        "filtered_probability": [[0.8, 0.15, 0.05]] * 24,
        "forecast_log_return": [0.0] * 24,
        "forecast_volatility": [0.01] * 24,
        "log_score": [None] + [-0.35] * 23,
        "har_log_score": [None] * 24,
        "hmm_run_id": ["a"] * 24,
        "forecast_run_id": ["b"] * 24,
    }
    return pa.table(columns, schema=REGIMES.schema)


def fetched(
    rows: pa.Table,
    *,
    table: Table = BARS_1M,
    instrument: Instrument = BTC,
    day: date = DAY,
    market: str = REAL_MARKET,
    gaps: tuple[Gap, ...] = (),
    complete: bool = True,
) -> FetchedDay:
    return FetchedDay(
        instrument=instrument,
        dataset=table.name,
        day=day,
        rows=rows,
        source="archive-daily",
        host="data.binance.vision",
        market=market,
        files=(SourceFile("https://data.binance.vision/x.zip", "ab" * 32),),
        gaps=gaps,
        complete=complete,
        reason="",
    )
