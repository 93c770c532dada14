"""What commands that produce data take: days, months and datasets, and the market they may ask."""

from datetime import date
from typing import Annotated

import typer

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MixedHomeError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.offers import offered, offered_table
from tradecore_pipeline.domain.tables import MARKET_DATA
from tradecore_pipeline.domain.time import FIRST_DAY, day_range, month_of, month_range, parse_day, parse_month, utc_now
from tradecore_pipeline.settings import Settings

DatasetsOption = Annotated[
    str, typer.Option(metavar="A,B", help="Any of docs/exchanges.md; by default those of TRADECORE_DATASETS.")
]
ArchiveOnlyFlag = Annotated[
    bool, typer.Option("--archive-only", help="Ask archives of files only: where an API is geo-blocked.")
]
FromMonth = Annotated[str, typer.Option("--from", metavar="YYYY-MM", help="First month.")]
ToMonth = Annotated[str, typer.Option("--to", metavar="YYYY-MM", help="Last month, included.")]


def load_settings(*, archive_only: bool) -> Settings:
    """The settings, with a command's flag before what they say themselves."""
    return Settings.load(**({"archive_only": True} if archive_only else {}))


def check_market(session: Session, exchange: str) -> None:
    """Refuse to ask the live exchange on behalf of a home of simulated days, before anything is fetched.

    Raises:
        MixedHomeError: one of the exchange's addresses is the live one.
    """
    held = session.adapters.ledger.market()
    if held is None or held == REAL_MARKET:
        return
    for name, field in Settings.model_fields.items():
        own = name.startswith(f"{exchange}_") and name.endswith("_url") and field.default is not None
        if own and getattr(session.settings, name) == field.default:
            raise MixedHomeError(
                f"{session.settings.home} holds days of a {held} market and live {exchange} ({field.default}) would be "
                f"asked: set TRADECORE_HOME to another folder, or TRADECORE_{name.upper()} to the simulator"
            )


def chosen_datasets(settings: Settings, instrument: Instrument, text: str) -> list[str]:
    """The datasets that ``text`` names, or those of the settings that ``instrument`` can have.

    Raises:
        UsageError: one is unknown, or the instrument cannot have it.
    """
    known = [table.name for table in offered(instrument)]
    names = [part.strip() for part in text.split(",") if part.strip()] or [n for n in settings.datasets if n in known]
    for name in names:
        if name not in MARKET_DATA:
            raise UsageError(f"unknown dataset {name!r}: choose from {', '.join(MARKET_DATA)}")
        offered_table(name, instrument)
    return [name for name in known if name in names]


def requested_days(first: str, last: str) -> list[date]:
    """Every day from ``first`` to ``last``, which must be days that there are partitions for."""
    start, end, today = parse_day(first), parse_day(last), utc_now().date()
    if start > end:
        raise UsageError(f"--from {start} is after --to {end}: swap them")
    if end > today:
        raise UsageError(f"--to {end} is in the future: today is {today} (UTC)")
    if start < FIRST_DAY:
        raise UsageError(f"--from {start} is before {FIRST_DAY}, the first day there are partitions for")
    return list(day_range(start, end))


def requested_months(first: str, last: str) -> list[date]:
    """Every month from ``first`` to ``last``, which must be months that there are partitions for."""
    start, end, now = parse_month(first), parse_month(last), month_of(utc_now().date())
    if start > end:
        raise UsageError(f"--from {start:%Y-%m} is after --to {end:%Y-%m}: swap them")
    if end > now:
        raise UsageError(f"--to {end:%Y-%m} is in the future: the month in force is {now:%Y-%m} (UTC)")
    if start < month_of(FIRST_DAY):
        raise UsageError(f"--from {start:%Y-%m} is before {FIRST_DAY:%Y-%m}, the first month there are partitions for")
    return list(month_range(start, end))
