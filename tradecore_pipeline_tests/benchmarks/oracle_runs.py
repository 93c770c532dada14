"""The regime model fitted on markets of known worlds, and what it scores against their oracle."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.validation.oracle_scores import (
    assert_not_better,
    divergence,
    relabelled,
    right_states,
    switches_per_1000,
)
from tradecore_pipeline.validation.scores import oracle_r2
from tradecore_pipeline_tests.benchmarks.oracle_worlds import Market, World

HOUR = Timeframe("1h")
BLOCK_BARS = 240
"""Ten days: long against the memory of every world."""
WINDOW_BARS, MONTH_BARS = 4320, 720
EMISSION, CARRY_BARS = "return_variance", (1, 3)
"""The settings' defaults."""


@dataclass(frozen=True)
class Predictions:
    """Out-of-sample rows of one model, or of a chain of monthly ones, states in the world's order."""

    rows: slice
    probabilities: Floats
    mean: Floats
    variance: Floats
    log_density: Floats


@dataclass(frozen=True)
class Scores:
    """What a model made of one draw of a world; every score is of bars after those it was fitted on."""

    accuracy: float
    oracle_accuracy: float
    divergence: float
    mean_r2: float
    log_variance_r2: float
    """NaN in mean worlds, where the best forecast of the variance hardly moves."""
    log_density_lost: float
    """Nats a bar below the oracle's."""
    switches: float
    oracle_switches: float
    relabelled: float
    """Of overlapping bars from one monthly refit to the next; NaN for a single fit."""

    @property
    def accuracy_share(self) -> float:
        return self.accuracy / self.oracle_accuracy


def fit(
    world: World, bars: pd.DataFrame, *, restarts: int, seed: int, anchor: RegimeModel | None = None
) -> RegimeModel:
    """The model under test as a user would fit it by default, knowing only how many states there are."""
    return fit_regimes(
        bars,
        timeframe=HOUR,
        states=world.states,
        restarts=restarts,
        emission=EMISSION,
        features=(),
        carry_bars=CARRY_BARS,
        seed=seed,
        anchor=anchor,
    )


def score_once(market: Market, *, train_bars: int, restarts: int, seed: int) -> Scores:
    """One fit on the first ``train_bars``, scored on the rest."""
    model = fit(market.world, market.bars.iloc[:train_bars], restarts=restarts, seed=seed)
    return _scores(market, predict(market, model, context=0, rows=slice(train_bars, len(market.bars))), np.nan)


def score_monthly(market: Market, *, restarts: int, seed: int) -> Scores:
    """A fit for every month on the window before it, scored month by month on the bars after the first window.

    As in the pipeline all of them start at one anchor: here the first window's fit.
    """
    starts = range(0, len(market.bars) - WINDOW_BARS - MONTH_BARS + 1, MONTH_BARS)
    windows = [slice(start, start + WINDOW_BARS) for start in starts]
    anchor = fit(market.world, market.bars.iloc[windows[0]], restarts=restarts, seed=seed)
    models = [
        fit(market.world, market.bars.iloc[window], restarts=restarts, seed=seed, anchor=anchor) for window in windows
    ]
    months = [
        predict(market, model, context=window.start, rows=slice(window.stop, window.stop + MONTH_BARS))
        for model, window in zip(models, windows, strict=True)
    ]
    return _scores(market, _joined(months), _relabelled_monthly(market, models, windows))


def predict(market: Market, model: RegimeModel, *, context: int, rows: slice) -> Predictions:
    """What the model says at each of ``rows``, filtering from row ``context`` on."""
    bars = market.bars.iloc[context : rows.stop]
    filtered = model.filter(bars)
    probabilities = filtered.probabilities[:, state_order(market.world, model)]
    return predictions(market, probabilities, model.forecast(bars, filtered), context=context, rows=rows)


def predictions(
    market: Market, probabilities: Floats, forecast: StudentMixture, *, context: int, rows: slice
) -> Predictions:
    """Rows of probabilities and forecasts that begin at row ``context``."""
    part = slice(rows.start - context, rows.stop - context)
    density = forecast.rows(part)
    return Predictions(
        rows, probabilities[part], density.mean, density.variance, density.log_density(market.next_returns[rows])
    )


def check_against_oracle(market: Market, found: Predictions) -> None:
    """Raises AssertionError where the predictions beat the oracle by more than luck, which is a leak."""
    states = market.states[found.rows]
    ours, best = (right_states(p, states) for p in (found.probabilities, market.filtered[found.rows]))
    assert_not_better(ours, best, what=f"state accuracy in {market.world.name}", block_bars=BLOCK_BARS)
    best_density = market.log_density[found.rows]
    what = f"log density in {market.world.name}"
    assert_not_better(found.log_density, best_density, what=what, block_bars=BLOCK_BARS)


def state_order(world: World, model: RegimeModel) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The model's states in the world's order: its own where that is by scale, else by its mean returns."""
    return np.argsort(model.mean_returns_bps) if world.by == "mean" else np.arange(model.states)


def _scores(market: Market, found: Predictions, relabelled_share: float) -> Scores:
    check_against_oracle(market, found)
    rows, best = found.rows, market.forecast.rows(found.rows)
    filtered, states = market.filtered[rows], market.states[rows]
    by_mean = market.world.by == "mean"
    return Scores(
        accuracy=float(right_states(found.probabilities, states).mean()),
        oracle_accuracy=float(right_states(filtered, states).mean()),
        divergence=divergence(filtered, found.probabilities),
        mean_r2=oracle_r2(found.mean, best.mean),
        log_variance_r2=np.nan if by_mean else oracle_r2(np.log(found.variance), np.log(best.variance)),
        log_density_lost=float(np.nanmean(market.log_density[rows] - found.log_density)),
        switches=switches_per_1000(found.probabilities.argmax(axis=1)),
        oracle_switches=switches_per_1000(filtered.argmax(axis=1)),
        relabelled=relabelled_share,
    )


def _joined(months: Sequence[Predictions]) -> Predictions:
    return Predictions(
        slice(months[0].rows.start, months[-1].rows.stop),
        np.concatenate([month.probabilities for month in months]),
        np.concatenate([month.mean for month in months]),
        np.concatenate([month.variance for month in months]),
        np.concatenate([month.log_density for month in months]),
    )


def _relabelled_monthly(market: Market, models: Sequence[RegimeModel], windows: Sequence[slice]) -> float:
    """Mean over months of the share of bars in both windows whose state index the refit changed."""
    labels = [
        np.argsort(state_order(market.world, model))[model.filter(market.bars.iloc[window]).index]
        for model, window in zip(models, windows, strict=True)
    ]
    changed = [relabelled(early[MONTH_BARS:], late[:-MONTH_BARS]) for early, late in pairwise(labels)]
    return float(np.mean(changed))
