"""Commands that keep market data up to date and honest: update, repair, verify, instruments."""

import time
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from tradecore_pipeline.cli.output import FromDay, InstrumentArgument, JsonFlag, ToDay, note, print_json, print_table
from tradecore_pipeline.cli.requested import (
    ArchiveOnlyFlag,
    DatasetsOption,
    check_market,
    chosen_datasets,
    load_settings,
    requested_days,
)
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, Instrument
from tradecore_pipeline.domain.tables import MARKET_DATA
from tradecore_pipeline.domain.time import parse_day
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    from tradecore_pipeline.defs.ingestion import Verified
    from tradecore_pipeline.defs.updating import Update

OneInstrument = Annotated[
    str, typer.Argument(metavar="[INSTRUMENT]", help="exchange:SYMBOL; by default all configured ones.")
]
ExchangeOption = Annotated[str, typer.Option(metavar="NAME", help=f"One of {', '.join(EXCHANGES)}; by default all.")]


def update(instrument: OneInstrument = "", *, archive_only: ArchiveOnlyFlag = False, json: JsonFlag = False) -> None:
    """Fetch what is new: from the oldest day that is not complete to today, as the hourly schedule does."""
    settings = load_settings(archive_only=archive_only)
    chosen = _instruments(settings, instrument)
    began = time.monotonic()
    with Session(settings) as session:
        for exchange in {one.exchange for one in chosen}:
            check_market(session, exchange)
        done = _updates(session, chosen)
    if json:
        print_json(
            {"instruments": {str(one.instrument): _told(one) for one in done}, "seconds": time.monotonic() - began}
        )
    for one in done:
        for error in one.errors:
            raise error


def _updates(session: Session, chosen: list[Instrument]) -> "list[Update]":
    from tradecore_pipeline.defs.updating import updates  # noqa: PLC0415 (Dagster takes a second to import)

    done: list[Update] = []
    for one in updates(session.adapters, session.instance, chosen, launch=f"update-{uuid4()}"):
        if one.first is None:
            note(
                f"{one.instrument} has no days yet: say since when, with tradecore backfill {one.instrument} --from ..."
            )
            continue
        done.append(one)
        note(f"{one.instrument}: {_told(one)['fetched']} days fetched, from {one.first} on")
    if not done:
        raise MissingInputError("there is nothing to update: tradecore backfill INSTRUMENT --from YYYY-MM-DD begins")
    return done


def _told(one: "Update") -> dict[str, Any]:
    fetched = [entry for entries in one.entries.values() for entry in entries if entry.launch.startswith("update-")]
    return {
        "from": one.first,
        "fetched": len(fetched),
        "datasets": {
            name: {
                "days": len(entries),
                "rows": sum(entry.rows for entry in entries),
                "missing": sum(entry.missing for entry in entries),
                "incomplete": len([entry for entry in entries if not entry.complete]),
            }
            for name, entries in one.entries.items()
        },
        "errors": [str(error) for error in one.errors],
    }


def repair(instrument: OneInstrument = "", *, archive_only: ArchiveOnlyFlag = False, json: JsonFlag = False) -> None:
    """Ask again for gaps, failed days, and days whose archive file is new or rewritten: the nightly job."""
    settings = load_settings(archive_only=archive_only)
    chosen = _instruments(settings, instrument)
    with Session(settings) as session:
        result = {str(one): _repair(session, one) for one in chosen}
    for name, days in result.items():
        note(f"{name}: {len(days)} days asked for again")
    if json:
        print_json({"instruments": result})


def _repair(session: Session, instrument: Instrument) -> list[str]:
    from tradecore_pipeline.defs.launch import run_job  # noqa: PLC0415 (Dagster takes a second to import)
    from tradecore_pipeline.defs.repair import JOB, run_config  # noqa: PLC0415 (as above)

    check_market(session, instrument.exchange)
    done: list[str] = []
    with session.progress.watching(done.append):
        run_job(session.definitions, session.instance, JOB, run_config(instrument))
    return done


def verify(
    instrument: InstrumentArgument,
    first: FromDay,
    last: ToDay,
    datasets: DatasetsOption = "",
    *,
    archive_only: ArchiveOnlyFlag = False,
    json: JsonFlag = False,
) -> None:
    """Fetch stored days again and compare them with the source; writes nothing. Exits with 1 where they differ."""
    settings = load_settings(archive_only=archive_only)
    which = settings.instrument(instrument)
    days = requested_days(first, last)
    names = chosen_datasets(settings, which, datasets)
    with Session(settings) as session:
        check_market(session, which.exchange)
        report = {name: _verify(session, which, name, days) for name in names}
    if not any(report.values()):
        raise MissingInputError(f"nothing of {which} is stored from {first} to {last}: tradecore backfill fetches it")
    differing = [row for rows in report.values() for row in rows if row["differs"]]
    for name, rows in report.items():
        note(f"{name}: {len(rows)} stored days compared, {sum(bool(r['differs']) for r in rows)} differ")
    if json:
        print_json({"instrument": str(which), "datasets": report})
    elif differing:
        columns = ("dataset", "day", "stored_from", "asked", "differs")
        print_table(columns, [[row[column] for column in columns] for row in differing])
    if differing:
        raise typer.Exit(1)


def _verify(session: Session, instrument: Instrument, dataset: str, days: list[date]) -> list[dict[str, Any]]:
    from tradecore_pipeline.defs.ingestion import verify_days  # noqa: PLC0415 (Dagster takes a second to import)

    return [_verified(dataset, one) for one in verify_days(session.adapters, MARKET_DATA[dataset], instrument, days)]


def _verified(dataset: str, one: "Verified") -> dict[str, Any]:
    return {
        "dataset": dataset,
        "day": one.entry.day,
        "stored_from": one.entry.source,
        "asked": one.source,
        "differs": one.difference,
    }


def instruments(
    exchange: ExchangeOption = "",
    on: Annotated[str, typer.Option("--on", metavar="YYYY-MM-DD", help="Only those that existed on that day.")] = "",
    *,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the exchanges now.")] = False,
    json: JsonFlag = False,
) -> None:
    """Which instruments exist, and existed when; delisted ones included."""
    settings = Settings.load()
    if exchange and exchange not in EXCHANGES:
        raise UsageError(f"unknown exchange {exchange!r}: choose one of {', '.join(EXCHANGES)}")
    day = parse_day(on) if on else None
    with Session(settings) as session:
        chosen = [exchange] if exchange else sorted({one.exchange for one in settings.parsed_instruments})
        rows = [row for name in chosen for row in _listed(session, name, day, refresh=refresh)]
    if json:
        print_json({"instruments": rows})
        return
    columns = ("instrument", "raw_symbol", "status", "first_day", "last_day")
    print_table(columns, [[row[column] for column in columns] for row in rows])


def _listed(session: Session, exchange: str, day: date | None, *, refresh: bool) -> list[dict[str, Any]]:
    from tradecore_pipeline.defs.repair import refresh_listings  # noqa: PLC0415 (Dagster takes a second to import)
    from tradecore_pipeline.storage.listings import listed_on  # noqa: PLC0415 (as above)

    if refresh or session.adapters.listings.as_of(exchange) is None:
        check_market(session, exchange)
        before = session.adapters.listings.damaged(exchange)
        refresh_listings(session.adapters, exchange)
        for path in session.adapters.listings.damaged(exchange)[len(before) :]:
            note(
                f"the listings of {exchange} could not be read and were put aside as {path}: what only they knew of "
                "delisted instruments is not in the new ones"
            )
    known = session.adapters.listings.get(exchange)
    return [
        {
            "instrument": str(one.instrument),
            "raw_symbol": one.raw_symbol,
            "status": one.status.value,
            "first_day": one.first_day,
            "last_day": one.last_day,
        }
        for one in (known if day is None else listed_on(known, day))
    ]


def _instruments(settings: Settings, text: str) -> list[Instrument]:
    return [settings.instrument(text)] if text else list(settings.parsed_instruments)
