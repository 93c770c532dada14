"""SQL over the lake: in memory, in the ``tradecore.duckdb`` that people open, and for queries that may only read."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError, TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, Instrument
from tradecore_pipeline.domain.tables import GAPS, LISTINGS, MARKET_DATA, Table
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.storage.atomic import listed_names, replacing
from tradecore_pipeline.storage.backtests import BacktestStore
from tradecore_pipeline.storage.connection import first_line, identifier, literal, open_connection, to_frame
from tradecore_pipeline.storage.decoding import decode_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import PARQUET, Layout
from tradecore_pipeline.storage.own_features import get_own_definition
from tradecore_pipeline.storage.views import Branch, View, all_views, create_view, own_view

_ONLY_SELECT = "only one SELECT statement is answered (also WITH, FROM, DESCRIBE, SHOW, SUMMARIZE)"

_ATTEMPTS = 4
_FILE = re.compile(r"/[^'\"\n]*\.parquet")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query returned."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Catalog:
    """The views over one home. Each call sees the files that are there at that moment."""

    def __init__(
        self,
        layout: Layout,
        instruments: Sequence[Instrument],
        timeframes: Sequence[Timeframe],
        feature_names: Sequence[str],
        *,
        own_features: bool = False,
    ) -> None:
        self.layout = layout
        self.instruments = tuple(instruments)
        self.timeframes = tuple(timeframes)
        self._lake = Lake(layout)
        self._views = {view.name: view for view in all_views(timeframes, feature_names)}
        self._own_features = own_features

    @property
    def views(self) -> dict[str, View]:
        """Every view by its name; own features in the version that was computed last."""
        if not self._own_features:
            return self._views
        own = own_view(self.timeframes, get_own_definition(self.layout))
        return self._views | {own.name: own}

    def create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make every view in ``connection``, over the files that are there now."""
        for view in self.views.values():
            connection.execute(create_view(view, self._branches(view)))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with the views, its time zone UTC. The caller closes it."""
        connection = open_connection(self.layout)
        self.create_views(connection)
        return connection

    def publish_database(self) -> Path:
        """Replace ``tradecore.duckdb`` by one whose views list the files that are there now.

        Those who have the old one open keep it.
        """
        with replacing(self.layout.database) as temporary:
            connection = duckdb.connect(str(temporary))
            try:
                self.create_views(connection)
            finally:
                connection.close()
        return self.layout.database

    def query(self, sql: str) -> QueryResult:
        """The answer to one SELECT over the views. It can neither write nor reach a file outside the lake.

        Raises:
            UsageError: the statement is not a SELECT, or DuckDB refuses it; with DuckDB's first line.
            InvalidDataError: a file of it cannot be read.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._answer(sql)
            except duckdb.Error as error:
                if attempt == _ATTEMPTS or not _may_pass(error):
                    raise self._refusal(error) from error
        raise AssertionError("the last attempt returns or raises")

    def _answer(self, sql: str) -> QueryResult:
        connection = self.connect()
        try:
            connection.execute(f"SET allowed_directories = [{literal(str(self.layout.lake))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            _check_reads_only(connection, sql)
            cursor = connection.execute(sql)
            return QueryResult([column[0] for column in cursor.description or ()], cursor.fetchall())
        finally:
            connection.close()

    def frame(
        self, view: str, instrument: Instrument, start: datetime, end: datetime, *, timeframe: Timeframe | None = None
    ) -> pd.DataFrame:
        """The rows of a view whose key lies in [start, end), indexed by it (UTC), without the constant columns.

        Args:
            view: one of ``views``.
            instrument: whose rows.
            start: first moment, UTC.
            end: the moment after the last one, UTC.
            timeframe: which of a view's timeframes; needed where it holds several.

        Raises:
            UsageError: there is no such view, or ``timeframe`` is missing.
            InvalidDataError: a file cannot be read, or lacks a column.
        """
        shown = self.view(view)
        chosen = _one_timeframe(shown, timeframe)
        if shown.table is LISTINGS:
            raise UsageError(f"{view} has no days: ask for it with `tradecore instruments` or `tradecore sql`")
        if shown.names_itself:
            raise UsageError(f"{view} are of backtests, not of days: ask for them with `tradecore sql` or load_{view}")
        if shown.table.name == GAPS.name:
            return self._gaps(instrument, start, end)
        if shown.where is not None:
            return self._filtered(shown, instrument, start, end, chosen)
        return self._lake.read(shown.table, instrument, start, end, timeframe=chosen)

    def view(self, name: str) -> View:
        """The view called ``name``.

        Raises:
            UsageError: there is none; the message lists them.
        """
        views = self.views
        if name not in views:
            raise UsageError(f"there is no view {name!r}: choose one of {', '.join(views)}")
        return views[name]

    def _gaps(self, instrument: Instrument, start: datetime, end: datetime) -> pd.DataFrame:
        sql = "FROM gaps WHERE instrument = $1 AND first_missing >= $2 AND first_missing < $3 ORDER BY first_missing"
        with self.connect() as connection:
            try:
                relation = connection.sql(sql, params=[str(instrument), start, end])
                return to_frame(relation, GAPS.key).drop(columns="instrument")
            except duckdb.Error as error:
                raise self._refusal(error) from error

    def _filtered(
        self, view: View, instrument: Instrument, start: datetime, end: datetime, timeframe: Timeframe | None
    ) -> pd.DataFrame:
        key = identifier(view.table.key)
        sql = (
            f"SELECT * EXCLUDE (instrument, timeframe) FROM {identifier(view.name)} WHERE instrument = $1 "  # noqa: S608 (names of ours)
            f"AND timeframe = $2 AND {key} >= $3 AND {key} < $4 ORDER BY {key}"
        )
        with self.connect() as connection:
            try:
                relation = connection.sql(sql, params=[str(instrument), str(timeframe), start, end])
                return to_frame(relation, view.table.key)
            except duckdb.Error as error:
                raise self._refusal(error) from error

    def _refusal(self, error: duckdb.Error) -> TradecoreError:
        """DuckDB's first line; where a file is at fault, which one, and what to do."""
        if not _may_pass(error):
            return UsageError(first_line(error))
        for view in (self.views[GAPS.name], self.views[LISTINGS.name]):
            for path in (path for branch in self._branches(view) for path in branch.paths):
                if not _is_readable(path, view.table):
                    return InvalidDataError(f"{path} cannot be read: `tradecore repair` writes it again")
        if named := _FILE.search(str(error)):
            fetched = any(f"/{name}/" in named[0] for name in MARKET_DATA)
            remedy = "`tradecore repair` fetches that day again" if fetched else "`tradecore predict` writes it again"
            if "/backtests/" in named[0]:
                remedy = "`tradecore backtest` writes it again"
            return InvalidDataError(f"{named[0]} cannot be read: {remedy}")
        return UsageError(first_line(error))

    def _branches(self, view: View) -> list[Branch]:
        if view.table is LISTINGS:
            paths = [self.layout.listings(exchange) for exchange in EXCHANGES]
            return [Branch(None, None, [str(path) for path in paths if path.exists()])]
        if view.names_itself:
            files = BacktestStore(self.layout).files(view.table, self.timeframes)
            return [Branch(None, None, [str(path) for path in files])]
        return [
            self._branch(view, instrument, timeframe)
            for instrument in self.instruments
            for timeframe in view.timeframes
        ]

    def _branch(self, view: View, instrument: Instrument, timeframe: Timeframe | None) -> Branch:
        if view.table.name == GAPS.name:
            directories = [self.layout.gaps_series(dataset, instrument) for dataset in MARKET_DATA]
        else:
            directories = [self.layout.series(view.table.name, instrument, timeframe=timeframe)]
        return Branch(
            instrument,
            timeframe,
            [str(directory / name) for directory in directories for name in listed_names(directory, PARQUET)],
        )


def _one_timeframe(view: View, timeframe: Timeframe | None) -> Timeframe | None:
    if timeframe is None and len(view.timeframes) == 1:
        return view.timeframes[0]
    if timeframe not in view.timeframes:
        choices = ", ".join(str(choice) for choice in view.timeframes if choice is not None)
        raise UsageError(
            f"{view.name} needs a timeframe: choose one of {choices}"
            if choices
            else f"{view.name} has no timeframes: pass none"
        )
    return timeframe


def _may_pass(error: duckdb.Error) -> bool:
    """Whether the error may come from a file that was replaced while DuckDB, which opens it twice, was reading it."""
    return type(error) is duckdb.Error or isinstance(error, (duckdb.IOException, duckdb.InvalidInputException))


def _is_readable(path: str, table: Table) -> bool:
    try:
        decode_day(path, table.schema)
    except InvalidDataError:
        return False
    return True


def _check_reads_only(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(_ONLY_SELECT)
    # DuckDB calls `WITH x AS (COPY ... TO ...) SELECT` a SELECT, and the lake is a directory it may write to: only
    # the plan tells.
    plan = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1]
    if any("COPY" in name for name in _operators(json.loads(plan))):
        raise UsageError(_ONLY_SELECT)


def _operators(plan: list[dict[str, Any]]) -> Iterator[str]:
    for operator in plan:
        yield str(operator["name"])
        yield from _operators(operator["children"])
