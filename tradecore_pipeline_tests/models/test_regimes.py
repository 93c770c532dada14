import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.feature_emissions import StudentTEmission
from tradecore_pipeline.models.kernels import filter_step
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.return_variance import ReturnVarianceEmission
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.validation.differences import scrambled
from tradecore_pipeline.validation.leaks import assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")
BOTH = ("scaled_return", "log_realized_variance")


def fit(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    features: tuple[str, ...] = ("scaled_return",),
    emission: str = "student_t",
    anchor: RegimeModel | None = None,
) -> RegimeModel:
    return fit_regimes(
        bars,
        columns,
        timeframe=HOUR,
        states=3,
        restarts=4,
        emission=emission,
        features=features,
        carry_bars=(1, 3),
        seed=7,
        anchor=anchor,
    )


FAMILIES = [("return_variance", ()), ("student_t", ("scaled_return",)), ("student_t", BOTH), ("gaussian", BOTH)]


@pytest.fixture(scope="module", params=FAMILIES, ids=["joint", "return", "return+variance", "gaussian"])
def model(request: pytest.FixtureRequest, market: SimulatedMarket) -> RegimeModel:
    emission, features = request.param
    return fit(market.bars.iloc[:2000], features=features, emission=emission)


def test_filtered_probabilities_do_not_know_their_future(market: SimulatedMarket, model: RegimeModel) -> None:
    def probabilities(bars: pd.DataFrame) -> Floats:
        return model.filter(bars).probabilities

    assert_causal(probabilities, market.bars, range(1, 3000, 271), tolerance=0)
    assert_future_does_not_matter(probabilities, market.bars, range(2, 3000, 571), seed=3, tolerance=0)


@pytest.mark.parametrize(("emission", "features"), FAMILIES)
def test_a_fit_on_a_window_ignores_what_comes_after_it(
    market: SimulatedMarket, emission: str, features: tuple[str, ...]
) -> None:
    other = scrambled(market.bars, 1500, np.random.default_rng(5))
    assert (other["close"].iloc[1500:] != market.bars["close"].iloc[1500:]).all()
    one, two, longer = (
        fit(bars, emission=emission, features=features).to_arrays()
        for bars in (market.bars.iloc[:1500], other.iloc[:1500], market.bars.iloc[:1600])
    )
    for name, value in one.items():
        np.testing.assert_array_equal(two[name], value, err_msg=name)
    assert not np.array_equal(one["transmat"], longer["transmat"])


def test_bar_by_bar_equals_the_batch(market: SimulatedMarket, model: RegimeModel) -> None:
    bars = market.bars.iloc[:300]
    likelihood = model.log_likelihood_of(bars)
    probabilities = model.filter(bars).probabilities
    out, predicted = np.empty(model.states), model.startprob
    for t in range(300):
        filter_step(predicted, likelihood[t], out)
        np.testing.assert_allclose(out, probabilities[t], atol=1e-9)
        predicted = out @ model.transmat


def test_planted_regimes_are_found_out_of_sample(market: SimulatedMarket, model: RegimeModel) -> None:
    later = model.filter(market.bars).index[2000:]
    assert (later == market.states[2000:]).mean() > 0.75


def test_rows_sum_to_one_and_the_first_bar_says_nothing(market: SimulatedMarket, model: RegimeModel) -> None:
    filtered = model.filter(market.bars)
    np.testing.assert_allclose(filtered.probabilities.sum(axis=1), 1, atol=1e-12)
    if model.emission.features == ("scaled_return",):
        np.testing.assert_allclose(filtered.probabilities[0], model.startprob, atol=1e-12)
    assert list(filtered.frame.columns) == ["state_0", "state_1", "state_2"]
    np.testing.assert_array_equal(filtered.confidence, filtered.probabilities.max(axis=1))


def test_a_gap_moves_the_states_by_the_transitions_alone(market: SimulatedMarket) -> None:
    model = fit(market.bars.iloc[:2000])
    bars = market.bars.iloc[:500].drop(market.bars.index[300])
    filtered = model.filter(bars).probabilities
    np.testing.assert_allclose(filtered[300], filtered[299] @ model.transmat, atol=1e-12)


def test_the_forecast_density_beats_a_constant_one(market: SimulatedMarket, model: RegimeModel) -> None:
    labels = next_percent_returns(market.bars, HOUR)[2000:-1]
    forecast = model.forecast(market.bars, model.filter(market.bars)).rows(slice(2000, 2999))
    assert forecast.log_density(labels).mean() > np.log(1 / np.std(labels)) - 1.4189 + 0.1
    np.testing.assert_allclose(forecast.weights.sum(axis=1), 1, atol=1e-12)


def test_it_is_stored_and_read_back_exactly(market: SimulatedMarket, model: RegimeModel) -> None:
    copy = RegimeModel.from_parts(json.loads(json.dumps(model.config())), model.to_arrays())
    np.testing.assert_array_equal(copy.filter(market.bars).probabilities, model.filter(market.bars).probabilities)
    assert copy.log_likelihood == model.log_likelihood
    np.testing.assert_array_equal(copy.mean_returns_bps, model.mean_returns_bps)


def test_a_model_stored_before_there_were_families_still_loads(market: SimulatedMarket) -> None:
    model = fit(market.bars.iloc[:2000])
    config = {"timeframe": "1h", "features": ["scaled_return"], "states": 3}
    later = {"mean_return_intervals_bps", "volatilities_percent", "cold_gain"}
    arrays = {name: value for name, value in model.to_arrays().items() if name not in later}
    copy = RegimeModel.from_parts(config, arrays)
    np.testing.assert_array_equal(copy.filter(market.bars).probabilities, model.filter(market.bars).probabilities)
    assert np.isnan(copy.mean_return_intervals_bps).all()
    assert copy.mean_return_intervals_bps.shape == (3, 2)


def test_an_unknown_family_is_refused_and_the_known_ones_named(market: SimulatedMarket) -> None:
    with pytest.raises(UsageError, match="choose return_variance"):
        fit(market.bars, emission="poisson")


def test_feature_columns_are_standardised_by_the_training_window(market: SimulatedMarket) -> None:
    columns = pd.DataFrame({"volatility_14": 1e-3 * market.bars["realized_variance"].rolling(14).mean()})
    model = fit(market.bars.iloc[:2000], columns.iloc[:2000], features=("volatility_14",))
    assert isinstance(model.emission, StudentTEmission)
    assert model.emission.scaling.spread[0] != 1
    filtered = model.filter(market.bars, columns)
    np.testing.assert_allclose(filtered.probabilities[0], model.startprob, atol=1e-12)
    with pytest.raises(ValueError, match="scaled_return"):
        model.forecast(market.bars, filtered)


def test_a_missing_or_shifted_feature_is_an_error_that_names_it(market: SimulatedMarket) -> None:
    with pytest.raises(MissingInputError, match="rsi_14"):
        fit(market.bars, features=("rsi_14",))
    shifted = pd.DataFrame({"rsi_14": 50.0}, index=market.bars.index[1:])
    with pytest.raises(MissingInputError, match="index differs"):
        fit(market.bars, shifted, features=("rsi_14",))


def test_a_gap_still_shows_the_variance_of_the_bar_after_it(market: SimulatedMarket) -> None:
    model = fit(market.bars.iloc[:2000], emission="return_variance", features=())
    bars = market.bars.iloc[:500].drop(market.bars.index[300])
    likelihood = model.log_likelihood_of(bars)
    assert np.ptp(likelihood[300]) > 0
    assert np.isfinite(likelihood).all()


def test_states_are_in_order_of_scale(model: RegimeModel) -> None:
    assert (np.diff(model.volatilities_percent) > 0).all()
    if isinstance(model.emission, ReturnVarianceEmission):
        assert (np.diff(model.emission.state_scales) > 0).all()


@pytest.mark.parametrize("emission", ["student_t", "gaussian"])
@pytest.mark.parametrize("features", [tuple(reversed(BOTH)), ("noise", "scaled_return")], ids=["variance", "noise"])
def test_calm_is_the_calmest_state_whichever_feature_comes_first(
    market: SimulatedMarket, emission: str, features: tuple[str, ...]
) -> None:
    # Where the market moves most, the first feature moves least.
    spread = np.array([3.0, 1.0, 0.3])[market.states]
    noise = spread * np.random.default_rng(6).normal(size=len(spread))
    columns = pd.DataFrame({"noise": noise}, index=market.bars.index)
    model = fit(market.bars.iloc[:2000], columns.iloc[:2000], features=features, emission=emission)
    assert (np.diff(model.volatilities_percent) > 0).all()
    assert (model.filter(market.bars, columns).index[2000:] == market.states[2000:]).mean() > 0.75


def test_what_it_reports_about_states_adds_up(market: SimulatedMarket, model: RegimeModel) -> None:
    model = fit(market.bars, emission=model.emission.kind, features=model.emission.features)
    low, high = model.mean_return_intervals_bps.T
    assert ((low < model.mean_returns_bps) & (model.mean_returns_bps < high)).all()
    np.testing.assert_allclose(model.expected_durations, 1 / (1 - np.diag(model.transmat)))
    assert model.occupancy.sum() == pytest.approx(1)
    mean = (model.occupancy * model.mean_returns_bps).sum()
    assert mean == pytest.approx(100 * np.nanmean(np.r_[np.nan, market.returns[1:]]), abs=1e-6)
    np.testing.assert_allclose(model.startprob @ model.transmat, model.startprob, atol=1e-9)


@pytest.mark.parametrize("hours", [1, 24])
def test_a_halt_shows_no_state_and_costs_none(market: SimulatedMarket, hours: int) -> None:
    choices: dict[str, Any] = {"timeframe": Timeframe("1h"), "states": 3, "restarts": 4, "seed": 7}
    choices |= {"emission": "return_variance", "features": (), "carry_bars": (1, 3)}
    whole = fit_regimes(market.bars, **choices)
    halted = market.bars.copy()
    frozen = halted.index[1000 : 1000 + hours]
    halted.loc[frozen, ["open", "high", "low", "close"]] = halted["close"].iloc[999]
    halted.loc[frozen, ["volume", "realized_variance"]] = 0.0
    model = fit_regimes(halted, **choices)
    np.testing.assert_allclose(model.occupancy, whole.occupancy, atol=0.05)
    before, inside = whole.filter(halted).probabilities[[999, 1000]]
    np.testing.assert_allclose(inside, before @ whole.transmat, atol=1e-12)
