import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.published import published_rows
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline_tests.models.markets import SimulatedMarket


@pytest.fixture(scope="module")
def model(market: SimulatedMarket) -> RegimeModel:
    return fit_regimes(
        market.bars.iloc[:2000],
        timeframe=Timeframe("1h"),
        states=3,
        restarts=2,
        emission="return_variance",
        features=(),
        carry_bars=(1, 3),
        seed=7,
    )


def rows(model: RegimeModel, bars: pd.DataFrame, threshold: float) -> pd.DataFrame:
    filtered = model.filter(bars)
    forecast = model.forecast(bars, filtered)
    return published_rows(
        bars,
        model=model,
        filtered=filtered,
        direction_significant=False,
        forecast=forecast,
        har=forecast,
        tick=0.01,
        label_threshold=threshold,
        timeframe=model.timeframe,
    )


def test_held_labels_change_less_often_and_only_to_a_likely_state(market: SimulatedMarket, model: RegimeModel) -> None:
    filtered, held = model.filter(market.bars), rows(model, market.bars, 0.8)["held_index"].to_numpy()
    changed = np.flatnonzero(np.diff(held)) + 1
    assert 0 < len(changed) < np.count_nonzero(np.diff(filtered.index))
    assert (filtered.probabilities[changed, held[changed]] > 0.8).all()


def test_rows_do_not_know_their_future(market: SimulatedMarket, model: RegimeModel) -> None:
    whole = rows(model, market.bars, 0.6)
    for cut in (2, 700, 2100):
        early = rows(model, market.bars.iloc[:cut], 0.6)
        for name in ("regime_index", "held_index", "trend", "confidence", "forecast_volatility", "log_score"):
            np.testing.assert_array_equal(early[name], whole[name].iloc[:cut], err_msg=name)


def test_scores_are_those_of_the_forecast_that_stood_before_the_bar(
    market: SimulatedMarket, model: RegimeModel
) -> None:
    found = rows(model, market.bars, 0.6)
    forecast = model.forecast(market.bars, model.filter(market.bars))
    expected = forecast.rows(slice(None, -1)).log_density(percent_returns(market.bars, model.timeframe)[1:])
    assert np.isnan(found["log_score"].iloc[0])
    np.testing.assert_allclose(found["log_score"].iloc[1:], expected, atol=1e-3)
