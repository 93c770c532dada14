"""Where everything of a home lies: the only place that joins paths."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe

_DAY_PREFIX = "date="
_MONTH_PREFIX = "month="
PARQUET = ".parquet"
JSON = ".json"
_LOCKS = 16
_LONGEST_NAME = 200
"""Of a folder; file systems end at 255 bytes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one root directory (``TRADECORE_HOME``), which is made absolute."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())

    @property
    def lake(self) -> Path:
        """Parquet days and monthly documents: the same data gives the same bytes, so no clock's time is in them."""
        return self.root / "lake"

    @property
    def ledger(self) -> Path:
        """When and from where each day of market data was stored."""
        return self.root / "ledger"

    @property
    def failures(self) -> Path:
        """Why days could not be stored: beside the ledger, since a failed day is not a stored one."""
        return self.root / "failures"

    @property
    def alerts(self) -> Path:
        """Runs that failed."""
        return self.root / "alerts"

    @property
    def market_marker(self) -> Path:
        """The file that says whose days the home holds."""
        return self.root / "market.json"

    @property
    def database(self) -> Path:
        """The DuckDB file of views that people open read-only."""
        return self.root / "tradecore.duckdb"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit in memory."""
        return self.root / "duckdb_spill"

    @property
    def studies(self) -> Path:
        """Optuna's journals."""
        return self.root / "studies"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def mlflow_database(self) -> Path:
        """MLflow's SQLite file."""
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Files that belong to MLflow runs."""
        return self.root / "mlartifacts"

    def log(self, process: str) -> Path:
        """What a service that we started prints."""
        return self.root / "logs" / f"{process}.log"

    def alert(self, at: datetime, run_id: str) -> Path:
        """The document of one failed run; names sort as the moments (UTC) do."""
        return self.alerts / f"{at:%Y-%m-%dT%H%M%S.%f}-{run_id}{JSON}"

    def study(self, instrument: Instrument, month: date, *, timeframe: Timeframe) -> Path:
        """The journal of one month's tuning."""
        directory = _instrument_directory(self.studies / f"timeframe={timeframe}", instrument)
        return directory / f"{_MONTH_PREFIX}{month:%Y-%m}.journal"

    def tried_strategies(self, timeframe: Timeframe) -> Path:
        """The folder with every strategy configuration that was ever tried: beside the lake, since it says when."""
        return self.root / "tried_strategies" / f"timeframe={timeframe}"

    def tried_on_file(self, sha256: str) -> Path:
        """The same of those that were tried on a file of bars."""
        return self.root / "tried_strategies" / f"file={sha256[:16]}"

    def backtests(self, timeframe: Timeframe) -> Path:
        """The folder with the newest backtests of a timeframe."""
        return self.lake / "backtests" / f"timeframe={timeframe}"

    def backtest(self, timeframe: Timeframe, strategy: str, instruments: Sequence[Instrument]) -> Path:
        """The folder with one strategy's newest backtest on an instrument, or on several with one account."""
        top = self.backtests(timeframe) / f"strategy={strategy}"
        if len(instruments) == 1:
            return _instrument_directory(top, instruments[0])
        names = "+".join(sorted(f"{one.exchange}-{one.path_symbol}" for one in instruments))
        short = names if len(names) <= _LONGEST_NAME else hashlib.sha256(names.encode()).hexdigest()[:16]
        return top / f"portfolio={short}"

    def backtest_report(self, timeframe: Timeframe, strategy: str, instruments: Sequence[Instrument]) -> Path:
        """The page of a backtest; ``strategy`` may be several, compared."""
        account = instruments[0].path_symbol if len(instruments) == 1 else f"{len(instruments)}-instruments"
        return self.root / "reports" / f"backtest-{strategy}-{instruments[0].exchange}-{account}-{timeframe}.html"

    def report(self, instrument: Instrument, timeframe: Timeframe, day: date) -> Path:
        """The page of a regime report that begins on ``day``."""
        name = f"regimes-{instrument.exchange}-{instrument.path_symbol}-{timeframe}-{day}.html"
        return self.root / "reports" / name

    @property
    def own_definition(self) -> Path:
        """The document that says whose columns the table of own features has."""
        return self.lake / "own_features" / f"definition{JSON}"

    def coverage_report(self) -> Path:
        """The page that shows what is stored, day by day."""
        return self.root / "reports" / "coverage.html"

    def listings(self, exchange: str) -> Path:
        """The Parquet file with every instrument an exchange lists or once listed."""
        return self.lake / "listings" / f"exchange={exchange}{PARQUET}"

    def series(self, table: str, instrument: Instrument, *, timeframe: Timeframe | None) -> Path:
        """The directory with one file per day (or month) of a table, or of a kind of document."""
        top = self.lake / table
        return _instrument_directory(top if timeframe is None else top / f"timeframe={timeframe}", instrument)

    def day(self, table: str, instrument: Instrument, day: date, *, timeframe: Timeframe | None) -> Path:
        """The Parquet file of one day of a table."""
        return self.series(table, instrument, timeframe=timeframe) / day_name(day, PARQUET)

    def document(self, kind: str, instrument: Instrument, month: date, *, timeframe: Timeframe) -> Path:
        """The JSON document of one kind and month."""
        return self.series(kind, instrument, timeframe=timeframe) / f"{_MONTH_PREFIX}{month:%Y-%m}{JSON}"

    def gaps_series(self, dataset: str, instrument: Instrument) -> Path:
        """The directory with the gap tables of one dataset."""
        return _instrument_directory(self.lake / "gaps" / f"dataset={dataset}", instrument)

    def gaps_day(self, dataset: str, instrument: Instrument, day: date) -> Path:
        """The gap table of one day of a dataset; there is none for a day that never had a gap."""
        return self.gaps_series(dataset, instrument) / day_name(day, PARQUET)

    def ledger_series(self, dataset: str, instrument: Instrument) -> Path:
        """The directory with the ledger entries of one dataset."""
        return _instrument_directory(self.ledger / dataset, instrument)

    def ledger_day(self, dataset: str, instrument: Instrument, day: date) -> Path:
        """The ledger entry of one day of a dataset."""
        return self.ledger_series(dataset, instrument) / day_name(day, JSON)

    def ledger_lock(self, dataset: str, instrument: Instrument, day: date) -> Path:
        """The lock of one day and of a few others: as many days as there are locks can be stored at once."""
        return self.ledger_series(dataset, instrument) / f".lock-{day.toordinal() % _LOCKS:02d}"

    def failure_series(self, dataset: str, instrument: Instrument) -> Path:
        """The directory with the failed days of one dataset."""
        return _instrument_directory(self.failures / dataset, instrument)

    def failure_day(self, dataset: str, instrument: Instrument, day: date) -> Path:
        """The document of one failed day of a dataset."""
        return self.failure_series(dataset, instrument) / day_name(day, JSON)


def day_name(day: date, suffix: str) -> str:
    """The name of one day's file; names sort as their days do."""
    return f"{_DAY_PREFIX}{day.isoformat()}{suffix}"


def named_day(name: str) -> date:
    """The day that a name made by ``day_name`` stands for."""
    return date.fromisoformat(name[len(_DAY_PREFIX) : len(_DAY_PREFIX) + 10])


@lru_cache(maxsize=1024)
def _instrument_directory(top: Path, instrument: Instrument) -> Path:
    return top / f"exchange={instrument.exchange}" / f"symbol={instrument.path_symbol}"
