"""What the look-ahead detector has under test: every table, label, fit and forecast of the user's configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe, day_start, month_of
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.features.own import compute_own
from tradecore_pipeline.features.registry import Feature
from tradecore_pipeline.features.registry import warm_up_bars as feature_warm_up
from tradecore_pipeline.features.technical import TECHNICAL_WARM_UP_BARS, technical_indicators
from tradecore_pipeline.features.tuned import tuned_columns, tuned_warm_up_bars
from tradecore_pipeline.serving.lookahead_models import (
    MonthModels,
    Plan,
    between,
    feature_sources,
    fit_month,
    stored_features,
    window_bars,
)
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.lookahead import Claim, Frames, Sources, StageResult, closed_late, draw_cuts

OWN = "own feature"
OWN_TOLERANCE = 1e-9
"""What rounding may do to a user's feature, as a share of its usual size; everything of ours is compared exactly."""
_EARLY_ROWS = 64
_WEEK = timedelta(days=7)
_YEAR = timedelta(days=366)
_LONGEST_MONTH = timedelta(days=31)
_FIT_CUTS = 3
"""Moments from the start of the month on at which everything is fitted again."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is asked of the detector."""

    plan: Plan
    cuts: int
    seed: int


def wanted_span(settings: Settings, timeframe: Timeframe) -> timedelta:
    """How much history is examined: a training window with its warm-up and a month after it, and at least a year."""
    bars = settings.window_bars(timeframe) + tuned_warm_up_bars() + 1
    return max(_YEAR, timedelta(days=timeframe.days(bars)) + _LONGEST_MONTH)


def plan_for(settings: Settings, timeframe: Timeframe, sources: Sources, *, own: Sequence[Feature]) -> Plan:
    """The month whose models are examined: the newest one that bars reach into.

    Raises:
        NotEnoughHistoryError: there are too few bars before it; the message says from when to backfill.
    """
    bars = sources[BARS.name].rows
    if len(bars) < 2:
        raise NotEnoughHistoryError(f"there are only {len(bars)} {timeframe} bars: backfill more days first")
    # The very last bar has nothing after it to take away.
    plan = Plan(settings, timeframe, month_of(bars.index[-2].date()), tuple(own))
    window_bars({BARS.name: bars}, plan, plan.month)
    return plan


def stored_bars(sources: Sources, timeframe: Timeframe, *, now: datetime) -> StageResult:
    """Whether every stored bar bears the moment it closed, and had closed by ``now``."""
    bars = sources[BARS.name].rows
    found = closed_late("stored bars", bars, length=timeframe.duration, now=now)
    return StageResult("stored bars", ("ts_close",), len(bars), (), (), found)


def claims(experiment: Experiment, sources: Sources) -> list[Claim]:
    """Everything under test, in the order of the pipeline; models are fitted once, here."""
    frames = {name: source.rows for name, source in sources.items()}
    models = fit_month(frames, experiment.plan)
    return [
        *_table_claims(experiment, sources, models),
        *own_claims(experiment, sources),
        *_label_claims(experiment, sources),
        *_model_claims(experiment, sources, models),
        _fit_claim(experiment, sources),
    ]


def own_claims(experiment: Experiment, sources: Sources) -> list[Claim]:
    """The user's features, each known at its bar's close and a function of its declared warm-up."""
    return [_own_claim(experiment, sources, own) for own in experiment.plan.own]


def _own_claim(experiment: Experiment, sources: Sources, own: Feature) -> Claim:
    timeframe = experiment.plan.timeframe

    def compute(frames: Frames) -> pd.DataFrame:
        funding, interest = frames.get(FUNDING_RATES.name), frames.get(OPEN_INTEREST.name)
        rows = compute_own([own], frames[BARS.name], funding, interest, timeframe=timeframe)
        return rows.drop(columns="ts_close")

    # Filling backward shows in prefixes shorter than the warm-up that there really is, declared or not.
    cuts = _cuts(experiment, sources, early_rows=max(2 * own.warm_up_bars, _EARLY_ROWS))
    reach = own.warm_up_bars * timeframe.duration
    return Claim(f"{OWN} {own.name}", compute, timeframe.duration, cuts, OWN_TOLERANCE, reach)


def _cuts(experiment: Experiment, sources: Sources, *, early_rows: int, window: bool = False) -> tuple[datetime, ...]:
    """Closes of bars: of all, or from the training window's start on."""
    index = pd.DatetimeIndex(sources[BARS.name].rows.index)
    if window:
        index = index[index >= experiment.plan.window[0]]
    closes = index + experiment.plan.timeframe.duration
    return draw_cuts(closes, count=experiment.cuts, early_rows=early_rows, seed=experiment.seed)


def _table_claims(experiment: Experiment, sources: Sources, models: MonthModels) -> list[Claim]:
    """Bars from minutes, and what is computed from bars row by row."""
    timeframe = experiment.plan.timeframe

    def technical(frames: Frames) -> pd.DataFrame:
        return technical_indicators(frames[BARS.name], bar_minutes=timeframe.minutes)

    def tuned(frames: Frames) -> pd.DataFrame:
        return tuned_columns(feature_sources(frames, frames[BARS.name], timeframe), models.parameters)

    rowwise: tuple[tuple[str, Callable[[Frames], pd.DataFrame], int], ...] = (
        ("features", lambda frames: stored_features(frames, timeframe), feature_warm_up(timeframe)),
        ("tuned features", tuned, tuned_warm_up_bars()),
        ("technical indicators", technical, TECHNICAL_WARM_UP_BARS),
    )
    return [
        *_bar_claims(experiment, sources),
        *(
            Claim(stage, compute, timeframe.duration, _cuts(experiment, sources, early_rows=warm_up), 0.0)
            for stage, compute, warm_up in rowwise
        ),
    ]


def _bar_claims(experiment: Experiment, sources: Sources) -> list[Claim]:
    """Bars aggregated from minutes, cut also in the middle of a bar: an unclosed one must not appear."""
    timeframe, minutes = experiment.plan.timeframe, sources[BARS_1M.name].rows
    if len(minutes) <= timeframe.minutes:
        return []
    closes = pd.DatetimeIndex(minutes.index) + sources[BARS_1M.name].known_after

    def bars(frames: Frames) -> pd.DataFrame:
        rows = frames[BARS_1M.name]
        first, last = rows.index[0].to_pydatetime(), rows.index[-1].to_pydatetime()
        return aggregate_bars(rows, timeframe, start=first, end=last + timedelta(minutes=1))

    cuts = draw_cuts(closes, count=experiment.cuts, early_rows=timeframe.minutes, seed=experiment.seed)
    return [Claim(BARS.name, bars, timeframe.duration, cuts, 0.0)]


def _label_claims(experiment: Experiment, sources: Sources) -> list[Claim]:
    """Labels are known when the bar after theirs has closed; a training window's all before the month begins."""
    from tradecore_pipeline.models.returns import next_percent_returns  # noqa: PLC0415 (scipy, by its package)

    plan = experiment.plan
    length = plan.timeframe.duration

    def labels(bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"next_return": next_percent_returns(bars, plan.timeframe)}, index=bars.index).dropna()

    def of_window(frames: Frames) -> pd.DataFrame:
        return labels(between(frames[BARS.name], *plan.window))

    everywhere = _cuts(experiment, sources, early_rows=8)
    return [
        Claim("labels", lambda frames: labels(frames[BARS.name]), 2 * length, everywhere, 0.0),
        Claim("labels of the window", of_window, _month_start(plan), _fit_cuts(experiment, sources), 0.0),
    ]


def _model_claims(experiment: Experiment, sources: Sources, models: MonthModels) -> list[Claim]:
    """What the month's fitted models say of each bar from their window's start on, as it is published."""
    from tradecore_pipeline.serving.lookahead_rows import ModelRows  # noqa: PLC0415 (torch, and only runs need it)

    plan = experiment.plan
    rows = ModelRows(plan, models)
    cuts = _cuts(experiment, sources, early_rows=_WEEK // plan.timeframe.duration + 1, window=True)
    return [
        Claim(stage, compute, plan.timeframe.duration, cuts, 0.0)
        for stage, compute in (
            ("HAR forecasts", rows.family),
            ("filtered regimes", rows.regimes),
            ("published rows", rows.published),
        )
    ]


def _fit_claim(experiment: Experiment, sources: Sources) -> Claim:
    """Everything that is fitted for the month, again and again: what came after its window must not matter."""
    plan = experiment.plan
    last_bar = plan.window[1] - plan.timeframe.duration

    def compute(frames: Frames) -> pd.DataFrame:
        return fit_month(frames, plan).rows(last_bar)

    return Claim("fits", compute, _month_start(plan), _fit_cuts(experiment, sources), 0.0)


def _month_start(plan: Plan) -> datetime:
    return day_start(plan.month)


def _fit_cuts(experiment: Experiment, sources: Sources) -> tuple[datetime, ...]:
    """The start of the month and a few closes after it."""
    start, length = _month_start(experiment.plan), experiment.plan.timeframe.duration
    closes = pd.DatetimeIndex(sources[BARS.name].rows.index) + length
    after = closes[np.asarray(closes > start)][:-1]
    places = np.unique(np.linspace(0, len(after) - 1, _FIT_CUTS).astype(np.int64))[1:] if len(after) else []
    moments: list[Any] = list(after[places])
    return (start, *moments)
