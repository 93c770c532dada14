"""The command that asks whether the published forecast was any good: scores by era, against every peer."""

from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, TimeframeOption, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_of, month_range, parse_month
from tradecore_pipeline.serving.model_scores import (
    BASELINE,
    ModelScores,
    Recall,
    Registered,
    Wanted,
    score_models,
    scored_rows,
)
from tradecore_pipeline.serving.trained_windows import trained_windows
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline.validation.scoreboard import Standing, hac_lags, standings

if TYPE_CHECKING:
    from tradecore_pipeline.defs.resources import Adapters

FirstMonth = Annotated[
    str, typer.Option("--from", metavar="YYYY-MM", help="First month; by default the first published one.")
]
LastMonth = Annotated[
    str, typer.Option("--to", metavar="YYYY-MM", help="Last month, included; by default the last published one.")
]
HtmlFlag = Annotated[bool, typer.Option("--html", help="Also write one HTML page with charts.")]
PageOption = Annotated[
    Path | None, typer.Option("--out", help="Page to write; by default in the home's reports.", dir_okay=False)
]

_COLUMNS = ("era", "model", "bars", "nats a bar", f"less {BASELINE}", "HAC t", "smallest detectable")


def score(
    instrument: InstrumentArgument,
    timeframe: TimeframeOption,
    first: FirstMonth = "",
    last: LastMonth = "",
    out: PageOption = None,
    *,
    html: HtmlFlag = False,
    json: JsonFlag = False,
) -> None:
    """How good the published forecasts were, out-of-sample, against the baseline and refitted peers."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    page: Path | None = None
    with Session(settings) as session:
        adapters = session.adapters
        wanted = _wanted(adapters, which, length, first, last)
        rows = scored_rows(adapters.lake, wanted)
        months = len(list(month_range(rows.index[0].date(), rows.index[-1].date())))
        with session.progress.stage("score", months):
            found = score_models(
                adapters.lake, rows, wanted, recall=_recall(adapters, which, length), done=session.progress.advance
            )
        lags = hac_lags(length)
        table = standings(found.scores, baseline=BASELINE, lags=lags)
        if html or out is not None:
            page = _write_page(adapters, found, table, wanted, out)
    explain(found, page, lags)
    if json:
        print_json(_document(found, table, wanted, lags, page))
    else:
        print_table(_COLUMNS, [_cells(standing) for standing in table])


def explain(found: ModelScores, page: Path | None, lags: int) -> None:
    """What the figures mean, and what a reader must know about single models."""
    note(
        "mean log density in nats that each forecast gave to the next bar (returns in percent), on the same bars for "
        f"all; HAC t over {lags} lags; smallest detectable: two HAC standard errors, below which a difference cannot "
        "be told from none in this sample"
    )
    for text in found.notes:
        note(text)
    if page is not None:
        note(f"report: {page}")


def _wanted(adapters: "Adapters", instrument: Instrument, timeframe: Timeframe, first: str, last: str) -> Wanted:
    settings = adapters.settings
    asked = [parse_month(text) if text else None for text in (first, last)]
    days = adapters.lake.days(REGIMES, instrument, timeframe=timeframe)
    if not days:
        raise MissingInputError(
            f"nothing is published for {instrument} at {timeframe}: run `tradecore run` or `tradecore predict` first"
        )
    begin, end = asked[0] or month_of(days[0]), asked[1] or month_of(days[-1])
    if begin > end:
        raise UsageError(f"--from {begin:%Y-%m} is after --to {end:%Y-%m}: published are {days[0]} to {days[-1]}")
    if begin > month_of(days[-1]) or end < month_of(days[0]):
        raise UsageError(
            f"nothing is published from {begin:%Y-%m} to {end:%Y-%m}: published are {days[0]} to {days[-1]}"
        )
    begin, end = max(begin, month_of(days[0])), min(end, month_of(days[-1]))  # each month asks the registry
    return Wanted(
        instrument,
        timeframe,
        start=day_start(begin),
        end=day_start(add_months(end, 1)),
        window_bars=settings.window_bars(timeframe),
        least_bars=settings.minimum_bars(timeframe),
        trained_on=trained_windows(adapters.registry, instrument, timeframe, month_range(begin, end)),
    )


def _recall(adapters: "Adapters", instrument: Instrument, timeframe: Timeframe) -> Recall:
    """How a month's registered models are read and run, as they were when they published."""

    def recall(month: date, bars: pd.DataFrame) -> Registered:
        from tradecore_pipeline.defs.fits import Month, load_forecaster, load_regime_model  # noqa: PLC0415 (heavy)
        from tradecore_pipeline.models.lstm import forecast_inputs  # noqa: PLC0415 (torch)

        place = Month(adapters, instrument, timeframe, month)
        model, hmm = load_regime_model(place)
        forecaster, lstm = load_forecaster(place)
        filtered = model.filter(bars, place.columns(bars, model.emission.features))
        inputs = forecast_inputs(bars, forecaster.har, filtered=filtered.frame, features=place.tuned(bars))
        try:
            regimes = model.forecast(bars, filtered)
        except ValueError:  # a model of other features has no density for returns, and says so
            regimes = None
        return Registered(forecaster.forecast(bars, inputs).pooled, regimes, hmm.run_id, lstm.run_id)

    return recall


def _write_page(
    adapters: "Adapters", found: ModelScores, table: list[Standing], wanted: Wanted, out: Path | None
) -> Path:
    from tradecore_pipeline.serving.score_report import write_score_report  # noqa: PLC0415 (plotly takes a while)

    market = Ledger(adapters.layout).market() or REAL_MARKET
    begins: datetime = found.scores.index[0].to_pydatetime()
    page = adapters.layout.report(wanted.instrument, wanted.timeframe, begins.date())
    path = out or page.with_name(page.name.replace("regimes-", "scores-", 1))
    return write_score_report(found, table, wanted, market=market, path=path)


def _cells(standing: Standing) -> tuple[object, ...]:
    own = standing.model == BASELINE
    return (
        standing.era,
        standing.model,
        standing.bars,
        f"{standing.log_score:.4f}",
        "" if own else f"{standing.difference:+.4f}",
        figure(standing.t_statistic, "+.1f"),
        figure(standing.smallest_detectable, ".4f"),
    )


def figure(value: float, form: str) -> str:
    """The figure as text; nothing where there is none."""
    return "" if value != value else format(value, form)  # noqa: PLR0124 (NaN is what differs from itself)


def _document(
    found: ModelScores, table: list[Standing], wanted: Wanted, lags: int, page: Path | None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "instrument": str(wanted.instrument),
        "timeframe": str(wanted.timeframe),
        "baseline": BASELINE,
        "hac_lags": lags,
        "scores": [asdict(standing) for standing in table],
        "notes": list(found.notes),
    }
    return document | ({} if page is None else {"report": str(page)})
