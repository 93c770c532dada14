"""Backtests in the lake: trades, equity and one row of figures as Parquet, and the whole result as JSON.

Each file appears whole. The JSON comes last and names the digests of the others: files that a killed process left
beside an older result are noticed when they are read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import TIMESTAMP, Column, Table
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.storage.atomic import exclusive, make_directory, write_bytes
from tradecore_pipeline.storage.encoding import arrow_column
from tradecore_pipeline.storage.layout import JSON, PARQUET, Layout

RESULT = f"result{JSON}"

_WHOSE = (
    Column("strategy", pa.string(), "name", "the configuration's name"),
    Column("timeframe", pa.string(), "name", "the length of its bars"),
)
_ACCOUNT = (*_WHOSE, Column("instruments", pa.string(), "names", "what shared the account, comma-separated"))


def _number(name: str, unit: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, pa.float64(), unit, meaning, nullable=nullable, signed=True)


def _count(name: str, meaning: str) -> Column:
    return Column(name, pa.int64(), "count", meaning)


TRADES = Table(
    name="trades",
    key="entry_time",
    meaning="trades of the newest backtests, each from flat to flat",
    columns=(
        *_ACCOUNT,
        Column("instrument", pa.string(), "name", "what was traded"),
        Column("entry_time", TIMESTAMP, "UTC", "the first fill"),
        Column("exit_time", TIMESTAMP, "UTC", "the last fill; the end of the run for one that is still open"),
        _count("entry_bar", "the bar of the first fill, counted from the run's first"),
        _count("exit_bar", "the bar of the last fill"),
        Column("side", pa.int64(), "sign", "1 long, -1 short", signed=True),
        _number("units", "base", "all that was added to the position"),
        _number("entry_price", "quote", "mean price of what was added"),
        _number("exit_price", "quote", "mean price of what was taken off", nullable=True),
        Column("reason", pa.string(), "name", "what ended it"),
        Column("open", pa.bool_(), "flag", "whether the run's end found it open"),
        _number("fees", "quote", "paid"),
        _number("slippage", "quote", "lost to worse fills, in the prices already"),
        _number("funding", "quote", "paid; negative was received"),
        _number("pnl", "quote", "result net of fees, slippage and funding"),
        _number("mae", "fraction", "worst excursion from the first fill"),
        _number("mfe", "fraction", "best excursion from the first fill"),
    ),
    unique_key=False,
)
EQUITY = Table(
    name="equity",
    key="ts_open",
    meaning="accounts of the newest backtests at each close",
    columns=(
        *_ACCOUNT,
        Column("ts_open", TIMESTAMP, "UTC", "the bar's first moment"),
        Column("ts_close", TIMESTAMP, "UTC", "the moment it is the equity of"),
        _number("equity", "quote", "what the account was worth"),
        _number("leverage", "multiples", "value held, long and short added, over equity"),
        _number("buy_and_hold", "quote", "the same capital, bought and held, with its costs and funding"),
    ),
)
BACKTESTS = Table(
    name="backtests",
    key="strategy",
    meaning="figures of the newest backtests, one row each; a fraction of .05 is 5%, per year is 365 days",
    columns=(
        *_ACCOUNT,
        Column("market", pa.string(), "name", "whose days they are: real, or a simulated market"),
        Column("configuration", pa.string(), "digest", "of everything in the configuration that decides a trade"),
        Column("first", TIMESTAMP, "UTC", "the first bar's first moment"),
        Column("last", TIMESTAMP, "UTC", "the last bar's close"),
        _count("bars", "bars of the run"),
        _number("capital", "quote", "to begin with"),
        _number("final_equity", "quote", "at the end"),
        _number("total_return", "fraction", "over the run"),
        _number("annual_return", "fraction", "per year", nullable=True),
        _number("annual_volatility", "fraction", "per year", nullable=True),
        _number("sharpe", "ratio", "annual, of bar returns", nullable=True),
        _number("sortino", "ratio", "annual", nullable=True),
        _number("calmar", "ratio", "annual return over the deepest drawdown", nullable=True),
        _number("max_drawdown", "fraction", "deepest fall from a high, negative", nullable=True),
        _number("exposure", "fraction", "share of bars with a position"),
        _number("turnover", "multiples", "value traded per year over mean equity", nullable=True),
        _number("fees", "quote", "paid"),
        _number("slippage", "quote", "lost to worse fills"),
        _number("funding", "quote", "paid; negative was received"),
        _count("closed", "closed trades"),
        _number("win_rate", "fraction", "of the closed trades", nullable=True),
        _number("profit_factor", "ratio", "won over lost", nullable=True),
        _number("buy_and_hold_return", "fraction", "of the same capital, bought and held"),
        _number(
            "deflated_sharpe",
            "probability",
            "how often luck alone would do less well, given all configurations tried",
            nullable=True,
        ),
        _number("p_value", "probability", "of as good a run with regimes moved in time", nullable=True),
    ),
)
RESULTS = (BACKTESTS, TRADES, EQUITY)
"""The tables of backtests: one file per run each, whose rows name their strategy, timeframe and instruments."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose backtest it is."""

    strategy: str
    timeframe: Timeframe
    instruments: tuple[Instrument, ...]

    @property
    def constants(self) -> dict[str, str]:
        """The columns that every row of it has."""
        names = ",".join(sorted(map(str, self.instruments)))
        return {"strategy": self.strategy, "timeframe": str(self.timeframe), "instruments": names}


class BacktestStore:
    """The newest backtest of each strategy, timeframe and account of one home."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def put(
        self, place: Place, *, figures: Mapping[str, Any], trades: pd.DataFrame, equity: pd.DataFrame,
        document: Mapping[str, Any],
    ) -> Path:  # fmt: skip
        """Replace what is stored; returns its folder.

        Args:
            place: whose it is.
            figures: the values of ``BACKTESTS``'s own columns.
            trades: columns of ``TRADES`` without the constants.
            equity: likewise of ``EQUITY``, ``ts_open`` as its index.
            document: the result as JSON values.

        Raises:
            InvalidDataError: a column is missing or of another type; nothing was stored.
        """
        folder = self._folder(place)
        made = {
            f"{table.name}{PARQUET}": _parquet(table, rows.assign(**place.constants))
            for table, rows in (
                (BACKTESTS, pd.DataFrame([dict(figures)])),
                (TRADES, trades),
                (EQUITY, equity.reset_index()),
            )
        }
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
        text = json.dumps({**document, "sha256": digests}, sort_keys=True, indent=1, allow_nan=False)
        make_directory(folder)
        # Of two runs at once the later one is kept, not some files of each.
        with exclusive(folder / ".lock"):
            for name, data in made.items():
                write_bytes(folder / name, data)
            write_bytes(folder / RESULT, f"{text}\n".encode())
        return folder

    def result(self, place: Place) -> dict[str, Any]:
        """The whole result; raises as ``read``."""
        path = self._folder(place) / RESULT
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            raise MissingInputError(
                f"no backtest of {place.strategy} at {place.timeframe} on {place.constants['instruments']} is stored: "
                f"run `tradecore backtest --variant {place.strategy} --instrument {place.instruments[0]}`"
            ) from None
        except ValueError:
            raise self._damaged(path) from None

    def read(self, table: Table, place: Place) -> pd.DataFrame:
        """The rows of one of ``RESULTS``.

        Raises:
            MissingInputError: there is no such backtest.
            InvalidDataError: its files are not those of one run.
        """
        digests: Mapping[str, str] = self.result(place).get("sha256", {})
        name = f"{table.name}{PARQUET}"
        path = self._folder(place) / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != digests.get(name):
            raise self._damaged(path)
        return pq.read_table(pa.BufferReader(data)).to_pandas()

    def files(self, table: Table, timeframes: Sequence[Timeframe]) -> list[Path]:
        """The files of one of ``RESULTS``, sorted."""
        name = f"{table.name}{PARQUET}"
        return sorted(path for length in timeframes for path in self._layout.backtests(length).rglob(name))

    def _folder(self, place: Place) -> Path:
        return self._layout.backtest(place.timeframe, place.strategy, place.instruments)

    def _damaged(self, path: Path) -> InvalidDataError:
        return InvalidDataError(f"{path} is damaged, or was left by a run that was cut: run the backtest again")


def _parquet(table: Table, rows: pd.DataFrame) -> bytes:
    """One file; the same rows give the same bytes."""
    schema = table.schema
    if missing := [name for name in schema.names if name not in rows]:
        raise InvalidDataError(f"{table.name} of a backtest lack {', '.join(missing)}: nothing was stored")
    try:
        columns = [arrow_column(rows.loc[:, field.name]).cast(field.type) for field in schema]
        made = pa.Table.from_arrays(columns, schema=schema)
        made.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidDataError(f"{table.name} of a backtest: {error}: nothing was stored") from error
    absent = [field.name for field in schema if not field.nullable and made.column(field.name).null_count]
    if absent:
        raise InvalidDataError(f"{table.name} of a backtest: {', '.join(absent)} is empty: nothing was stored")
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink, compression="zstd", store_schema=False)
    return sink.getvalue().to_pybytes()
