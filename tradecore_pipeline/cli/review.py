"""The command that reviews how many regimes a market has; it changes nothing."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, TimeframeOption, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import FIRST_DAY, Timeframe, month_of, parse_month, utc_now
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline.validation.scoreboard import hac_lags

if TYPE_CHECKING:
    from tradecore_pipeline.models.regimes import RegimeModel
    from tradecore_pipeline.models.review import StatesReview
    from tradecore_pipeline.serving.review_charts import Limits
    from tradecore_pipeline.serving.review_report import Reviewed

MonthOption = Annotated[
    str, typer.Option("--month", metavar="YYYY-MM", help="Whose training window; by default the newest stored month's.")
]
StatesOption = Annotated[str, typer.Option("--states", metavar="2,3,4", help="Numbers of regimes to review, 2 to 5.")]
HtmlFlag = Annotated[bool, typer.Option("--html", help="Also write one HTML page with charts.")]
PageOption = Annotated[
    Path | None, typer.Option("--out", help="Page to write; by default in the home's reports.", dir_okay=False)
]

_FEWEST, _MOST = 2, 5


def review_states(
    instrument: InstrumentArgument,
    timeframe: TimeframeOption,
    month: MonthOption = "",
    states: StatesOption = "2,3,4,5",
    out: PageOption = None,
    *,
    html: HtmlFlag = False,
    json: JsonFlag = False,
) -> None:
    """How many regimes? Held-out scores, stability and persistence by number of states, and a recommendation."""
    settings = Settings.load()
    which, length, numbers = settings.instrument(instrument), settings.timeframe(timeframe), _numbers(states)
    wanted = _month(month) if month else None
    from tradecore_pipeline.models.review import recommend  # noqa: PLC0415 (hmmlearn takes a second to import)
    from tradecore_pipeline.serving.review_report import HEAD, Reviewed, cells  # noqa: PLC0415 (as its charts do)

    with Session(settings) as session:
        chosen = wanted or _newest_month(session, which, length)
        reviews = _reviews(session, which, length, chosen, numbers)
        lags = hac_lags(length)
        recommended, reason = recommend(reviews, lags=lags)
        told = Reviewed(
            which, length, chosen, _rows(reviews, lags), recommended, reason, settings.hmm_states, limits=_limits()
        )
        page = _write_page(session, told, out) if html or out is not None else None
    print_table([name for name, _ in HEAD.values()], [cells(row) for row in told.rows])
    note(f"{which}, {length}, the training window of {chosen:%Y-%m}; {reason}.")
    note(
        "Scores alone favour too many states, so a further one has to earn its place. Nothing was changed: "
        f"hmm_states is {settings.hmm_states}; TRADECORE_HMM_STATES sets it for the months trained from then on."
    )
    if page is not None:
        note(f"report: {page}")
    if json:
        document = {
            "instrument": str(which), "timeframe": str(length), "month": f"{chosen:%Y-%m}", "states": told.rows,
            "recommended": recommended, "reason": reason, "hmm_states": settings.hmm_states,
        }  # fmt: skip
        print_json(document | ({} if page is None else {"report": str(page)}))


def _limits() -> "Limits":
    from tradecore_pipeline.models import review  # noqa: PLC0415 (hmmlearn)
    from tradecore_pipeline.serving.review_charts import Limits  # noqa: PLC0415 (as above)

    return Limits(review.LEAST_OCCUPANCY, review.LEAST_DURATION_BARS, review.MOST_RELABELLED, review.LEAST_GAIN_NATS)


def _write_page(session: Session, told: "Reviewed", out: Path | None) -> Path:
    from tradecore_pipeline.serving.review_report import write_review_report  # noqa: PLC0415 (as above)

    layout = session.adapters.layout
    page = layout.report(told.instrument, told.timeframe, told.month)
    path = out or page.with_name(page.name.replace("regimes-", "states-", 1))
    return write_review_report(told, market=Ledger(layout).market() or REAL_MARKET, path=path)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or any(not part.isdecimal() or not _FEWEST <= int(part) <= _MOST for part in parts):
        raise UsageError(f"--states {text!r}: name numbers from {_FEWEST} to {_MOST}, for example 2,3,4")
    return sorted({int(part) for part in parts})


def _month(text: str) -> date:
    month, now = parse_month(text), month_of(utc_now().date())
    if month > now:
        raise UsageError(f"--month {text} is in the future: the month in force is {now:%Y-%m} (UTC)")
    if month < month_of(FIRST_DAY):
        raise UsageError(f"--month {text} is before {FIRST_DAY:%Y-%m}, the first month there are partitions for")
    return month


def _newest_month(session: Session, instrument: Instrument, timeframe: Timeframe) -> date:
    days = session.adapters.lake.days(BARS, instrument, timeframe=timeframe)
    if not days:
        raise MissingInputError(
            f"{instrument} has no {timeframe} bars: run `tradecore backfill` and `tradecore train` first"
        )
    return month_of(max(days))


def _reviews(
    session: Session, instrument: Instrument, timeframe: Timeframe, month: date, states: Sequence[int]
) -> "list[StatesReview]":
    """One review per number, on the bars that the month's own models may see."""
    from tradecore_pipeline.defs.fits import Month  # noqa: PLC0415 (Dagster takes a second to import)
    from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (hmmlearn, likewise)
    from tradecore_pipeline.models.review import review_states as review  # noqa: PLC0415 (likewise)

    settings = session.settings
    own = Month(session.adapters, instrument, timeframe, month)
    bars = own.window()
    columns = own.training_columns(bars)

    def fit(window: pd.DataFrame, features: pd.DataFrame | None, count: int) -> "RegimeModel":
        return fit_regimes(
            window, features, timeframe=timeframe, states=count, restarts=settings.hmm_restarts,
            emission=settings.hmm_emission, features=settings.hmm_features, carry_bars=settings.hmm_carry_bars,
            seed=settings.random_seed,
        )  # fmt: skip

    found: list[StatesReview] = []
    with session.progress.stage(f"{timeframe} states of {instrument}", len(states)):
        for count in states:
            found += review(
                bars, columns, states=[count], folds=settings.tuning_folds, label_threshold=settings.label_threshold,
                fit=fit,
            )  # fmt: skip
            session.progress.advance(str(count))
    return found


def _rows(reviews: "Sequence[StatesReview]", lags: int) -> list[dict[str, Any]]:
    """What is told of each review; NaN where a number of states has no acceptable fit."""
    from tradecore_pipeline.models.review import ERRORS, gain, mean_score  # noqa: PLC0415 (as above)

    rows: list[dict[str, Any]] = []
    before: StatesReview | None = None
    for own in reviews:
        gained, error = (np.nan, np.nan) if own.failure or before is None else gain(own, before, lags=lags)
        scores = own.next_bar_scores
        score, spread = (np.nan, np.nan) if own.failure else mean_score(own, lags=lags)
        rows.append({
            "states": own.states,
            "log_likelihood_per_bar": np.nan if own.failure else float(own.log_likelihoods.mean()),
            "next_bar_log_score": np.nan if scores is None else float(scores.mean()),
            "score": score,
            "score_two_standard_errors": ERRORS * spread,
            "gain_over_fewer": gained,
            "two_standard_errors": ERRORS * error,
            "least_occupancy": np.nan if own.failure else float(own.occupancy.min()),
            "occupancy": [float(share) for share in own.occupancy],
            "relabelled_share": own.relabelled,
            "expected_bars": [float(bars) for bars in own.durations],
            "switches_per_1000_bars": own.switches,
            "shown_switches_per_1000_bars": own.held_switches,
            "objection": own.objection or own.instability,
        })  # fmt: skip
        before = before if own.failure else own
    return rows
