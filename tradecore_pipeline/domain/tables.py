"""The tables: their columns, Arrow types, units, and what each row means. The one place that spells them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

TIMESTAMP = pa.timestamp("ms", tz="UTC")
PRICE = pa.decimal128(18, 8)
"""Prices are stored exactly; SQL views and DataFrames show them as float64."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, stored type, unit and meaning."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    nullable: bool = False
    signed: bool = False
    """Whether values may lie below zero."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake, stored as one Parquet file per instrument and UTC day."""

    name: str
    key: str
    meaning: str
    columns: tuple[Column, ...]
    step: timedelta | None = None
    """The grid its rows lie on, where they lie on one that never changes."""
    per_timeframe: bool = False
    unique_key: bool = True
    """Whether no two rows share a key."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of a stored file, in column order."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])


_TS_OPEN = Column("ts_open", TIMESTAMP, "UTC", "the bar's first moment; its key")
_TS_CLOSE = Column("ts_close", TIMESTAMP, "UTC", "the moment the row became known")
_BAR_VALUES = (
    Column("open", PRICE, "quote", "first traded price"),
    Column("high", PRICE, "quote", "highest traded price"),
    Column("low", PRICE, "quote", "lowest traded price"),
    Column("close", PRICE, "quote", "last traded price"),
    Column("volume", pa.float64(), "base", "traded amount"),
    Column("quote_volume", pa.float64(), "quote", "traded value", nullable=True),
    Column("trades", pa.int64(), "count", "number of trades", nullable=True),
    Column("taker_buy_volume", pa.float64(), "base", "amount bought by takers", nullable=True),
    Column("taker_buy_quote_volume", pa.float64(), "quote", "value bought by takers", nullable=True),
)

BARS_1M = Table(
    name="bars_1m",
    key="ts_open",
    meaning="closed 1-minute bars as the exchange published them; a missing minute is missing, never filled",
    columns=(_TS_OPEN, *_BAR_VALUES),
    step=timedelta(minutes=1),
)
FUNDING_RATES = Table(
    name="funding_rates",
    key="ts_settle",
    meaning="funding settlements; longs pay shorts when the rate is positive",
    columns=(
        Column("ts_settle", TIMESTAMP, "UTC", "the settlement's minute (exchanges stamp it some ms late)"),
        Column("funding_rate", pa.float64(), "fraction", "paid on the position's value", signed=True),
        Column("funding_interval_minutes", pa.int32(), "minutes", "time since the settlement before", nullable=True),
    ),
)
OPEN_INTEREST = Table(
    name="open_interest",
    key="ts_event",
    meaning="open contracts, one side, every five minutes",
    columns=(
        Column("ts_event", TIMESTAMP, "UTC", "the moment of the snapshot"),
        Column("open_interest_base", pa.float64(), "base", "open contracts in coins, one side"),
        Column("open_interest_usd", pa.float64(), "usd", "the same, valued by the exchange", nullable=True),
    ),
    step=timedelta(minutes=5),
)
PREMIUM_INDEX = Table(
    name="premium_index",
    key="ts_open",
    meaning="closed 1-minute bars of the premium index, which funding follows: how far the perpetual trades above its "
    "index",
    columns=(
        _TS_OPEN,
        Column("open", pa.float64(), "fraction", "first premium; negative below the index", signed=True),
        Column("high", pa.float64(), "fraction", "highest premium", signed=True),
        Column("low", pa.float64(), "fraction", "lowest premium", signed=True),
        Column("close", pa.float64(), "fraction", "last premium", signed=True),
    ),
    step=timedelta(minutes=1),
)
LONG_SHORT_RATIOS = Table(
    name="long_short_ratios",
    key="ts_event",
    meaning="how accounts and takers are positioned, every five minutes",
    columns=(
        Column("ts_event", TIMESTAMP, "UTC", "the moment of the snapshot"),
        Column(
            "top_account_ratio",
            pa.float64(),
            "ratio",
            "top traders' accounts net long, per account net short",
            nullable=True,
        ),
        Column(
            "top_position_ratio", pa.float64(), "ratio", "top traders' long positions per short position", nullable=True
        ),
        Column("account_ratio", pa.float64(), "ratio", "all accounts net long, per account net short", nullable=True),
        Column(
            "taker_volume_ratio", pa.float64(), "ratio", "taker buys per taker sell, last five minutes", nullable=True
        ),
    ),
    step=timedelta(minutes=5),
)
LIQUIDATIONS = Table(
    name="liquidations",
    key="ts_event",
    meaning="positions closed by force, as the exchange's stream showed them: no exchange publishes their history",
    columns=(
        Column("ts_event", TIMESTAMP, "UTC", "the moment of the order"),
        Column("liquidated_side", pa.string(), "name", "the position that was closed: long or short"),
        Column("price", PRICE, "quote", "the order's average fill, or its limit where that is not told"),
        Column("quantity_base", pa.float64(), "base", "closed amount in coins"),
        Column("value_usd", pa.float64(), "usd", "price times quantity"),
    ),
    unique_key=False,
)
BARS = Table(
    name="bars",
    key="ts_open",
    meaning="bars of one timeframe, aggregated from the 1-minute bars",
    columns=(
        _TS_OPEN,
        _TS_CLOSE,
        *_BAR_VALUES,
        Column("realized_variance", pa.float64(), "squared log return", "sum of squared 1-minute log returns"),
        Column("minutes", pa.int32(), "count", "1-minute bars that went into the bar"),
    ),
    per_timeframe=True,
)
REGIMES = Table(
    name="regimes",
    key="ts_open",
    meaning="filtered regimes and the forecast standing at ts_close, by the models of the row's month, which were "
    "trained only on data that ended before that month",
    columns=(
        _TS_OPEN,
        _TS_CLOSE,
        Column("regime_index", pa.int32(), "index", "most probable state, in order of scale (0 is the calmest)"),
        Column("volatility_regime", pa.string(), "name", "that state's name by scale"),
        Column("regime", pa.string(), "name", "that state's name by mean return in the training window"),
        Column(
            "direction_significant",
            pa.bool_(),
            "flag",
            "whether the states' mean returns differed significantly out-of-sample before the month",
        ),
        Column("confidence", pa.float64(), "probability", "the most probable state's filtered probability"),
        Column(
            "filtered_probability",
            pa.list_(pa.float64()),
            "probability",
            "per state in index order, given bars up to this one",
        ),
        Column(
            "held_index",
            pa.int32(),
            "index",
            "the state that is shown and traded: it changes only once another one's filtered probability exceeds the "
            "label threshold",
            nullable=True,
        ),
        Column(
            "trend",
            pa.int32(),
            "sign",
            "sign of the 30-day return, 0 without so much history; a plain rule, no state of the HMM, and unproven",
            nullable=True,
        ),
        Column("forecast_log_return", pa.float64(), "log return", "mean of the next bar's forecast density"),
        Column("forecast_volatility", pa.float64(), "log return", "standard deviation of that density"),
        Column(
            "log_score",
            pa.float64(),
            "nats",
            "log density (returns in percent; where ticks are coarse the log probability of the close's tick interval "
            "over its width) that the forecast standing before this bar gave to this bar",
            nullable=True,
        ),
        Column("har_log_score", pa.float64(), "nats", "the same, of the t-HAR baseline alone", nullable=True),
        Column("hmm_run_id", pa.string(), "id", "MLflow run of the regime model"),
        Column("forecast_run_id", pa.string(), "id", "MLflow run of the forecast"),
    ),
    per_timeframe=True,
)
GAPS = Table(
    name="gaps",
    key="first_missing",
    meaning="the gap ledger: what an exchange did not publish inside a stored day",
    columns=(
        Column("dataset", pa.string(), "name", "the table that lacks rows"),
        Column("first_missing", TIMESTAMP, "UTC", "key of the first row that is missing"),
        Column("last_missing", TIMESTAMP, "UTC", "key of the last row that is missing"),
        Column("missing", pa.int64(), "count", "rows missing from the first to the last"),
    ),
)
LISTINGS = Table(
    name="listings",
    key="instrument",
    meaning="which instruments an exchange lists or once listed, as far as it and its archive tell",
    columns=(
        Column("instrument", pa.string(), "name", "`exchange:SYMBOL`"),
        Column("raw_symbol", pa.string(), "name", "the exchange's own name"),
        Column("status", pa.string(), "name", "trading or delisted"),
        Column("first_day", pa.date32(), "UTC day", "the first day with data that was ever told", nullable=True),
        Column("last_day", pa.date32(), "UTC day", "the last day of a delisted one, where it is told", nullable=True),
        Column("as_of", TIMESTAMP, "UTC", "when the exchange was last asked"),
    ),
)


def features_table(names: Iterable[str]) -> Table:
    """The features table with one nullable float64 column per feature in ``names``, in that order.

    A feature is null where its warm-up reaches back before the first listed bar, and where its source has no rows.
    """
    values = tuple(Column(name, pa.float64(), "see docs/features.md", name, nullable=True) for name in names)
    return Table(
        name="features",
        key="ts_open",
        meaning="features known at ts_close",
        columns=(_TS_OPEN, _TS_CLOSE, *values),
        per_timeframe=True,
    )


MARKET_DATA = {table.name: table for table in (BARS_1M, FUNDING_RATES, OPEN_INTEREST, PREMIUM_INDEX, LONG_SHORT_RATIOS)}
"""The tables that are asked of an exchange by day, by dataset name."""
