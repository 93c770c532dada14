"""The command that asks whether tuning was worth it: tuned lengths against the defaults, out-of-sample."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, TimeframeOption, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.time import Timeframe, parse_month
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import Ledger

if TYPE_CHECKING:
    from tradecore_pipeline.serving.tuning_months import TuningReport

FirstMonth = Annotated[
    str, typer.Option("--from", metavar="YYYY-MM", help="First month; by default the first tuned one.")
]
LastMonth = Annotated[
    str, typer.Option("--to", metavar="YYYY-MM", help="Last month, included; by default the last tuned one.")
]
ObjectiveOption = Annotated[
    str, typer.Option("--objective", help="Whose errors the table has: log_absolute_return, log_score or direction.")
]
HtmlFlag = Annotated[bool, typer.Option("--html", help="Also write one HTML page.")]
PageOption = Annotated[
    Path | None, typer.Option("--out", help="Page to write; by default in the home's reports.", dir_okay=False)
]


def tuning_report(
    instrument: InstrumentArgument,
    timeframe: TimeframeOption,
    first: FirstMonth = "",
    last: LastMonth = "",
    objective: ObjectiveOption = "log_absolute_return",
    out: PageOption = None,
    *,
    html: HtmlFlag = False,
    json: JsonFlag = False,
) -> None:
    """Was tuning worth it? Tuned indicators against the defaults in every month, on bars no trial saw."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    from tradecore_pipeline.serving import tuning_months as report  # noqa: PLC0415 (pandas, a second)
    from tradecore_pipeline.tuning.objective import parse_objective  # noqa: PLC0415 (likewise)

    asked = report.Asked(
        which,
        length,
        parse_objective(objective),
        window_bars=settings.window_bars(length),
        folds=settings.tuning_folds,
        seed=settings.random_seed,
    )
    page: Path | None = None
    with Session(settings) as session:
        lake = session.adapters.lake
        stored = report.stored_months(lake, which, timeframe=length)
        months = _span(stored, which, length, first, last)
        with session.progress.stage("months", len(months)):
            found = report.tuning_report(lake, asked, months, done=session.progress.advance)
        if html or out is not None:
            page = _write_page(session, found, out)
    _explain(found, page)
    if json:
        print_json(_document(found, page))
    else:
        _print(found)


def _span(stored: list[date], instrument: Instrument, timeframe: Timeframe, first: str, last: str) -> list[date]:
    asked = [parse_month(text) if text else None for text in (first, last)]
    if not stored:
        raise MissingInputError(f"no month of {instrument} at {timeframe} is tuned: run `tradecore train` first")
    begin, end = asked[0] or stored[0], asked[1] or stored[-1]
    months = [month for month in stored if begin <= month <= end]
    if not months:
        raise UsageError(
            f"no tuned month from {begin:%Y-%m} to {end:%Y-%m}: {instrument} at {timeframe} is tuned from "
            f"{stored[0]:%Y-%m} to {stored[-1]:%Y-%m}"
        )
    return months


def _write_page(session: Session, found: "TuningReport", out: Path | None) -> Path:
    from tradecore_pipeline.serving.tuning_report import write_tuning_report  # noqa: PLC0415 (only where it is asked for)

    layout, asked = session.adapters.layout, found.asked
    page = layout.report(asked.instrument, asked.timeframe, found.months[0].month)
    path = out or page.with_name(page.name.replace("regimes-", "tuning-", 1))
    return write_tuning_report(found, market=Ledger(layout).market() or REAL_MARKET, path=path)


def _explain(found: "TuningReport", page: Path | None) -> None:
    from tradecore_pipeline.serving.tuning_words import explanations, verdicts  # noqa: PLC0415 (as above)

    for text in (*explanations(), *verdicts(found), *found.skipped):
        note(text)
    if page is not None:
        note(f"report: {page}")


def _print(found: "TuningReport") -> None:
    from tradecore_pipeline.serving import tuning_words as words  # noqa: PLC0415 (as above)

    print_table(words.MONTH_COLUMNS, [*map(words.brief_month_cells, found.months), words.total_cells(found)])
    print_table(words.OBJECTIVE_COLUMNS, words.objective_rows(found))


def _document(found: "TuningReport", page: Path | None) -> dict[str, Any]:
    asked = asdict(found.asked) | {"instrument": str(found.asked.instrument), "timeframe": str(found.asked.timeframe)}
    document: dict[str, Any] = asdict(found) | {"asked": asked}
    document["months"] = [asdict(month) | {"month": f"{month.month:%Y-%m}"} for month in found.months]
    return document | ({} if page is None else {"report": str(page)})
