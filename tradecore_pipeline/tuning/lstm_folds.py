"""What a shape of the LSTM is worth: networks trained on the bars before each fold, scored on the fold's own bars."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError, ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.models.inputs import LEAST_LSTM_BARS
from tradecore_pipeline.models.lstm_shape import LstmShape
from tradecore_pipeline.tuning.lstm_plan import ShapePlan
from tradecore_pipeline.tuning.lstm_pool import ordered_map
from tradecore_pipeline.tuning.lstm_space import MOST_WINDOWS_TRIED, ShapeSpace
from tradecore_pipeline.validation.scoreboard import hac_lags
from tradecore_pipeline.validation.walk_forward import walk_forward_folds

if TYPE_CHECKING:
    from tradecore_pipeline.models.har import THar
    from tradecore_pipeline.models.lstm_training import Recipe

Floats = npt.NDArray[np.float64]
_INPUTS = ["open", "high", "low", "close", "volume", "realized_variance", "minutes"]


@dataclass(frozen=True, slots=True)
class ShapeData:
    """Bars before the year, and what networks read beside them."""

    bars: pd.DataFrame
    """Consecutive, indexed by ts_open."""
    timeframe: Timeframe
    columns: pd.DataFrame | None
    """Stored features by bar that the regime model reads; None where it computes all of them itself."""
    regimes: Mapping[str, Any]
    """What ``fit_regimes`` takes beside bars, columns and timeframe, in plain values."""
    recipe: "Recipe"
    """How networks are trained, and where, with the tuned features of ``bars``; its shape and its filtered
    probabilities are left to each fold."""

    @property
    def last_ts_close(self) -> datetime:
        """When the last bar closed, UTC."""
        return self.bars.index[-1].to_pydatetime() + self.timeframe.duration

    def facts(self) -> dict[str, Any]:
        """What belongs to a study's identity."""
        from tradecore_pipeline.models.lstm_training import ABLATION_MEMBERS  # noqa: PLC0415 (torch)

        frames = (self.bars.loc[:, _INPUTS], self.columns, self.recipe.features)
        return {
            "data": [None if frame is None else frame_digest(frame) for frame in frames],
            "timeframe": str(self.timeframe),
            "regimes": dict(self.regimes),
            "recipe": self.recipe.choices,
            "members": ABLATION_MEMBERS,
        }


@dataclass(frozen=True, slots=True)
class FoldOutcome:
    """How a shape did on one fold; log scores in nats."""

    first: str
    """``ts_open`` of the first bar that was forecast, UTC."""
    bars: int
    har: float
    """t-HAR's mean."""
    score: float
    """The corrected density's mean."""
    block_scores: Sequence[float]
    """The same by blocks of two days or so."""
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


Score = Callable[[LstmShape], Iterator[FoldOutcome]]
"""A shape's outcomes, fold after fold in time order; what is not taken is not computed, or not long."""


def mean_gain(outcomes: Sequence[FoldOutcome]) -> float:
    """Mean log score less t-HAR's over all bars of the folds: t-HAR's own level, which differs by fold, is left out."""
    bars = sum(one.bars for one in outcomes)
    return sum(one.bars * (one.score - one.har) for one in outcomes) / bars


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold, with everything that no shape changes: fitted on the training window that ends before it."""

    seen: pd.DataFrame
    """Bars from the longest training to the fold's last."""
    trained: int
    """The first so many of ``seen`` may be trained on."""
    first: int
    """The first row of ``seen`` that is tested: its density is of the bar after it."""
    har: "THar"
    recipe: "Recipe"
    window_bars: int
    notes: tuple[str, ...]


class ShapeFolds:
    """The folds of a study, walking forward: each is tested on its bars and trained on those before it."""

    def __init__(self, data: ShapeData, plan: ShapePlan) -> None:
        if data.last_ts_close > plan.end:
            raise InvalidDataError(
                f"a bar that closes at {data.last_ts_close:%Y-%m-%d %H:%M} cannot be used to choose a shape for what "
                f"begins at {plan.end:%Y-%m-%d %H:%M}: give the study bars that ended before"
            )
        self.data, self.plan = data, plan
        rows = len(data.bars)
        least = (LEAST_LSTM_BARS + plan.purge_bars) * (plan.folds + 1)
        if rows < least:
            short = (MOST_WINDOWS_TRIED + 1) * plan.window_bars < least  # no study reads more than that
            remedy = (
                f"raise training_window_bars, of which a study reads {MOST_WINDOWS_TRIED + 1}, or lower tuning_folds"
                if short
                else "backfill earlier days, or study a later year"
            )
            raise NotEnoughHistoryError(
                f"a study of the LSTM's shape with {plan.folds} folds needs at least {least} bars before "
                f"{plan.end:%Y-%m-%d} and there are {rows}: {remedy}"
            )
        self._cuts = walk_forward_folds(rows, plan.folds, purge_bars=plan.purge_bars)
        trained = [len(train) for train, _ in self._cuts]
        self.space = ShapeSpace.within(
            plan.default, least_bars=trained[0], most_bars=trained[-1], window_bars=plan.window_bars
        )

    @contextmanager
    def scoring(self, processes: int) -> Generator[Score]:
        """How shapes are scored, ``processes`` folds at a time."""
        with ordered_map(min(processes, self.plan.folds)) as mapped:
            yield lambda shape: mapped(_outcome, [(fold, shape) for fold in self._folds])

    @cached_property
    def _folds(self) -> list[Fold]:
        return [self._prepared(train, test) for train, test in self._cuts]

    def _prepared(self, train: npt.NDArray[np.intp], test: npt.NDArray[np.intp]) -> Fold:
        """t-HAR and regimes of the window that ends before the fold, as a month's would be; no shape changes them."""
        from tradecore_pipeline.models.har import fit_har  # noqa: PLC0415 (definitions must load without scipy)
        from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (hmmlearn, likewise)
        from tradecore_pipeline.models.seasonality import SeasonalScale  # noqa: PLC0415 (likewise)

        data, trained = self.data, len(train)
        begin = max(0, trained - MOST_WINDOWS_TRIED * self.plan.window_bars)
        rows = slice(begin, int(test[-1]) + 1)
        seen = data.bars.iloc[rows]
        window = slice(max(begin, trained - self.plan.window_bars), trained)
        bars, notes = data.bars.iloc[window], ()
        har = fit_har(bars, timeframe=data.timeframe, seasonal=SeasonalScale.fit(bars))
        columns = [None if data.columns is None else data.columns.iloc[part] for part in (window, rows)]
        try:
            regimes = fit_regimes(bars, columns[0], timeframe=data.timeframe, **data.regimes)
        except ModelFitError as error:
            filtered = None
            notes = (f"the fold from {data.bars.index[test[0]]:%Y-%m-%d} has no regimes ({error})",)
        else:
            filtered = regimes.filter(seen, columns[1]).frame
        return Fold(
            seen=seen,
            trained=trained - begin,
            first=int(test[0]) - begin,
            har=har,
            recipe=replace(data.recipe, filtered=filtered),
            window_bars=self.plan.window_bars,
            notes=notes,
        )


def _outcome(task: tuple[Fold, LstmShape]) -> FoldOutcome:
    """A shape's networks trained before one fold, and their scores on it."""
    from tradecore_pipeline.models.lstm_corrector import corrected  # noqa: PLC0415 (torch, and only runs need it)
    from tradecore_pipeline.models.lstm_training import ABLATION_MEMBERS  # noqa: PLC0415 (likewise)
    from tradecore_pipeline.models.ticks import next_log_scores  # noqa: PLC0415 (likewise)

    fold, shape = task
    begin = max(0, fold.trained - shape.windows * fold.window_bars)
    seen, har, recipe = fold.seen.iloc[begin:], fold.har, replace(fold.recipe, shape=shape)
    corrector, _ = recipe.fit(fold.seen.iloc[begin : fold.trained], har, members=ABLATION_MEMBERS)
    baseline = har.forecast(seen)
    own = corrected(baseline, corrector.corrections(recipe.inputs(seen, har)))
    scores = [
        next_log_scores(density, seen, timeframe=har.timeframe, tick=har.tick)[fold.first - begin :]
        for density in (baseline, own)
    ]
    known = np.isfinite(scores[0]) & np.isfinite(scores[1])
    usual, scored = (one[known] for one in scores)
    blocks = max(1, len(scored) // hac_lags(har.timeframe))
    return FoldOutcome(
        first=seen.index[fold.first - begin + 1].isoformat(),
        bars=len(scored),
        har=float(usual.mean()),
        score=float(scored.mean()),
        block_scores=[float(part.mean()) for part in np.array_split(scored, blocks)],
        notes=fold.notes,
    )
