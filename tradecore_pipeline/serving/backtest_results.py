"""Backtests kept in a home, and read back as DataFrames for notebooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD
from tradecore_pipeline.backtest.results import utc
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.serving.backtest_run import Reported
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.backtests import EQUITY, TRADES, BacktestStore, Place
from tradecore_pipeline.storage.layout import Layout

_FIGURES = (
    "first", "last", "bars", "capital", "final_equity", "total_return", "annual_return", "annual_volatility", "sharpe",
    "sortino", "calmar", "max_drawdown", "exposure", "turnover", "fees", "slippage", "funding",
)  # fmt: skip


def place_of(told: Reported) -> Place:
    """Where the run is kept."""
    instruments = tuple(Instrument.parse(name) for name in told.markets)
    return Place(told.config.name, Timeframe.parse(told.config.timeframe), instruments)


def store_backtest(layout: Layout, told: Reported, document: dict[str, Any]) -> Path:
    """Keep the run as the newest of its strategy, timeframe and instruments; returns the folder."""
    return BacktestStore(layout).put(
        place_of(told), figures=_figures(told, document), trades=_trades(told), equity=_equity(told), document=document
    )


def load_trades(
    strategy: str, instrument: str | Sequence[str], timeframe: str = "1h", *, home: Path | str | None = None
) -> pd.DataFrame:
    """Trades of a stored backtest, one row from flat to flat, as docs/tables.md describes them.

    Args:
        strategy: the configuration's name, e.g. ``balanced``.
        instrument: what it was run on; several for a run of several on one account.
        timeframe: of its bars.
        home: the home to read; by default that of the settings.

    Raises:
        UsageError: there is no such instrument or timeframe.
        MissingInputError: no such backtest is stored; the message names the command.
        InvalidDataError: its files are damaged.
    """
    return _load(TRADES, strategy, instrument, timeframe, home)


def load_equity(
    strategy: str, instrument: str | Sequence[str], timeframe: str = "1h", *, home: Path | str | None = None
) -> pd.DataFrame:
    """What a stored backtest's account was worth at each close, indexed by ``ts_open`` (UTC).

    The arguments and errors are those of ``load_trades``.
    """
    return _load(EQUITY, strategy, instrument, timeframe, home).set_index(EQUITY.key)


def _load(
    table: Table, strategy: str, instrument: str | Sequence[str], timeframe: str, home: Path | str | None
) -> pd.DataFrame:
    names = [instrument] if isinstance(instrument, str) else list(instrument)
    place = Place(strategy, Timeframe.parse(timeframe), tuple(Instrument.parse(name) for name in names))
    layout = Layout(Path(home) if home is not None else Settings.load().home)
    rows = BacktestStore(layout).read(table, place)
    return rows.drop(columns=list(place.constants))


def _figures(told: Reported, document: dict[str, Any]) -> dict[str, Any]:
    figures, trades, judged = told.performance.figures, told.performance.trades, told.performance.significance
    held = told.performance.benchmarks[BUY_AND_HOLD]
    chance = {
        "deflated_sharpe": None if judged is None or judged.deflated is None else judged.deflated.probability,
        "p_value": None if judged is None or judged.permutation is None else judged.permutation.p_value,
    }
    return {
        "market": document["market"],
        "configuration": document["configuration"],
        **{name: getattr(figures, name) for name in _FIGURES},
        "closed": trades.closed,
        "win_rate": trades.win_rate,
        "profit_factor": trades.profit_factor,
        "buy_and_hold_return": held.total_return,
        **{name: np.nan if value is None else value for name, value in chance.items()},
    }


def _trades(told: Reported) -> pd.DataFrame:
    trades = told.run.trades
    return trades if "instrument" in trades else trades.assign(instrument=next(iter(told.markets)))


def _equity(told: Reported) -> pd.DataFrame:
    account = told.account
    index = pd.DatetimeIndex(utc(account.ts_open), name=EQUITY.key)
    columns = {"equity": account.equity, "leverage": account.leverage}
    held = told.benchmarks[BUY_AND_HOLD].equity
    return pd.DataFrame({"ts_close": utc(account.ts_close), **columns, "buy_and_hold": held}, index=index)
