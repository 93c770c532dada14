"""The command that adopts people's own files: `tradecore import`."""

from collections.abc import Mapping
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from tradecore_pipeline.cli.output import JsonFlag, note, print_json
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.offers import offered_table
from tradecore_pipeline.domain.tables import BARS_1M, Table
from tradecore_pipeline.importing.columns import IMPORTED_DATASETS
from tradecore_pipeline.importing.files import select_files
from tradecore_pipeline.importing.ingest import Import, import_days, kept_days, prepare_import
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import LedgerEntry

PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="Files, and folders to search: zip, csv, json, parquet, feather."),
]
OwnerOption = Annotated[str, typer.Option("--instrument", metavar="INSTRUMENT", help="Whose rows the files hold.")]
DatasetOption = Annotated[str, typer.Option("--dataset", help=f"What they hold: {', '.join(IMPORTED_DATASETS)}.")]
ReplaceFlag = Annotated[bool, typer.Option("--replace", help="Also replace days that are stored and complete.")]
DryFlag = Annotated[bool, typer.Option("--dry-run", help="Read and check the files, store nothing.")]


def import_(
    paths: PathsArgument,
    instrument: OwnerOption,
    dataset: DatasetOption = BARS_1M.name,
    *,
    replace: ReplaceFlag = False,
    dry_run: DryFlag = False,
    json: JsonFlag = False,
) -> None:
    """Adopt files of your own as days of market data: archive zips, freqtrade, CSV, JSON, Parquet, Feather."""
    settings = Settings.load()
    which = settings.instrument(instrument)
    table = _table(dataset, which)
    with Session(settings) as session:
        ledger = session.adapters.ledger
        if ledger.market() is not None:
            ledger.claim_market(REAL_MARKET)
        now = session.adapters.clock()
        notes = Notes()
        selected = select_files(paths, table, which, notes=notes)
        with session.progress.stage("files read", len(selected.paths)):
            wanted = prepare_import(selected, table, which, now=now, notes=notes, progress=session.progress.advance)
        kept = kept_days(session.adapters.lake, ledger, wanted, replace=replace)
        result = _summary(wanted, kept, dry_run=dry_run)
        if not dry_run:
            _store(session, wanted, kept, replace=replace)
    _say(result)
    if json:
        print_json(result)


def _table(dataset: str, instrument: Instrument) -> Table:
    if dataset not in IMPORTED_DATASETS:
        raise UsageError(f"{dataset!r} cannot be imported: choose one of {', '.join(IMPORTED_DATASETS)}")
    return offered_table(dataset, instrument)


def _store(session: Session, wanted: Import, kept: Mapping[date, LedgerEntry], *, replace: bool) -> None:
    """Store the days that are not kept, and show all of them in Dagster; what was finished stays when interrupted."""
    from tradecore_pipeline.defs.imported import report_day  # noqa: PLC0415 (Dagster takes a second to import)
    from tradecore_pipeline.defs.market_data import asset_key  # noqa: PLC0415 (as above)

    adapters, table = session.adapters, wanted.table
    unmarked = session.unmarked(asset_key(table.name), wanted.instrument, kept)
    entries = import_days(
        adapters.lake,
        adapters.ledger,
        wanted,
        keep=kept,
        replace=replace,
        clock=adapters.clock,
        launch=f"import-{uuid4()}",
    )
    shown = chain((entry for day, entry in kept.items() if day in unmarked), entries)
    try:
        with session.progress.stage(f"{table.name} of {wanted.instrument}", len(wanted.days) - len(kept)):
            for entry in shown:
                report_day(session.instance, adapters, table, entry)
    finally:
        adapters.catalog.publish_database()


def _summary(wanted: Import, kept: Mapping[date, LedgerEntry], *, dry_run: bool) -> dict[str, Any]:
    new = [day for day in wanted.days if day.day not in kept]
    return {
        "instrument": str(wanted.instrument),
        "dataset": wanted.table.name,
        "dry_run": dry_run,
        "files": len(wanted.files),
        "skipped_files": wanted.skipped,
        "first": wanted.days[0].day,
        "last": wanted.days[-1].day,
        "days": len(wanted.days),
        "stored": len(new),
        "kept": len(kept),
        "incomplete": len([day for day in new if not day.complete]),
        "rows": sum(day.rows for day in new),
        "notes": list(wanted.notes),
    }


def _say(result: Mapping[str, Any]) -> None:
    for line in result["notes"]:
        note(line)
    verb = "would be stored" if result["dry_run"] else "stored"
    note(
        f"{result['dataset']}: {result['stored']} days {verb} ({result['first']} to {result['last']}, {result['rows']} "
        f"rows, {result['incomplete']} days not complete) from {result['files']} files"
    )
    if result["kept"]:
        note(f"{result['kept']} days are stored and complete, and were kept: --replace replaces them")
