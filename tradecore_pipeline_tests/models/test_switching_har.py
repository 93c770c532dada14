import json

import numpy as np
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.switching_har import SwitchingHar, fit_switching_har
from tradecore_pipeline.validation.leaks import assert_causal
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")


@pytest.fixture(scope="module")
def fitted(market: SimulatedMarket) -> SwitchingHar:
    window = market.bars.iloc[:2000]
    return fit_switching_har(window, timeframe=HOUR, seasonal=SeasonalScale.fit(window), states=2, restarts=3, seed=7)


def test_its_forecast_does_not_know_the_future(market: SimulatedMarket, fitted: SwitchingHar) -> None:
    def moments(rows: object) -> Floats:
        density = fitted.forecast(rows)  # pyright: ignore[reportArgumentType] (bars)
        return np.column_stack((density.mean, density.volatility))

    assert_causal(moments, market.bars, range(200, 3000, 571), tolerance=1e-12)


def test_it_beats_a_constant_density_and_needs_a_week(market: SimulatedMarket, fitted: SwitchingHar) -> None:
    forecast = fitted.forecast(market.bars)
    assert np.isnan(forecast.volatility[:167]).all()
    assert np.isfinite(forecast.volatility[167:]).all()
    labels = next_percent_returns(market.bars, HOUR)[2000:-1]
    scores = forecast.rows(slice(2000, 2999)).log_density(labels)
    assert scores.mean() > np.log(1 / np.std(labels)) - 1.4189 + 0.1


def test_it_is_stored_and_read_back_exactly(market: SimulatedMarket, fitted: SwitchingHar) -> None:
    copy = SwitchingHar.from_parts(json.loads(json.dumps(fitted.config())), fitted.to_arrays())
    np.testing.assert_array_equal(copy.forecast(market.bars).volatility, fitted.forecast(market.bars).volatility)
