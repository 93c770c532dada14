"""The command that tries to catch the pipeline, and a user's own features, at knowing the future."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe, utc_now
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import Ledger

if TYPE_CHECKING:
    from tradecore_pipeline.features.registry import Feature
    from tradecore_pipeline.serving.lookahead import Experiment
    from tradecore_pipeline.validation.lookahead import Finding, Sources, StageResult

TimeframeChoice = Annotated[str, typer.Option("--timeframe", help="As configured; by default the first of those.")]
CutsOption = Annotated[
    int, typer.Option("--cuts", help="Moments at which each table's future is taken away, 10 to 5000.")
]
FeaturesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--features",
        metavar="FILE",
        help="A Python file of your own features, which is run, beside those of the settings. Repeatable.",
    ),
]
SimulatedFlag = Annotated[bool, typer.Option("--simulated", help="On a simulated market instead of the home's bars.")]
HtmlFlag = Annotated[bool, typer.Option("--html", help="Also write one HTML page.")]
PageOption = Annotated[
    Path | None, typer.Option("--out", help="Page to write; by default in the home's reports.", dir_okay=False)
]

_FEWEST, _MOST = 10, 5_000
_SIMULATED = "simulated"
_HEAD = ("stage", "column", "first bar that changed", "cut", "experiment", "from", "to", "size", "cuts")


def lookahead(
    instrument: InstrumentArgument,
    timeframe: TimeframeChoice = "",
    cuts: CutsOption = 50,
    features: FeaturesOption = None,
    out: PageOption = None,
    *,
    simulated: SimulatedFlag = False,
    html: HtmlFlag = False,
    json: JsonFlag = False,
) -> None:
    """Does anything know the future? Every table, fit and forecast without it, and with another. Exits with 1 if so."""
    settings = Settings.load()
    length = settings.timeframe(timeframe) if timeframe else settings.parsed_timeframes[0]
    which = Instrument.parse(instrument) if simulated else settings.instrument(instrument)
    if not _FEWEST <= cuts <= _MOST:
        raise UsageError(f"--cuts {cuts} is out of range: give a number from {_FEWEST} to {_MOST}")
    own = _own_features(settings, features or [])
    with Session(settings) as session:
        sources, market = _sources(session, which, length, simulated=simulated)
        experiment, results = _examined(session, sources, length, own, cuts)
    findings = [finding for result in results for finding in result.findings]
    page = None
    if html or out is not None:
        page = _write_page(settings, experiment, results, sources, which, market, out)
    _tell(experiment, results, sources, page)
    if json:
        print_json(_document(experiment, results, which, market, page))
    elif findings:
        print_table(_HEAD, [_cells(finding) for finding in findings])
    else:
        typer.echo(_clean(results, cuts))
    if findings:
        raise typer.Exit(1)


def _own_features(settings: Settings, paths: Sequence[Path]) -> "tuple[Feature, ...]":
    """Those of the settings' files, and of the files named here."""
    from tradecore_pipeline.serving.own_features import examined_features  # noqa: PLC0415 (pandas and numba, a second)

    return examined_features(settings, paths).features


def _sources(
    session: Session, instrument: Instrument, timeframe: Timeframe, *, simulated: bool
) -> "tuple[Sources, str]":
    """The rows to work on, and the market they come from."""
    from tradecore_pipeline.serving.lookahead import wanted_span  # noqa: PLC0415 (pandas and numba take a second)
    from tradecore_pipeline.serving.lookahead_markets import (  # noqa: PLC0415 (as above)
        simulated_sources,
        stored_sources,
    )

    settings = session.settings
    span = wanted_span(settings, timeframe)
    if simulated:
        return simulated_sources(instrument, timeframe, span=span, seed=settings.random_seed), _SIMULATED
    adapters = session.adapters
    return stored_sources(adapters.lake, instrument, timeframe, span=span), Ledger(
        adapters.layout
    ).market() or REAL_MARKET


def _examined(
    session: Session, sources: "Sources", timeframe: Timeframe, own: "Sequence[Feature]", cuts: int
) -> "tuple[Experiment, list[StageResult]]":
    from tradecore_pipeline.serving.lookahead import (  # noqa: PLC0415 (as above)
        Experiment,
        claims,
        plan_for,
        stored_bars,
    )
    from tradecore_pipeline.validation.lookahead import find_lookahead  # noqa: PLC0415 (as above)

    settings = session.settings
    plan = plan_for(settings, timeframe, sources, own=own)
    experiment = Experiment(plan, cuts, settings.random_seed)
    with session.progress.stage(f"models of {experiment.plan.month:%Y-%m}", 1):
        found = claims(experiment, sources)
        session.progress.advance(str(experiment.plan.month))
    total = sum(len(claim.cuts) for claim in found)
    results = [stored_bars(sources, timeframe, now=utc_now())]
    with session.progress.stage("look-ahead, cuts", total):
        results += find_lookahead(found, sources, seed=settings.random_seed, done=session.progress.advance)
    return experiment, results


def _clean(results: "Sequence[StageResult]", cuts: int) -> str:
    columns = sum(len(result.columns) for result in results)
    return f"nothing looked ahead ({columns} columns, {cuts} cuts)"


def _tell(experiment: "Experiment", results: "Sequence[StageResult]", sources: "Sources", page: Path | None) -> None:
    """What was tried, for the person."""
    bars = sources[BARS.name].rows
    plan = experiment.plan
    note(
        f"{len(bars)} {plan.timeframe} bars from {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}, the models of "
        f"{plan.month:%Y-%m}; at each cut the future was removed, then scrambled, in {len(results)} stages"
    )
    if page is not None:
        note(f"report: {page}")


def _write_page(
    settings: Settings,
    experiment: "Experiment",
    results: "Sequence[StageResult]",
    sources: "Sources",
    instrument: Instrument,
    market: str,
    out: Path | None,
) -> Path:
    from tradecore_pipeline.serving.lookahead_report import write_lookahead_report  # noqa: PLC0415 (as above)
    from tradecore_pipeline.storage.layout import Layout  # noqa: PLC0415 (as above)

    bars = sources[BARS.name].rows
    timeframe = experiment.plan.timeframe
    page = Layout(settings.home).report(instrument, timeframe, bars.index[0].date())
    path = out or page.with_name(page.name.replace("regimes-", "lookahead-", 1))
    return write_lookahead_report(
        results, bars.index, f"{instrument}, {timeframe}", market=market, month=experiment.plan.month, path=path
    )


def _cells(finding: "Finding") -> tuple[object, ...]:
    from tradecore_pipeline.serving.lookahead_report import value_words  # noqa: PLC0415 (as above)

    return (
        finding.stage,
        finding.column,
        _minute(finding.row),
        _minute(finding.cut),
        finding.done,
        value_words(finding.before),
        value_words(finding.after),
        value_words(finding.size),
        finding.cuts_caught or "",
    )


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _document(
    experiment: "Experiment",
    results: "Sequence[StageResult]",
    instrument: Instrument,
    market: str,
    page: Path | None,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "instrument": str(instrument),
        "timeframe": str(experiment.plan.timeframe),
        "market": market,
        "month": f"{experiment.plan.month:%Y-%m}",
        "cuts": experiment.cuts,
        "columns": sum(len(result.columns) for result in results),
        "stages": [
            {"stage": result.stage, "columns": len(result.columns), "rows": result.rows, "cuts": len(result.cuts)}
            for result in results
        ],
        "findings": [_found(finding) for result in results for finding in result.findings],
    }
    return document | ({} if page is None else {"report": str(page)})


def _found(finding: "Finding") -> dict[str, Any]:
    """A finding as JSON has it; what is infinite or no number is null or text."""
    return {
        "stage": finding.stage,
        "column": finding.column,
        "first_bar": finding.row,
        "cut": finding.cut,
        "experiment": finding.done,
        "from": _json_value(finding.before),
        "to": _json_value(finding.after),
        "size": finding.size,
        "cuts_caught": finding.cuts_caught,
    }


def _json_value(value: object) -> object:
    return float(value) if isinstance(value, float) else str(value)
