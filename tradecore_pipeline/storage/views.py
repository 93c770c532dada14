"""The SQL views over the lake: their names, columns and text. People's queries depend on all three."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import (
    BARS,
    BARS_1M,
    GAPS,
    LIQUIDATIONS,
    LISTINGS,
    MARKET_DATA,
    REGIMES,
    Table,
    features_table,
)
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.storage.backtests import RESULTS
from tradecore_pipeline.storage.connection import duckdb_type, empty_select, identifier, literal, text_list
from tradecore_pipeline.storage.own_features import DEFINITION, OWN_FEATURES, OwnDefinition, own_features_table

_TIMESTAMP = "TIMESTAMP WITH TIME ZONE"
_MINUTE_US = 60_000_000
_REGIME_COLUMNS = tuple(column.name for column in REGIMES.columns if column.name != "har_log_score")
_SCORE_COLUMNS = ("ts_open", "log_score", "har_log_score")
"""The published forecast against its baseline: beside the regimes, whose columns are a contract."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The files that hold one instrument's rows of one timeframe (or of none)."""

    instrument: Instrument | None
    """None for a table whose rows name their instrument themselves."""
    timeframe: Timeframe | None
    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class View:
    """One SQL view."""

    name: str
    table: Table
    timeframes: tuple[Timeframe | None, ...]
    """The timeframes whose files it reads; (None,) for a table that has none."""
    shows_timeframe: bool = False
    """Whether it holds several timeframes, told apart by a column."""
    only: tuple[str, ...] | None = None
    """The stored columns it shows, where not all of them."""
    where: tuple[str, str] | None = None
    """The only rows it shows: those with this text in this column."""

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Its columns, as (name, DuckDB type), in order."""
        shown = [column for column in self.table.columns if self.only is None or column.name in self.only]
        stored = [(column.name, duckdb_type(column.type)) for column in shown]
        if self.table.name == BARS_1M.name:
            stored.insert(1, ("ts_close", _TIMESTAMP))
        if self.names_itself:
            return tuple(stored)
        leading = [("instrument", "VARCHAR"), ("timeframe", "VARCHAR")]
        return (*leading[: 1 + self.shows_timeframe], *stored)

    @property
    def names_itself(self) -> bool:
        """Whether its rows say themselves whose they are, so that no path has to."""
        return self.table is LISTINGS or self.table in RESULTS

    def select(self, branches: Sequence[Branch]) -> str:
        """The SELECT that shows the rows of ``branches``; typed and empty where they have no files."""
        files = [self._branch(branch) for branch in branches if branch.paths]
        rows = " UNION ALL BY NAME ".join([*files, empty_select(self._stored_columns())])
        columns = ", ".join(f"{self._expression(name)}::{kind} AS {identifier(name)}" for name, kind in self.columns)
        chosen = "" if self.where is None else f" WHERE {identifier(self.where[0])} = {literal(self.where[1])}"
        selected = f"SELECT {columns} FROM ({rows}){chosen}"  # noqa: S608 (names from domain, paths quoted)
        return _merged_gaps(selected) if self.table.name == GAPS.name else selected

    def _branch(self, branch: Branch) -> str:
        constants = "" if branch.instrument is None else f"{literal(str(branch.instrument))} AS instrument, "
        if self.shows_timeframe:
            constants += f"{literal(str(branch.timeframe))} AS timeframe, "
        # Files hold the same column at scales of their own. Without a schema the first file's would be everybody's,
        # and digits would be lost. Feature files made before a feature was added lack its column: there it is null.
        fields = ", ".join(
            f"{literal(name)}: {{name: {literal(name)}, type: {literal(kind)}, default_value: NULL}}"
            for name, kind in self._stored_columns()
            if name in self.table.schema.names
        )
        return (
            f"SELECT {constants}* "  # noqa: S608 (paths and names are quoted)
            f"FROM read_parquet({text_list(branch.paths)}, hive_partitioning = false, schema = MAP {{{fields}}})"
        )

    def _stored_columns(self) -> list[tuple[str, str]]:
        return [(name, kind) for name, kind in self.columns if not self._is_derived(name)]

    def _is_derived(self, name: str) -> bool:
        return name == "ts_close" and self.table.name == BARS_1M.name

    def _expression(self, name: str) -> str:
        # Plain microseconds: adding an interval to a moment with a time zone asks the calendar for every row.
        return f"make_timestamptz(epoch_us(ts_open) + {_MINUTE_US})" if self._is_derived(name) else identifier(name)


def all_views(timeframes: Sequence[Timeframe], feature_names: Sequence[str]) -> tuple[View, ...]:
    """Every view of a home with these timeframes and features."""
    several = tuple(timeframes)
    return (
        View(BARS_1M.name, BARS_1M, (None,)),
        *(View(f"bars_{timeframe}", BARS, (timeframe,)) for timeframe in timeframes),
        *(View(table.name, table, (None,)) for table in MARKET_DATA.values() if table is not BARS_1M),
        View(LIQUIDATIONS.name, LIQUIDATIONS, (None,)),
        View("features", features_table(feature_names), several, shows_timeframe=True),
        View(REGIMES.name, REGIMES, several, shows_timeframe=True, only=_REGIME_COLUMNS),
        View("forecast_scores", REGIMES, several, shows_timeframe=True, only=_SCORE_COLUMNS),
        View(GAPS.name, GAPS, (None,)),
        View(LISTINGS.name, LISTINGS, (None,)),
        *(View(table.name, table, (None,)) for table in RESULTS),
    )


def own_view(timeframes: Sequence[Timeframe], shown: OwnDefinition | None) -> View:
    """The view of a user's own features in the version ``shown``; without one it has none of their columns."""
    table = own_features_table(() if shown is None else shown.columns)
    version = "" if shown is None else shown.definition
    return View(OWN_FEATURES, table, tuple(timeframes), shows_timeframe=True, where=(DEFINITION, version))


def create_view(view: View, branches: Sequence[Branch]) -> str:
    """The statement that makes ``view``, replacing an older one."""
    return f"CREATE OR REPLACE VIEW {identifier(view.name)} AS {view.select(branches)}"


def _merged_gaps(rows: str) -> str:
    """Gaps of consecutive days that touch across midnight, as one; as ``coverage.merge_gaps`` does."""
    return f"""
        WITH stored AS ({rows}),
        marked AS (
            SELECT *, epoch_us(first_missing) IS DISTINCT FROM
                epoch_us(lag(last_missing) OVER neighbours) + {_step_case()} AS begins
            FROM stored
            WINDOW neighbours AS (PARTITION BY instrument, dataset ORDER BY first_missing)
        ),
        numbered AS (
            SELECT *, sum(begins::INTEGER) OVER (PARTITION BY instrument, dataset ORDER BY first_missing) AS gap
            FROM marked
        )
        SELECT instrument, dataset, min(first_missing) AS first_missing, max(last_missing) AS last_missing,
            sum(missing)::BIGINT AS missing
        FROM numbered GROUP BY instrument, dataset, gap ORDER BY instrument, dataset, first_missing
    """  # noqa: S608 (no text from outside)


def _step_case() -> str:
    steps = [(table.name, table.step) for table in MARKET_DATA.values()]
    cases = [
        f"WHEN {literal(name)} THEN {step // timedelta(microseconds=1)}" for name, step in steps if step is not None
    ]
    return f"CASE dataset {' '.join(cases)} END"
