"""Checks that show what a table looks like; they never stop a run (bad data is refused before it is written)."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import dagster as dg
import pyarrow as pa
from dagster_duckdb import DuckDBResource

from tradecore_pipeline.defs import features, ingestion, regimes
from tradecore_pipeline.defs.partitions import Partitions
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import BARS, BARS_1M, MARKET_DATA, REGIMES, Table
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.quality.checks import ohlc_problems, schema_problems
from tradecore_pipeline.settings import Settings

_DAYS = 7

_GAPS = """
SELECT instrument, first_missing, last_missing, missing FROM gaps
WHERE dataset = $dataset AND last_missing >= $since ORDER BY first_missing DESC LIMIT 20"""

_NOT_DISTRIBUTIONS = """
SELECT instrument, ts_open FROM regimes
WHERE timeframe = $timeframe AND ts_open >= $since
  AND (abs(list_sum(filtered_probability) - 1) > 1e-9 OR forecast_volatility <= 0) LIMIT 20"""


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The display-only checks, each on the newest stored week of its table."""
    checks: list[dg.AssetChecksDefinition] = []
    for table in MARKET_DATA.values():
        if table.name not in partitions.datasets:
            continue
        checks.append(_rows_check(ingestion.asset_key(table.name), table, None, schema_problems))
        if table.step is not None:
            checks.append(_gap_check(table))
    checks.append(_rows_check(ingestion.asset_key(BARS_1M.name), BARS_1M, None, ohlc_problems))
    for timeframe in settings.parsed_timeframes:
        checks.append(_rows_check(features.asset_key(timeframe, BARS.name), BARS, timeframe, ohlc_problems))
        checks.append(_rows_check(regimes.asset_key(timeframe), REGIMES, timeframe, schema_problems))
        checks.append(_distribution_check(timeframe))
    return dg.Definitions(asset_checks=checks, resources={"duckdb": DuckDBResource(database=":memory:")})


def _newest(adapters: Adapters, table: Table, timeframe: Timeframe | None) -> Iterator[tuple[str, pa.Table]]:
    for instrument in adapters.settings.parsed_instruments:
        for day in adapters.lake.days(table, instrument, timeframe=timeframe)[-_DAYS:]:
            yield f"{day} of {instrument}", adapters.lake.rows(table, instrument, day, timeframe=timeframe)


def _rows_check(
    asset: dg.AssetKey, table: Table, timeframe: Timeframe | None, problems: Callable[[Table, pa.Table], list[str]]
) -> dg.AssetChecksDefinition:
    name = problems.__name__.removesuffix("_problems")

    @dg.asset_check(
        asset=asset, name=name, description=f"Reads the newest {_DAYS} stored days and looks at their {name}."
    )
    def check(adapters: dg.ResourceParam[Adapters]) -> dg.AssetCheckResult:
        found = [
            f"{where}: {text}" for where, rows in _newest(adapters, table, timeframe) for text in problems(table, rows)
        ]
        return _result(found)

    return check


def _gap_check(table: Table) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=ingestion.asset_key(table.name),
        name="gaps",
        description=f"Lists what the exchange did not publish in the newest {_DAYS} days: facts, not faults.",
    )
    def check(adapters: dg.ResourceParam[Adapters], duckdb: DuckDBResource) -> dg.AssetCheckResult:
        since = adapters.clock() - timedelta(days=_DAYS)
        rows = _query(duckdb, adapters, _GAPS, {"dataset": table.name, "since": since})
        return _result(
            [f"{i}: {missing} missing from {first:%Y-%m-%d %H:%M} to {last:%H:%M}" for i, first, last, missing in rows]
        )

    return check


def _distribution_check(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=regimes.asset_key(timeframe),
        name="distributions",
        description="Filtered probabilities sum to one and forecast volatilities are positive.",
    )
    def check(adapters: dg.ResourceParam[Adapters], duckdb: DuckDBResource) -> dg.AssetCheckResult:
        since = adapters.clock() - timedelta(days=_DAYS)
        rows = _query(duckdb, adapters, _NOT_DISTRIBUTIONS, {"timeframe": timeframe.name, "since": since})
        return _result([f"{instrument}: {ts_open}" for instrument, ts_open in rows])

    return check


def _query(
    duckdb: DuckDBResource, adapters: Adapters, sql: str, parameters: dict[str, object]
) -> list[tuple[object, ...]]:
    with duckdb.get_connection() as connection:
        adapters.catalog.create_views(connection)
        return connection.execute(sql, parameters).fetchall()


def _result(problems: list[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(problems)} found" if problems else "none found",
        metadata={"problems": dg.MetadataValue.md("\n".join(f"- {p}" for p in problems[:20]))} if problems else {},
    )
