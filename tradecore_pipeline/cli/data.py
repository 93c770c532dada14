"""Commands that look at what is there: coverage, sql, export, report."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tradecore_pipeline.cli.output import (
    FromDay,
    InstrumentArgument,
    JsonFlag,
    TimeframeOption,
    ToDay,
    note,
    print_json,
    print_table,
)
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import day_start, parse_day, utc_now
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.serving.coverage_report import write_coverage_report
from tradecore_pipeline.serving.regime_report import write_report
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.coverage import State
from tradecore_pipeline.storage.coverage import coverage as coverage_rows
from tradecore_pipeline.storage.export import export_table
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger

CsvFlag = Annotated[bool, typer.Option("--csv", help="Print CSV with a header row.")]
InstrumentOption = Annotated[str, typer.Option("--instrument", metavar="INSTRUMENT", help="Whose rows.")]
FormatOption = Annotated[str, typer.Option("--format", help="parquet, csv or feather.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="File to write; by default named after the table, here.", dir_okay=False)
]
OptionalTimeframe = Annotated[str, typer.Option("--timeframe", help="Where the table holds several timeframes.")]
TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="bars_1m, bars_1h, regimes, ... (docs/tables.md)")]

_COVERAGE_COLUMNS = ("instrument", "dataset", "first", "last", "days", "rows", "missing_minutes", "gaps")
_STATE_COLUMNS = tuple(f"{state.replace(' ', '_')}_days" for state in State)
_FORMATS = ("parquet", "csv", "feather")


def coverage(
    *,
    html: Annotated[bool, typer.Option("--html", help="Also write a calendar of all days as one HTML page.")] = False,
    out: OutOption = None,
    json: JsonFlag = False,
) -> None:
    """What is stored, by instrument and dataset: extent, rows, gaps, and how its days stand (done, failed, ...)."""
    settings = Settings.load()
    layout = Layout(settings.home)
    page: Path | None = None
    rows = [
        {name: getattr(row, name) for name in (*_COVERAGE_COLUMNS, *_STATE_COLUMNS)}
        for row in coverage_rows(Ledger(layout), settings.parsed_instruments)
        if row.dataset in settings.datasets or row.days or row.failed_days or row.incomplete_days or row.damaged_days
    ]
    for row in rows:
        if row["damaged_days"]:
            note(
                f"{row['dataset']} of {row['instrument']}: what was noted of {row['damaged_days']} days is damaged: "
                "tradecore repair fetches them again, their stored rows are kept"
            )
    edited = _edited_features(settings)
    for text in edited:
        note(text)
    if html or out is not None:
        page = write_coverage_report(layout, settings.parsed_instruments, generated_at=utc_now(), path=out)
        note(f"coverage: {page}")
    if json:
        print_json({"coverage": rows, "own_features": edited, **({} if page is None else {"report": str(page)})})
        return
    stated = [name for name in _STATE_COLUMNS if any(row[name] for row in rows)]
    titles = [*_COVERAGE_COLUMNS, *(name.removesuffix("_days").replace("_", " ") for name in stated)]
    print_table(
        titles,
        [
            [row[name] for name in (*_COVERAGE_COLUMNS, *stated)]
            for row in rows
            if row["days"] or row["failed_days"] or row["damaged_days"]
        ],
    )


def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT over the views in docs/tables.md.")],
    *,
    json: JsonFlag = False,
    csv_: CsvFlag = False,
) -> None:
    """Answer one SELECT; safe while everything else runs."""
    if json and csv_:
        raise UsageError("choose --json or --csv, not both")
    result = make_catalog(Settings.load()).query(query)
    if json:
        _refuse_equal_names(result.columns)
        print_json(
            {"columns": result.columns, "rows": [dict(zip(result.columns, row, strict=True)) for row in result.rows]}
        )
    elif csv_:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    else:
        print_table(result.columns, result.rows)


def export(
    table: TableArgument,
    instrument: InstrumentOption,
    first: FromDay,
    last: ToDay,
    format_: FormatOption = "parquet",
    timeframe: OptionalTimeframe = "",
    out: OutOption = None,
    *,
    json: JsonFlag = False,
) -> None:
    """Write a table's rows of some days to a file for other tools."""
    settings = Settings.load()
    which = settings.instrument(instrument)
    length = settings.timeframe(timeframe) if timeframe else None
    if format_ not in _FORMATS:
        raise UsageError(f"unknown format {format_!r}: choose one of {', '.join(_FORMATS)}")
    start, end = _span(first, last)
    path = out or Path(f"{table}-{which.exchange}-{which.path_symbol}-{first}-{last}.{format_}")
    rows = export_table(
        make_catalog(settings), table, which, start, end, format=format_, path=path.absolute(), timeframe=length
    )
    note(f"{rows} rows in {path}")
    if json:
        print_json({"table": table, "instrument": str(which), "rows": rows, "path": str(path)})


def report(
    instrument: InstrumentArgument,
    first: FromDay,
    last: ToDay,
    timeframe: TimeframeOption,
    out: OutOption = None,
    *,
    json: JsonFlag = False,
) -> None:
    """One HTML page of published regimes and forecasts; opens offline."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    start, end = _span(first, last)
    path = write_report(
        Layout(settings.home), which, length, start=start, end=end, label_threshold=settings.label_threshold, path=out
    )
    note(f"report: {path}")
    if json:
        print_json({"report": str(path)})


def _edited_features(settings: Settings) -> list[str]:
    """Which days of the user's own features an earlier version of his files computed; runs none of them."""
    if not settings.feature_files:
        return []
    from tradecore_pipeline.defs.own_days import edits  # noqa: PLC0415 (Dagster takes a second to import)
    from tradecore_pipeline.defs.resources import Adapters  # noqa: PLC0415 (as above)

    adapters = Adapters(settings)
    return [text for timeframe in settings.parsed_timeframes for text in edits(adapters, timeframe)]


def make_catalog(settings: Settings) -> Catalog:
    """The views over the home of these settings."""
    return Catalog(
        Layout(settings.home),
        instruments=settings.parsed_instruments,
        timeframes=settings.parsed_timeframes,
        feature_names=FEATURE_NAMES,
        own_features=bool(settings.feature_files),
    )


def _refuse_equal_names(columns: Sequence[str]) -> None:
    for name, count in Counter(columns).items():
        if count > 1:
            raise UsageError(f"{count} columns are called {name!r}, a JSON object holds one: name them apart with AS")


def _span(first: str, last: str) -> tuple[datetime, datetime]:
    start, end, today = parse_day(first), parse_day(last), utc_now().date()
    if start > end:
        raise UsageError(f"--from {start} is after --to {end}: swap them")
    if end > today:
        raise UsageError(f"--to {end} is in the future: today is {today} (UTC)")
    return day_start(start), day_start(end + timedelta(days=1))
