"""The command that reviews how many regimes a market has; it changes nothing."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer

from tradecore_pipeline.cli.output import InstrumentArgument, JsonFlag, TimeframeOption, note, print_json, print_table
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe, month_of, parse_month, utc_now
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.scoreboard import hac_lags

if TYPE_CHECKING:
    from tradecore_pipeline.models.regimes import RegimeModel
    from tradecore_pipeline.models.review import StatesReview

MonthOption = Annotated[
    str, typer.Option("--month", metavar="YYYY-MM", help="Whose training window; by default the newest stored month's.")
]
StatesOption = Annotated[str, typer.Option("--states", metavar="2,3,4", help="Numbers of regimes to review, 2 to 5.")]

_FEWEST, _MOST = 2, 5
_HEAD = (
    "states", "held-out log likelihood", "next-bar score", "gain over fewer", "2 s.e.", "rarest", "relabelled",
    "expected bars", "switches/1000", "shown/1000", "objection",
)  # fmt: skip


def review_states(
    instrument: InstrumentArgument,
    timeframe: TimeframeOption,
    month: MonthOption = "",
    states: StatesOption = "2,3,4,5",
    *,
    json: JsonFlag = False,
) -> None:
    """How many regimes? Held-out scores, stability and persistence by number of states, and a recommendation."""
    settings = Settings.load()
    which, length, numbers = settings.instrument(instrument), settings.timeframe(timeframe), _numbers(states)
    wanted = _month(month) if month else None
    with Session(settings) as session:
        chosen = wanted or _newest_month(session, which, length)
        reviews = _reviews(session, which, length, chosen, numbers)
    from tradecore_pipeline.models.review import recommend  # noqa: PLC0415 (hmmlearn takes a second to import)

    lags = hac_lags(length)
    rows = _rows(reviews, lags)
    recommended, reason = recommend(reviews, lags=lags)
    print_table(_HEAD, [_cells(row) for row in rows])
    note(f"{which}, {length}, the training window of {chosen:%Y-%m}; {reason}.")
    note(
        "Scores alone favour too many states, so a further one has to earn its place. Nothing was changed: "
        f"hmm_states is {settings.hmm_states}; TRADECORE_HMM_STATES sets it for the months trained from then on."
    )
    if json:
        print_json({
            "instrument": str(which), "timeframe": str(length), "month": f"{chosen:%Y-%m}", "states": rows,
            "recommended": recommended, "reason": reason, "hmm_states": settings.hmm_states,
        })  # fmt: skip


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or any(not part.isdecimal() or not _FEWEST <= int(part) <= _MOST for part in parts):
        raise UsageError(f"--states {text!r}: name numbers from {_FEWEST} to {_MOST}, for example 2,3,4")
    return sorted({int(part) for part in parts})


def _month(text: str) -> date:
    month, now = parse_month(text), month_of(utc_now().date())
    if month > now:
        raise UsageError(f"--month {text} is in the future: the month in force is {now:%Y-%m} (UTC)")
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
    from tradecore_pipeline.models.review import ERRORS, gain  # noqa: PLC0415 (as above)

    rows: list[dict[str, Any]] = []
    before: StatesReview | None = None
    for own in reviews:
        gained, error = (np.nan, np.nan) if own.failure or before is None else gain(own, before, lags=lags)
        scores = own.next_bar_scores
        rows.append({
            "states": own.states,
            "log_likelihood_per_bar": np.nan if own.failure else float(own.log_likelihoods.mean()),
            "next_bar_log_score": np.nan if scores is None else float(scores.mean()),
            "gain_over_fewer": gained,
            "two_standard_errors": ERRORS * error,
            "least_occupancy": np.nan if own.failure else float(own.occupancy.min()),
            "relabelled_share": own.relabelled,
            "expected_bars": [float(bars) for bars in own.durations],
            "switches_per_1000_bars": own.switches,
            "shown_switches_per_1000_bars": own.held_switches,
            "objection": own.objection or own.instability,
        })  # fmt: skip
        before = before if own.failure else own
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    forms = {
        "states": "d", "log_likelihood_per_bar": ".4f", "next_bar_log_score": ".4f", "gain_over_fewer": "+.4f",
        "two_standard_errors": ".4f", "least_occupancy": ".1%", "relabelled_share": ".1%",
        "switches_per_1000_bars": ".0f", "shown_switches_per_1000_bars": ".0f", "objection": "",
    }  # fmt: skip
    bars = ", ".join(f"{bars:,.0f}" for bars in row["expected_bars"])
    cells = {name: _figure(row[name], form) for name, form in forms.items()} | {"expected_bars": bars}
    return [cells[name] for name in row]


def _figure(value: object, form: str) -> str:
    return "-" if isinstance(value, float) and np.isnan(value) else format(value, form)
