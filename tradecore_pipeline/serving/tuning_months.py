"""Tuned lengths against the defaults, month by month: on the folds of the study, and in the month they were for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from tradecore_pipeline.domain.errors import MissingInputError, NotEnoughHistoryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_range
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, IndicatorParameters, tuned_warm_up_bars
from tradecore_pipeline.serving.tuned_sources import tuned_sources
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.tuning.held_out import HeldOutMonth, drawn_choices
from tradecore_pipeline.tuning.objective import OBJECTIVES, ObjectiveName
from tradecore_pipeline.validation.scoreboard import hac_lags, standard_error
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS, training_window

Floats = npt.NDArray[np.float64]

KIND = "indicator_params"
"""Of the documents that studies leave in the lake."""
DRAWN = 30
"""Choices drawn evenly from the ranges: whether a choice's rank on the folds foretells its rank in the month."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to report on."""

    instrument: Instrument
    timeframe: Timeframe
    objective: ObjectiveName
    """That the table's errors are of; a study may have had another one."""
    window_bars: int
    folds: int
    seed: int


@dataclass(frozen=True, slots=True)
class Gain:
    """A mean of what one forecast's errors are less than another's, and how sure it is."""

    mean: float
    t_statistic: float | None
    """HAC; None where the errors never differ, or are too few."""


@dataclass(frozen=True, slots=True)
class TunedMonth:
    """One month; errors are means per bar, smaller is better."""

    month: date
    bars: int
    inner_default: float
    inner_tuned: float
    test_default: float
    test_tuned: float
    test_har: float
    """Of HAR terms alone, without any indicator."""
    gain: Gain
    """In the month, of the tuned lengths over the defaults."""
    moved: Mapping[str, tuple[int, int]]
    """Lengths that are not the default: from what to what."""
    rank_correlations: Mapping[ObjectiveName, float | None]
    """Of evenly drawn choices' errors on the folds with those in the month, by objective."""


@dataclass(frozen=True, slots=True)
class ObjectiveFacts:
    """What tuning for an objective has to go by."""

    skill: Gain
    """In the months, of HAR terms and default lengths over always saying the window's mean: without any, there is
    nothing to tune for."""
    rank_correlation: float | None
    """Mean over months; None where no choice differed."""
    drawn_gain: Gain
    """In the months, of the drawn choice that is best on the folds over the defaults."""


@dataclass(frozen=True, slots=True)
class TuningReport:
    """All months of an instrument."""

    asked: Asked
    months: tuple[TunedMonth, ...]
    gain: Gain
    """Of the tuned lengths over the defaults, over all bars of all months."""
    indicator_gain: Gain
    """Of the default lengths over HAR terms alone."""
    objectives: Mapping[ObjectiveName, ObjectiveFacts]
    skipped: tuple[str, ...]
    """Months that could not be judged, a sentence each."""


@dataclass(frozen=True, slots=True)
class _Judged:
    month: TunedMonth
    gains: Floats
    har_gains: Floats
    drawn: Mapping[ObjectiveName, Floats]
    skills: Mapping[ObjectiveName, Floats]


def stored_months(lake: Lake, instrument: Instrument, *, timeframe: Timeframe) -> list[date]:
    """The months whose lengths are stored."""
    days = lake.days(BARS, instrument, timeframe=timeframe)
    if not days:
        return []
    months = month_range(min(days), max(days))
    return [one for one in months if lake.get_document(KIND, instrument, one, timeframe=timeframe) is not None]


def tuning_report(lake: Lake, asked: Asked, months: list[date], *, done: Callable[[str], None]) -> TuningReport:
    """The report on ``months``; what it says of a month's folds does not depend on the month's own bars.

    Raises:
        MissingInputError: a month was tuned by an older version, or not at all; or no month has bars to test on.
    """
    chosen = {month: _chosen(lake, asked, month) for month in months}
    judged: list[_Judged] = []
    skipped: list[str] = []
    for month, parameters in chosen.items():
        try:
            judged.append(_judge(_held_out(lake, asked, month), asked, month, parameters))
        except NotEnoughHistoryError as error:
            skipped.append(f"{month:%Y-%m}: {error}")
        done(f"{month:%Y-%m}")
    if not judged:
        raise MissingInputError(f"{asked.instrument} at {asked.timeframe}: no month can be judged ({skipped[0]})")
    lags = hac_lags(asked.timeframe)
    return TuningReport(
        asked=asked,
        months=tuple(one.month for one in judged),
        gain=_gain(np.concatenate([one.gains for one in judged]), lags),
        indicator_gain=_gain(np.concatenate([one.har_gains for one in judged]), lags),
        objectives={name: _facts(name, judged, lags) for name in OBJECTIVES},
        skipped=tuple(skipped),
    )


def _chosen(lake: Lake, asked: Asked, month: date) -> IndicatorParameters:
    document = lake.get_document(KIND, asked.instrument, month, timeframe=asked.timeframe)
    where = f"{asked.instrument} {asked.timeframe} {month:%Y-%m}"
    if document is None:
        raise MissingInputError(f"{where} has not been tuned: run `tradecore train` for that month first")
    try:
        return IndicatorParameters.from_dict(document.get("parameters", {}))
    except MissingInputError as error:
        raise MissingInputError(f"{where}: {error}") from error


def _held_out(lake: Lake, asked: Asked, month: date) -> HeldOutMonth:
    timeframe = asked.timeframe
    start, end = training_window(month, bars=asked.window_bars, timeframe=timeframe)
    first = start - tuned_warm_up_bars() * timeframe.duration
    bars = lake.read(BARS, asked.instrument, first, day_start(add_months(month, 1)), timeframe=timeframe)
    return HeldOutMonth(
        tuned_sources(lake, asked.instrument, bars, timeframe=timeframe),
        window_start=start,
        window_end=end,
        month_start=day_start(month),
        folds=asked.folds,
        purge_bars=LABEL_HORIZON_BARS,
    )


def _judge(held: HeldOutMonth, asked: Asked, month: date, parameters: IndicatorParameters) -> _Judged:
    drawn = drawn_choices(held.indicators, count=DRAWN, seed=asked.seed)
    name = asked.objective
    default, tuned = (held.test_errors(name, one) for one in (DEFAULT_PARAMETERS, parameters))
    har = held.test_errors_without(name, har=True)
    lags = hac_lags(asked.timeframe)
    ranks: dict[ObjectiveName, float | None] = {}
    gains: dict[ObjectiveName, Floats] = {}
    skills: dict[ObjectiveName, Floats] = {}
    for one in OBJECTIVES:
        inner = [float(held.inner_errors(one, choice).mean()) for choice in drawn]
        tested = [held.test_errors(one, choice) for choice in drawn]
        usual = held.test_errors(one, DEFAULT_PARAMETERS)
        ranks[one] = _rank_correlation(inner, [float(errors.mean()) for errors in tested])
        gains[one] = usual - tested[int(np.argmin(inner))]
        skills[one] = held.test_errors_without(one, har=False) - usual
    before, after = DEFAULT_PARAMETERS.to_dict(), parameters.to_dict()
    told = TunedMonth(
        month=month,
        bars=held.bars,
        inner_default=float(held.inner_errors(name, DEFAULT_PARAMETERS).mean()),
        inner_tuned=float(held.inner_errors(name, parameters).mean()),
        test_default=float(default.mean()),
        test_tuned=float(tuned.mean()),
        test_har=float(har.mean()),
        gain=_gain(default - tuned, lags),
        moved={key: (before[key], after[key]) for key in before if before[key] != after[key]},
        rank_correlations=ranks,
    )
    return _Judged(told, default - tuned, har - default, gains, skills)


def _rank_correlation(inner: list[float], tested: list[float]) -> float | None:
    from scipy.stats import rankdata  # noqa: PLC0415 (only reports need it)

    if len(set(inner)) < 2 or len(set(tested)) < 2:
        return None
    return float(np.corrcoef(rankdata(inner), rankdata(tested))[0, 1])


def _gain(gains: Floats, lags: int) -> Gain:
    error = standard_error(gains, lags=lags)
    return Gain(float(gains.mean()), float(gains.mean()) / error if error > 0 else None)


def _facts(name: ObjectiveName, judged: list[_Judged], lags: int) -> ObjectiveFacts:
    known = [rank for one in judged if (rank := one.month.rank_correlations[name]) is not None]
    return ObjectiveFacts(
        skill=_gain(np.concatenate([one.skills[name] for one in judged]), lags),
        rank_correlation=float(np.mean(known)) if known else None,
        drawn_gain=_gain(np.concatenate([one.drawn[name] for one in judged]), lags),
    )
