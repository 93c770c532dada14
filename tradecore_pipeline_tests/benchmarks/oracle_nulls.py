"""What a model must not find: order in shuffled bars, direction where there is none, anything in the future."""

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.direction import DirectionEvidence, direction_evidence
from tradecore_pipeline.models.kernels import expectation
from tradecore_pipeline.models.regimes import RegimeModel
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.validation.leaks import assert_causal
from tradecore_pipeline.validation.oracle_scores import paired_z
from tradecore_pipeline_tests.benchmarks.oracle_runs import (
    BLOCK_BARS,
    CARRY_BARS,
    EMISSION,
    HOUR,
    Predictions,
    check_against_oracle,
    fit,
    predictions,
    state_order,
)
from tradecore_pipeline_tests.benchmarks.oracle_worlds import Market, World, shuffled

CONSTANT_PARTS = 200
"""Forecasts of the training window, evenly spaced, that the constant density is the average of."""


def skill_in_shuffled(market: Market, *, train_bars: int, restarts: int, seed: int) -> float:
    """Standard errors by which the model beats a constant density on shuffled bars, where nothing can.

    The constant is the average of the model's own forecasts over the training window: a mixture of the same shape
    that knows no time. NaN where no model could be fitted.
    """
    bars = shuffled(market, seed=seed)
    try:
        model = fit(market.world, bars.iloc[:train_bars], restarts=restarts, seed=seed)
    except ModelFitError:
        return np.nan
    forecast = model.forecast(bars, model.filter(bars))
    returns = next_percent_returns(bars, HOUR)[train_bars:-1]
    ours = forecast.rows(slice(train_bars, -1)).log_density(returns)
    return paired_z(ours, _constant(forecast, train_bars).log_density(returns), block_bars=BLOCK_BARS)


def direction_in_shuffled(world: World, bars: pd.DataFrame, *, restarts: int, seed: int) -> DirectionEvidence:
    """What the evidence of direction says of one training window of shuffled bars."""
    return direction_evidence(
        bars,
        timeframe=HOUR,
        states=world.states,
        restarts=restarts,
        emission=EMISSION,
        features=(),
        carry_bars=CARRY_BARS,
        seed=seed,
    )


def check_future_does_not_matter(model: RegimeModel, market: Market, *, cut: int) -> None:
    """Raises AssertionError unless filter and forecast before ``cut`` are bit for bit those without later bars."""

    def published(bars: pd.DataFrame) -> Floats:
        filtered = model.filter(bars)
        forecast = model.forecast(bars, filtered)
        return np.column_stack((filtered.probabilities, filtered.log_density, forecast.mean, forecast.variance))

    assert_causal(published, market.bars, (cut,), tolerance=0.0)


def hindsight(model: RegimeModel, market: Market, *, rows: slice) -> Predictions:
    """A planted leak: what the model says at ``rows`` if smoothed probabilities stand in for filtered ones."""
    filtered = model.filter(market.bars)
    smoothed = expectation(model.startprob, model.transmat, model.log_likelihood_of(market.bars))[1]
    probabilities = smoothed[:, state_order(market.world, model)]
    return predictions(market, probabilities, model.forecast(market.bars, filtered), context=0, rows=rows)


def leak_is_caught(model: RegimeModel, market: Market, *, rows: slice) -> bool:
    """Whether the planted leak is told from an honest model."""
    try:
        check_against_oracle(market, hindsight(model, market, rows=rows))
    except AssertionError:
        return True
    return False


def _constant(forecast: StudentMixture, rows: int) -> StudentMixture:
    chosen = forecast.rows(np.linspace(1, rows - 2, CONSTANT_PARTS).astype(np.intp))
    return StudentMixture(
        chosen.weights.reshape(1, -1) / CONSTANT_PARTS,
        chosen.locations.reshape(1, -1),
        chosen.scales.reshape(1, -1),
        chosen.dfs.reshape(1, -1),
    )
