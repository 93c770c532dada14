"""The command that holds variants of forecasts against each other, on identical folds; it changes no model."""

from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, TimeframeOption, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import add_months, month_of, month_range, parse_month
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.models.inputs import FEATURES
from tradecore_pipeline.models.variants import PUBLISHED, Variant, VariantDefaults, parse_variants, variant_help
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline.validation.scoreboard import hac_lags

if TYPE_CHECKING:
    from tradecore_pipeline.serving.compare import Asked, Evaluated
    from tradecore_pipeline.serving.compare_words import Measure

_MOST_MONTHS, _MOST_PROCESSES, _MOST_VARIANTS = 120, 64, 12
SET_LEVEL = 0.10
REPETITIONS = 2_000
"""Samples drawn for each test: p-values are then good to about a hundredth."""


def _print_list(wanted: bool) -> None:  # noqa: FBT001 (the signature is typer's)
    if wanted:
        print_table(("variant", "what it is"), variant_help())
        raise typer.Exit


VariantsOption = Annotated[
    str, typer.Option("--variants", metavar="A,B[,C...]", help="Forecasts to compare, the baseline first; see --list.")
]
MonthsOption = Annotated[int, typer.Option("--months", help="How many months.", min=1, max=_MOST_MONTHS)]
LastMonth = Annotated[
    str, typer.Option("--to", metavar="YYYY-MM", help="Last month, included; by default the newest stored one.")
]
ProcessesOption = Annotated[
    int, typer.Option("--processes", help="Months fitted at a time; no figure depends on it.", min=1,
                      max=_MOST_PROCESSES)
]  # fmt: skip
ListFlag = Annotated[
    bool, typer.Option("--list", help="List the variants and their options.", is_eager=True, callback=_print_list)
]
HtmlFlag = Annotated[bool, typer.Option("--html", help="Also write one HTML page with charts.")]
PageOption = Annotated[
    Path | None, typer.Option("--out", help="Page to write; by default in the home's reports.", dir_okay=False)
]


def compare(  # noqa: PLR0913 (an option each)
    instrument: InstrumentArgument,
    timeframe: TimeframeOption,
    variants: VariantsOption,
    months: MonthsOption = 12,
    last: LastMonth = "",
    processes: ProcessesOption = 2,
    out: PageOption = None,
    *,
    html: HtmlFlag = False,
    json: JsonFlag = False,
    listed: ListFlag = False,  # noqa: ARG001 (its callback prints and leaves)
) -> None:
    """Which forecast is better? Variants refitted monthly on identical folds, with tests that count them all."""
    settings = Settings.load()
    instrument_, length = settings.instrument(instrument), settings.timeframe(timeframe)
    chosen = _chosen(variants, settings)
    until = parse_month(last) if last else None
    from tradecore_pipeline.serving.compare import Asked, evaluate, fits_needed  # noqa: PLC0415 (pandas, a second)
    from tradecore_pipeline.serving.compare_words import measures  # noqa: PLC0415 (likewise)

    page: Path | None = None
    with Session(settings) as session:
        lake = session.adapters.lake
        stored = lake.days(BARS, instrument_, timeframe=length)
        asked = Asked(
            instrument_,
            length,
            _span(stored, until, months, f"{instrument_} at {length}"),
            window_bars=settings.window_bars(length),
            least_bars=settings.minimum_bars(length),
        )
        with session.progress.stage("compare", fits_needed(chosen, asked)):
            found = evaluate(lake, chosen, asked, processes=processes, done=session.progress.advance)
        found = replace(found, notes=(*found.notes, *_window_notes(session, chosen, asked)))
        told = measures(
            found, baseline=chosen[0].name, lags=hac_lags(length), level=SET_LEVEL, repetitions=REPETITIONS,
            seed=settings.random_seed,
        )  # fmt: skip
        if html or out is not None:
            page = _write_page(session, found, told, asked, out)
    _explain(found, told, asked, page)
    if json:
        print_json(_document(chosen, found, told, asked, page))


def _chosen(text: str, settings: Settings) -> list[Variant]:
    """The variants of the command line, completed by the settings."""
    found = parse_variants(
        text,
        VariantDefaults(
            states=settings.hmm_states,
            emission=settings.hmm_emission,
            features=settings.hmm_features,
            carry_bars=settings.hmm_carry_bars,
            restarts=settings.hmm_restarts,
            hidden=settings.lstm_hidden,
            lstm_regimes=settings.lstm_regimes,
            epochs=settings.lstm_epochs,
            seed=settings.random_seed,
            feature_names=(*FEATURES, *FEATURE_NAMES),
        ),
    )
    if not 2 <= len(found) <= _MOST_VARIANTS:
        raise UsageError(
            f"--variants names {len(found)}: give 2 to {_MOST_VARIANTS}, the baseline first, for example "
            "har,switching-har,hmm (`tradecore compare --list` has all)"
        )
    return found


def _span(stored: list[date], last: date | None, months: int, what: str) -> tuple[date, ...]:
    """The months to compare on.

    Raises:
        MissingInputError: no bars are stored for the last of them.
    """
    if not stored:
        raise MissingInputError(f"{what} has no bars: run `tradecore backfill` and `tradecore run` first")
    newest = month_of(max(stored))
    end = last or newest
    if not month_of(min(stored)) <= end <= newest:
        raise MissingInputError(
            f"{what} has no bars in {end:%Y-%m}: stored are {min(stored):%Y-%m-%d} to {max(stored):%Y-%m-%d}"
        )
    return tuple(month_range(add_months(end, 1 - months), end))


def _window_notes(session: Session, chosen: list[Variant], asked: "Asked") -> list[str]:
    """Where what was published comes from models that had other windows than the variants fitted here."""
    if not any(part.family == PUBLISHED for variant in chosen for part in variant.fitted):
        return []
    from tradecore_pipeline.serving.trained_windows import trained_windows, window_notes  # noqa: PLC0415 (mlflow)

    trained_on = trained_windows(session.adapters.registry, asked.instrument, asked.timeframe, asked.months)
    consequence = f"{PUBLISHED} is theirs, the other variants are fitted on {asked.window_bars:,}"
    return window_notes(trained_on, window_bars=asked.window_bars, consequence=consequence)


def _write_page(
    session: Session, found: "Evaluated", told: "tuple[Measure, ...]", asked: "Asked", out: Path | None
) -> Path:
    from tradecore_pipeline.serving.compare_report import write_compare_report  # noqa: PLC0415 (plotly takes a while)

    layout = session.adapters.layout
    page = layout.report(asked.instrument, asked.timeframe, asked.months[0])
    path = out or page.with_name(page.name.replace("regimes-", "comparison-", 1))
    return write_compare_report(found, told, asked, market=Ledger(layout).market() or REAL_MARKET, path=path)


def _explain(found: "Evaluated", told: "tuple[Measure, ...]", asked: "Asked", page: Path | None) -> None:
    """Tables on stdout, what they let one conclude on stderr."""
    from tradecore_pipeline.serving.compare_words import caveats, conclusions  # noqa: PLC0415 (pandas)

    for measure in told:
        print_table(columns(measure), rows(measure))
        compared = measure.comparison
        note(f"{measure.title} ({measure.unit}): {' '.join(conclusions(compared))}")
    first = told[0].comparison
    for text in (*caveats(first, len(asked.months)), *found.notes):
        note(text)
    note(f"{first.bars} bars for all; {found.fitted} fits now, {found.recalled} recalled")
    if page is not None:
        note(f"report: {page}")


def columns(measure: "Measure") -> tuple[str, ...]:
    """The heads of a measure's table."""
    baseline = measure.comparison.baseline
    return (measure.title, measure.unit, f"less {baseline}", "HAC t", "detectable", "set p", "may be the best")


def rows(measure: "Measure") -> list[tuple[str, ...]]:
    """A measure's table as text, best first; nothing where there is no figure."""
    return [
        (
            one.standing.model,
            f"{one.standing.log_score:.4f}",
            "" if one.standing.model == measure.comparison.baseline else f"{one.standing.difference:+.4f}",
            _figure(one.standing.t_statistic, "+.1f"),
            _figure(one.standing.smallest_detectable, ".4f"),
            f"{one.set_p_value:.3f}",
            "yes" if one.in_set else "no",
        )
        for one in measure.comparison.verdicts
    ]


def _figure(value: float, form: str) -> str:
    return "" if value != value else format(value, form)  # noqa: PLR0124 (NaN is what differs from itself)


def _document(
    chosen: list[Variant], found: "Evaluated", told: "tuple[Measure, ...]", asked: "Asked", page: Path | None
) -> dict[str, Any]:
    from tradecore_pipeline.serving.compare_words import caveats, conclusions  # noqa: PLC0415 (pandas)

    document: dict[str, Any] = {
        "instrument": str(asked.instrument),
        "timeframe": str(asked.timeframe),
        "months": [f"{month:%Y-%m}" for month in asked.months],
        "baseline": chosen[0].name,
        "variants": {variant.name: variant.config for variant in chosen},
        "measures": {measure.key: _measure(measure, conclusions(measure.comparison)) for measure in told},
        "caveats": caveats(told[0].comparison, len(asked.months)),
        "notes": list(found.notes),
        "fitted": found.fitted,
        "recalled": found.recalled,
    }
    return document | ({} if page is None else {"report": str(page)})


def _measure(measure: "Measure", words: list[str]) -> dict[str, Any]:
    compared = measure.comparison
    return {
        "unit": measure.unit,
        "bars": compared.bars,
        "spa_p_value": compared.best_p_value,
        "block_bars": compared.block_bars,
        "variants": [
            {
                "variant": one.standing.model,
                "score": one.standing.log_score,
                **{
                    key: value
                    for key, value in asdict(one.standing).items()
                    if key not in {"model", "era", "log_score"}
                },
                "set_p_value": one.set_p_value,
                "in_set": one.in_set,
            }
            for one in compared.verdicts
        ],
        "without": list(measure.without),
        "conclusions": words,
    }
