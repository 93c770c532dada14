"""Log scores of published forecasts and of the peers, refitted month by month, on the same bars."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError, ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_range
from tradecore_pipeline.serving.trained_windows import window_notes
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.validation.walk_forward import training_window

if TYPE_CHECKING:
    from tradecore_pipeline.models.density import Floats, StudentMixture
    from tradecore_pipeline.models.peers import Peer

PUBLISHED, BASELINE, HMM = "published", "t-HAR", "HMM"
"""Columns of the scores beside the peers': the pooled forecast, what it is held against, the regime model alone."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The densities of a month's registered models for the bar after each bar, and the runs they come from."""

    published: "StudentMixture"
    regimes: "StudentMixture | None"
    """None where the regime model says nothing about the size of returns."""
    hmm_run_id: str
    forecast_run_id: str


Recall = Callable[[date, pd.DataFrame], Registered]
"""Gives a month's registered models on bars from the start of their training window; raises MissingInputError."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which published rows to score, and how long the training windows of their months are."""

    instrument: Instrument
    timeframe: Timeframe
    start: datetime
    end: datetime
    window_bars: int
    """By the settings, for months whose models do not say it."""
    least_bars: int
    """The fewest that such a window may hold; others in proportion."""
    trained_on: Mapping[date, int]
    """The windows of months whose models say it, in bars."""

    def window_of(self, month: date) -> tuple[int, int]:
        """Bars of a month's training window, and the fewest it may hold."""
        bars = self.trained_on.get(month, self.window_bars)
        return bars, self.least_bars * bars // self.window_bars


@dataclass(frozen=True, slots=True)
class ModelScores:
    """What ``score_models`` found."""

    scores: pd.DataFrame
    """Nats; a column per model, indexed by the scored bar's ts_open."""
    pit: "Floats"
    """Probability integral transforms of the published forecast, NaN where its models are not at hand."""
    notes: tuple[str, ...]
    """What a reader must know about single models, a sentence each."""


def scored_rows(lake: Lake, wanted: Wanted) -> pd.DataFrame:
    """The published rows to score.

    Raises:
        MissingInputError: there are none.
    """
    rows = lake.read(REGIMES, wanted.instrument, wanted.start, wanted.end, timeframe=wanted.timeframe)
    if rows.empty:
        raise MissingInputError(
            f"nothing is published for {wanted.instrument} at {wanted.timeframe} from {wanted.start:%Y-%m} to "
            f"before {wanted.end:%Y-%m-%d}: run `tradecore predict` first"
        )
    return rows


def score_models(
    lake: Lake, published: pd.DataFrame, wanted: Wanted, *, recall: Recall, done: Callable[[str], None]
) -> ModelScores:
    """Scores of every model on the bars that ``published`` rows have.

    Published scores are read as they stand. Peers are refitted for each month on the window that the month's own models
    had, and score with their parameters fixed. Where a peer's fit fails, it keeps its last parameters, or, in the first
    month, leaves the comparison; a note says so. A regime model that is no longer the one that published a month leaves
    it likewise.

    Raises:
        NotEnoughHistoryError: a month's training window holds too few bars.
    """
    months = _Months(lake, wanted, recall)
    first, last = published.index[0].date(), published.index[-1].date()
    parts: list[pd.DataFrame] = []
    for month in month_range(first, last):
        rows = published.loc[day_start(month) : day_start(add_months(month, 1)) - wanted.timeframe.duration]
        if len(rows):
            parts.append(months.score(month, rows))
        done(f"{month:%Y-%m}")
    whole = pd.concat(parts)
    if bool(np.isnan(whole[HMM].to_numpy(dtype=np.float64)).all()):
        whole = whole.drop(columns=HMM)
    elif months.without_models:
        whole = whole.drop(columns=HMM)
        months.notes.append(f"the regime models of only some months are at hand: {HMM} is left out")
    scored = {month: bars for month, bars in wanted.trained_on.items() if first.replace(day=1) <= month <= last}
    months.notes += window_notes(
        scored, window_bars=wanted.window_bars, consequence="the peers of those months have the same windows"
    )
    return ModelScores(whole.drop(columns="pit"), whole["pit"].to_numpy(dtype=np.float64), tuple(months.notes))


class _Months:
    """Scores month after month; remembers each peer's last fit and what there is to say."""

    def __init__(self, lake: Lake, wanted: Wanted, recall: Recall) -> None:
        self._lake = lake
        self._wanted = wanted
        self._recall = recall
        self._fitted: dict[str, Peer] = {}
        self._left_out: set[str] = set()
        self.without_models = False
        self.notes: list[str] = []

    def score(self, month: date, rows: pd.DataFrame) -> pd.DataFrame:
        """Scores by model, and the published PIT values, of ``rows``."""
        from tradecore_pipeline.models.ticks import next_log_scores, price_tick  # noqa: PLC0415 (scipy)

        timeframe = self._wanted.timeframe
        bars, window = self._bars(month)
        tick = price_tick(window)
        stored = {PUBLISHED: "log_score", BASELINE: "har_log_score"}
        found = {name: pd.Series(rows[column].to_numpy(), index=rows.index) for name, column in stored.items()}
        recalled = self._recalled(month, bars, rows)
        densities: dict[str, StudentMixture] = {}
        if recalled is not None and recalled.regimes is not None:
            densities[HMM] = recalled.regimes
        densities |= {name: peer.forecast(bars) for name, peer in self._peers(month, window).items()}
        for name, density in densities.items():
            found[name] = _of_own_bar(next_log_scores(density, bars, timeframe=timeframe, tick=tick), bars)
        pit = np.full(len(bars), np.nan) if recalled is None else _pit(recalled.published, bars, timeframe)
        found["pit"] = _of_own_bar(pit, bars)
        columns = [PUBLISHED, BASELINE, HMM, *self._fitted, "pit"]
        return pd.DataFrame({name: series.reindex(rows.index) for name, series in found.items()}, columns=columns)

    def _bars(self, month: date) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The bars from the start of the month's training window to the month's end, and that window."""
        wanted = self._wanted
        length, least = wanted.window_of(month)
        start, end = training_window(month, bars=length, timeframe=wanted.timeframe)
        until = day_start(add_months(month, 1))
        bars = self._lake.read(BARS, wanted.instrument, start, until, timeframe=wanted.timeframe)
        window = bars.loc[bars.index < end]
        if len(window) < least:
            raise NotEnoughHistoryError(
                f"{wanted.instrument} has {len(window)} {wanted.timeframe} bars in the window before {month:%Y-%m} and "
                f"the peers need {least}: score from a later month, or backfill from {start:%Y-%m-%d}"
            )
        return bars, window

    def _peers(self, month: date, window: pd.DataFrame) -> "Mapping[str, Peer]":
        from tradecore_pipeline.models.peers import PEER_FITS  # noqa: PLC0415 (scipy)

        for name, fit in PEER_FITS.items():
            if name in self._left_out:  # a column that begins later would not be scored on the same bars
                continue
            try:
                self._fitted[name] = fit(window, self._wanted.timeframe)
            except ModelFitError as error:
                if name in self._fitted:
                    self.notes.append(f"{name} of {month:%Y-%m} did not converge: it keeps its parameters of before")
                    continue
                self._left_out.add(name)
                self.notes.append(
                    f"{name} is left out: it could not be fitted in the first month, {month:%Y-%m} ({error}); to have "
                    "it, score from another month on"
                )
        return self._fitted

    def _recalled(self, month: date, bars: pd.DataFrame, rows: pd.DataFrame) -> Registered | None:
        """The month's registered models where they are those that published ``rows``."""
        try:
            found = self._recall(month, bars)
        except MissingInputError as error:
            reason = str(error)
        else:
            runs = set(zip(rows["hmm_run_id"], rows["forecast_run_id"], strict=True))
            if runs == {(found.hmm_run_id, found.forecast_run_id)}:
                return found
            reason = f"the models in force in {month:%Y-%m} are not those that published it: run `tradecore predict`"
        self.without_models = True
        self.notes.append(f"no {HMM} and no PIT for {month:%Y-%m}: {reason}")
        return None


def _of_own_bar(values: "Floats", bars: pd.DataFrame) -> pd.Series:
    """What row t says about the bar after it, indexed by that bar."""
    return pd.Series(values[:-1], index=bars.index[1:])


def _pit(density: "StudentMixture", bars: pd.DataFrame, timeframe: Timeframe) -> "Floats":
    from tradecore_pipeline.models.returns import next_percent_returns  # noqa: PLC0415 (scipy)

    return density.cdf(next_percent_returns(bars, timeframe))
