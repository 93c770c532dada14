from dataclasses import replace
from datetime import date
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.oracle import (
    filter_minutes,
    forecast_minutes,
    forward,
    interval_log_likelihood,
    oracle_filter,
    oracle_forecast,
    state_accuracy,
)
from tradecore_pipeline.simulator.parameters import demo_parameters

PERPETUAL = Instrument.parse("binance:BTC/USDT:USDT")


@pytest.fixture(scope="module")
def long_market() -> SimulatedMarket:
    return SimulatedMarket(demo_parameters(), 21, start=date(2024, 1, 1), end=date(2024, 9, 1))


def test_forward_recursion_equals_brute_force_enumeration_of_paths() -> None:
    random = np.random.default_rng(0)
    log_likelihood = random.normal(scale=3, size=(5, 3)) - 800
    transition = random.dirichlet(np.ones(3), size=3)
    initial = random.dirichlet(np.ones(3))
    filtered = forward(log_likelihood, transition, initial=initial)
    for last in range(5):
        weights = np.zeros(3)
        for path in product(range(3), repeat=last + 1):
            weight = initial[path[0]] * np.prod([transition[a, b] for a, b in pairwise(path)])
            weights[path[-1]] += weight * np.exp(sum(log_likelihood[t, s] + 800 for t, s in enumerate(path)))
        np.testing.assert_allclose(filtered[last], weights / weights.sum(), rtol=1e-10)


@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_closed_form_likelihood_equals_the_integral_over_the_unseen_variance(count: int) -> None:
    parameters = demo_parameters()
    returns = np.random.default_rng(count).normal(scale=0.0009, size=count)
    pattern = np.array([1.3])
    ours = interval_log_likelihood(
        parameters,
        pattern,
        count=np.array([count]),
        total=np.array([returns.sum()]),
        total_square=np.array([(returns**2).sum()]),
    )
    freedom = parameters.degrees_of_freedom
    for state in range(3):
        mean, scale = parameters.mean_log_return[state] / 60, parameters.volatility[state] * 1.3
        shift = 5.0 * count  # keeps the integrand near one

        def joint(g: float, mean: float = mean, scale: float = scale, shift: float = shift) -> float:
            deviation = np.sqrt(scale**2 * (freedom - 2) / g / 60)
            log_density = stats.norm.logpdf(returns, mean, deviation).sum() + stats.chi2.logpdf(g, freedom)
            return float(np.exp(log_density - shift))

        integral = integrate.quad(joint, 1e-9, 200, limit=500, points=(0.1, 1, 3, 8, 20), epsabs=0)[0]
        assert ours[0, state] == pytest.approx(np.log(integral) + shift, abs=1e-6)


def test_the_oracle_is_good_but_not_perfect(long_market: SimulatedMarket) -> None:
    probabilities = oracle_filter(long_market, PERPETUAL)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert probabilities.index.equals(long_market.states(PERPETUAL).index)
    assert 0.85 < state_accuracy(probabilities, long_market.states(PERPETUAL)) < 0.98


def test_the_oracle_beats_filters_and_forecasts_of_wrong_parameters(long_market: SimulatedMarket) -> None:
    right, bars, states = long_market.parameters, long_market.bars(PERPETUAL), long_market.states(PERPETUAL)
    accuracy = state_accuracy(filter_minutes(bars, right), states)
    score = forecast_minutes(bars, right)["log_score"].mean()
    wrongs = (
        replace(right, volatility=tuple(1.5 * value for value in right.volatility)),
        replace(right, transition=((0.6, 0.2, 0.2), (0.2, 0.6, 0.2), (0.2, 0.2, 0.6))),
        replace(right, hour_pattern=tuple(reversed(right.hour_pattern)), weekend_factor=1.4),
    )
    for wrong in wrongs:
        assert accuracy > state_accuracy(filter_minutes(bars, wrong), states)
        assert score > forecast_minutes(bars, wrong)["log_score"].mean()


def test_oracle_uses_only_minutes_up_to_each_interval(long_market: SimulatedMarket) -> None:
    bars = long_market.bars(PERPETUAL)
    cut = bars.index[0] + pd.Timedelta(hours=1000)
    before = bars[bars.index < cut]
    for compute in (filter_minutes, forecast_minutes):
        whole = compute(bars, long_market.parameters)
        part = compute(before, long_market.parameters)
        pd.testing.assert_frame_equal(part, whole.loc[part.index])


def test_forecast_variance_is_calibrated_and_scores_sit_on_their_own_bar(long_market: SimulatedMarket) -> None:
    forecast = oracle_forecast(long_market, PERPETUAL)
    hourly = np.log(long_market.bars(PERPETUAL)["close"].resample("1h").last()).diff()
    surprise = (hourly.shift(-1) ** 2 / forecast["variance"]).dropna()
    assert surprise.mean() == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(forecast["log_variance"], np.log(forecast["variance"]))
    assert np.isnan(forecast["log_score"].iloc[0])
    # The 63-minute outage swallows one whole hour: neither it nor the hour after it has a close-to-close return.
    assert forecast["log_score"].iloc[1:].isna().sum() == hourly.iloc[1:].isna().sum()
    worst = forecast["log_score"].idxmin()
    assert abs(hourly[worst]) > 4 * np.sqrt(forecast["variance"].shift()[worst])


def test_predicted_density_integrates_to_one_in_percent() -> None:
    market = SimulatedMarket(demo_parameters(), 5, start=date(2024, 1, 1), end=date(2024, 1, 3))
    bars = market.bars(PERPETUAL)
    last = bars.index[-1].floor("h")
    close_before = bars["close"][last - pd.Timedelta(minutes=1)]
    grid = np.linspace(-12, 12, 241)
    inside = bars.index >= last

    def density(percent: float) -> float:
        changed = bars.copy()
        changed.loc[changed.index[inside][-1], "close"] = close_before * np.exp(percent / 100)
        return float(np.exp(forecast_minutes(changed, market.parameters)["log_score"].iloc[-1]))

    values = [density(percent) for percent in grid]
    assert integrate.simpson(values, grid) == pytest.approx(1, abs=0.002)
