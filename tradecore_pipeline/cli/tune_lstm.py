"""The command that studies the LSTM's shape for a year, on data that ended before it."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, TimeframeOption, note, print_json
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.cli.work import prepare
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import FIRST_DAY, Timeframe, utc_now
from tradecore_pipeline.settings import Settings

if TYPE_CHECKING:
    from tradecore_pipeline.defs.fits import Month

_MOST_TRIALS, _MOST_PROCESSES = 10_000, 64
_ONE_DAY = timedelta(days=1)

YearOption = Annotated[
    int, typer.Option("--year", metavar="YYYY", help="The year whose months it is for; its data ends before January.")
]
TrialsOption = Annotated[
    int, typer.Option("--trials", help="Shapes to try, the default among them.", min=1, max=_MOST_TRIALS)
]
ProcessesOption = Annotated[
    int, typer.Option("--processes", help="Folds fitted at a time; no figure depends on it.", min=1,
                      max=_MOST_PROCESSES)
]  # fmt: skip


def tune_lstm(
    instrument: InstrumentArgument,
    timeframe: TimeframeOption,
    year: YearOption,
    trials: TrialsOption = 20,
    processes: ProcessesOption = 1,
    *,
    json: JsonFlag = False,
) -> None:
    """Study the LSTM's shape for a year: which is in force in the months trained from then on."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    january = _january(year)
    with Session(settings) as session:
        from tradecore_pipeline.defs import lstm_shape  # noqa: PLC0415 (Dagster takes a second to import)
        from tradecore_pipeline.defs.fits import Month  # noqa: PLC0415 (likewise)
        from tradecore_pipeline.defs.launch import materialize  # noqa: PLC0415 (likewise)

        prepare(session, which, length, _days(session, which, january, length))
        own = Month(session.adapters, which, length, january)
        with session.progress.stage(f"{length} shape of the LSTM for {year}", trials + 1):
            materialize(
                session.definitions,
                session.instance,
                assets=[lstm_shape.asset_key(length)],
                instrument=which,
                dates=[january],
                monthly=False,
                config={"trials": trials, "processes": processes},
            )
        document = _document(own)
    _explain(document, own)
    if json:
        told = {"instrument": str(which), "timeframe": str(length), "year": year}
        print_json(told | document)


def _january(year: int) -> date:
    first, now = FIRST_DAY.year + 1, utc_now().year
    if not first <= year <= now:
        raise UsageError(f"--year {year}: name a year from {first} to {now}, whose data before January is there")
    return date(year, 1, 1)


def _days(session: Session, instrument: Instrument, january: date, timeframe: Timeframe) -> list[date]:
    """The stored days of market data that the study reaches back to.

    Raises:
        MissingInputError: there is none.
    """
    from tradecore_pipeline.defs.lstm_shape import data_span  # noqa: PLC0415 (as above)

    first = data_span(session.settings, timeframe, january)[0].date()
    days = [day for day in session.adapters.lake.days(BARS_1M, instrument) if first <= day < january]
    if not days:
        raise MissingInputError(
            f"{instrument} has no market data from {first} to {january - _ONE_DAY}: run `tradecore backfill "
            f"{instrument} --from {max(first, FIRST_DAY)} --to {january - _ONE_DAY}` first"
        )
    return days


def _document(january: "Month") -> dict[str, Any]:
    """What the study left.

    Raises:
        MissingInputError: nothing: somebody removed it in between.
    """
    from tradecore_pipeline.defs.lstm_shape import KIND  # noqa: PLC0415 (as above)

    lake = january.adapters.lake
    document = lake.get_document(KIND, january.instrument, january.month, timeframe=january.timeframe)
    if document is None:
        raise MissingInputError(
            f"{january.instrument} {january.timeframe}: the study of {january.month.year} ended and its document is "
            "not there: was it removed meanwhile? Run the command again, finished trials are kept"
        )
    return document


def _explain(document: dict[str, Any], january: "Month") -> None:
    note(document["verdict"])
    shape = ", ".join(f"{name} {value:.3g}" for name, value in document["shape"].items())
    note(
        f"In force in the months of {january.month.year} and later that are trained from now on: {shape}. Months that "
        "are trained already keep theirs: `tradecore train` fits them again."
    )
