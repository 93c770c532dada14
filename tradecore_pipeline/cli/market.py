"""Commands that keep market data up to date and honest: update, repair, verify, instruments."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradecore_pipeline.cli.output import FromDay, InstrumentArgument, JsonFlag, ToDay, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.cli.work import (
    ArchiveOnlyFlag,
    DatasetsOption,
    check_market,
    chosen_datasets,
    ingest,
    load_settings,
    requested_days,
)
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, Instrument
from tradecore_pipeline.domain.tables import MARKET_DATA
from tradecore_pipeline.domain.time import day_range, parse_day
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    from tradecore_pipeline.defs.ingestion import Verified

OneInstrument = Annotated[
    str, typer.Argument(metavar="[INSTRUMENT]", help="exchange:SYMBOL; by default all configured ones.")
]
ExchangeOption = Annotated[str, typer.Option(metavar="NAME", help=f"One of {', '.join(EXCHANGES)}; by default all.")]


def update(instrument: OneInstrument = "", *, archive_only: ArchiveOnlyFlag = False, json: JsonFlag = False) -> None:
    """Fetch what is new: from the oldest day that is not complete to today, as the hourly schedule does."""
    settings = load_settings(archive_only=archive_only)
    chosen = _instruments(settings, instrument)
    with Session(settings) as session:
        result = {str(one): _update(session, one) for one in chosen}
    for name, row in result.items():
        note(f"{name}: {row['fetched']} days fetched, from {row['from']} on")
    if json:
        print_json({"instruments": result, "seconds": session.seconds.get("market_data", 0.0)})


def _update(session: Session, instrument: Instrument) -> dict[str, Any]:
    from tradecore_pipeline.defs.automation import oldest_incomplete_day  # noqa: PLC0415 (Dagster takes a second)
    from tradecore_pipeline.defs.ingestion import last_listed_day  # noqa: PLC0415 (as above)

    today = session.adapters.present(instrument.exchange).date()
    first = oldest_incomplete_day(session.adapters, instrument, today)
    if first is None:
        raise MissingInputError(
            f"{instrument} has no days yet: say since when, with tradecore backfill {instrument} --from YYYY-MM-DD"
        )
    days = list(day_range(first, last_listed_day(session.adapters, instrument, today)))
    names = chosen_datasets(session.settings, instrument, "")
    rows = {name: ingest(session, instrument, name, days) for name in names}
    return {"from": first, "fetched": sum(row["fetched"] for row in rows.values()), "datasets": rows}


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
        "differs": "" if one.difference is None else str(one.difference),
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
        refresh_listings(session.adapters, exchange)
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
