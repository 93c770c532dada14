import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import OptimizeResult, check_grad

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models import regime_density
from tradecore_pipeline.models.density import DF_FLOOR, Floats, StudentMixture
from tradecore_pipeline.models.har import horizon_bars
from tradecore_pipeline.models.observations import VarianceScaling
from tradecore_pipeline.models.regime_density import (
    Calibration,
    RegimeDensity,
    calibrate,
    fit_regime_density,
    negative_mean_score,
)
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.validation.leaks import assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")
WINDOW = 2000


def fit(bars: pd.DataFrame, emission: str = "return_variance", anchor: RegimeModel | None = None) -> RegimeModel:
    return fit_regimes(
        bars, timeframe=HOUR, states=3, restarts=4, emission=emission, features=("scaled_return",), carry_bars=(1, 3),
        seed=7, anchor=anchor,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(market: SimulatedMarket) -> RegimeModel:
    return fit(market.bars.iloc[:WINDOW])


@pytest.fixture
def density(model: RegimeModel) -> RegimeDensity:
    assert model.density is not None
    return model.density


def alone(model: RegimeModel, bars: pd.DataFrame) -> StudentMixture:
    """What the states say of the next bar without the calibration."""
    ahead = model.filter(bars).probabilities @ model.transmat
    return StudentMixture(ahead, *model.emission.next_return(bars, timeframe=HOUR))


def mixture(random: np.random.Generator, rows: int) -> StudentMixture:
    weights = random.dirichlet((1.0, 2.0), rows)
    scales = np.exp(random.normal(0, 0.4, (rows, 1)) + np.log([0.4, 1.5]))
    return StudentMixture(weights, np.tile([0.1, -0.2], (rows, 1)), scales, np.tile([4.5, 9.0], (rows, 1)))


def drawn(states: StudentMixture, random: np.random.Generator, *, scale: Floats, tails: float) -> Floats:
    """Returns from ``states`` whose scales are multiplied by ``scale`` and degrees of freedom by ``tails``."""
    k = (random.random(len(scale)) > states.weights[:, 0]).astype(int)
    rows = np.arange(len(scale))
    noise = random.standard_t(tails * states.dfs[rows, k])
    return states.locations[rows, k] + scale * states.scales[rows, k] * noise


def test_the_gradient_is_that_of_the_score() -> None:
    random = np.random.default_rng(2)
    states, labels = mixture(random, 300), random.standard_t(4, 300)
    memory, season = random.normal(size=(2, 300, 1))
    logs = np.log(states.scales) - season
    at = np.array([0.1, 0.7, 0.3, 0.2, 0.6])

    def part(packed: Floats, which: int) -> Floats:
        return negative_mean_score(Calibration(*packed), states, season, logs, memory, labels)[which]  # pyright: ignore[reportReturnType] (a score is a number)

    assert check_grad(lambda p: part(p, 0), lambda p: part(p, 1), at) < 1e-6


def test_states_that_are_right_stay_as_they_are() -> None:
    random = np.random.default_rng(3)
    states = mixture(random, 20_000)
    labels = drawn(states, random, scale=np.ones(20_000), tails=1.0)
    found = calibrate(states, np.zeros((20_000, 1)), random.normal(size=(20_000, 1)), labels)
    np.testing.assert_allclose(found, (0, 1, 0, 0, 1), atol=0.1)


def test_a_memory_and_tails_that_the_states_lack_are_found() -> None:
    random = np.random.default_rng(4)
    states, memory = mixture(random, 20_000), random.normal(0, 0.5, (20_000, 1))
    labels = drawn(states, random, scale=np.exp(0.3 + 0.8 * memory[:, 0]), tails=0.7)
    found = calibrate(states, np.zeros((20_000, 1)), memory, labels)
    np.testing.assert_allclose(found, (0.3, 1, 0.8, np.log(0.7), 1), atol=0.15)


def test_no_part_counts_less_than_nothing_and_tails_keep_their_floor() -> None:
    random = np.random.default_rng(5)
    states, memory = mixture(random, 3000), random.normal(0, 0.5, (3000, 1))
    labels = np.exp(-0.9 * memory[:, 0]) * random.standard_t(2.2, 3000)
    found = calibrate(states, np.zeros((3000, 1)), memory, labels)
    assert found.memory == 0
    assert found.states >= 0
    scaling = VarianceScaling(SeasonalScale(np.zeros((2, 24))), 1e-3, (1,), np.zeros(1))
    frame = pd.DataFrame(
        {"realized_variance": np.full(3000, 1e-5), "minutes": 60.0},
        index=pd.date_range("2022-01-03", periods=3000, freq="1h", tz="UTC", unit="ms"),
    )
    forecast = RegimeDensity(scaling, np.ones(1), found).of(states, frame, timeframe=HOUR)
    assert forecast.dfs.min() >= DF_FLOOR
    assert np.isfinite(forecast.volatility).all()


def test_a_forecast_does_not_know_its_future(market: SimulatedMarket, model: RegimeModel) -> None:
    def moments(bars: pd.DataFrame) -> Floats:
        forecast = model.forecast(bars, model.filter(bars))
        return np.column_stack((forecast.mean, forecast.scales))

    assert_causal(moments, market.bars, range(2, 3000, 271), tolerance=1e-12)
    assert_future_does_not_matter(moments, market.bars, range(2, 3000, 571), seed=3, tolerance=1e-12)


def test_the_states_are_what_they_are_without_it(
    market: SimulatedMarket, model: RegimeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradecore_pipeline.models.regimes.fit_regime_density", lambda *_, **__: None)
    plain = fit(market.bars.iloc[:WINDOW])
    assert plain.density is None
    np.testing.assert_array_equal(plain.filter(market.bars).probabilities, model.filter(market.bars).probabilities)
    forecast, states = plain.forecast(market.bars, plain.filter(market.bars)), alone(model, market.bars)
    np.testing.assert_array_equal(forecast.scales, states.scales)


def test_it_costs_nothing_where_states_say_everything(market: SimulatedMarket, model: RegimeModel) -> None:
    later, labels = slice(WINDOW, 2999), next_percent_returns(market.bars, HOUR)[WINDOW:-1]
    ours = model.forecast(market.bars, model.filter(market.bars)).rows(later).log_density(labels)
    states = alone(model, market.bars).rows(later).log_density(labels)
    assert ours.mean() > states.mean() - 0.003


def test_it_remembers_what_three_states_cannot() -> None:
    random = np.random.default_rng(8)
    slow = np.zeros(6000)
    for t in range(1, 6000):
        slow[t] = 0.97 * slow[t - 1] + random.normal(0, 0.35)
    # What comes and goes within the bar hides the slow part from one bar, and not from a day of them.
    log_variance = slow + random.normal(0, 1, 6000)
    steps = random.normal(size=(6000, 60)) * (np.exp(log_variance / 2) * 0.005 / np.sqrt(60))[:, None]
    paths = np.cumsum(steps.ravel()).reshape(6000, 60)
    index = pd.date_range("2022-01-03", periods=6000, freq="1h", tz="UTC", name="ts_open", unit="ms")
    ends = {"open": paths[:, 0], "high": paths.max(axis=1), "low": paths.min(axis=1), "close": paths[:, -1]}
    bars = pd.DataFrame({name: 20_000 * np.exp(path) for name, path in ends.items()}, index=index)
    bars = bars.assign(volume=1.0, minutes=60.0, realized_variance=(steps**2).sum(axis=1))
    fitted = fit(bars.iloc[:4000])
    assert fitted.density is not None
    assert fitted.density.calibration.memory > 0.3
    later, labels = slice(4000, 5999), next_percent_returns(bars, HOUR)[4000:-1]
    ours = fitted.forecast(bars, fitted.filter(bars)).rows(later).log_density(labels)
    states = alone(fitted, bars).rows(later).log_density(labels)
    assert ours.mean() > states.mean() + 0.003


def test_it_is_stored_and_read_back_exactly(market: SimulatedMarket, model: RegimeModel) -> None:
    copy = RegimeModel.from_parts(json.loads(json.dumps(model.config())), model.to_arrays())
    ours, theirs = (one.forecast(market.bars, one.filter(market.bars)) for one in (model, copy))
    for name in ("weights", "locations", "scales", "dfs"):
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), err_msg=name)


def test_a_model_stored_before_there_was_one_forecasts_by_its_states(
    market: SimulatedMarket, model: RegimeModel
) -> None:
    config = {name: value for name, value in model.config().items() if name != "density"}
    arrays = {name: value for name, value in model.to_arrays().items() if not name.startswith("density_")}
    copy = RegimeModel.from_parts(config, arrays)
    assert copy.density is None
    found = copy.forecast(market.bars, copy.filter(market.bars))
    np.testing.assert_array_equal(found.scales, alone(model, market.bars).scales)


def test_the_memory_holds_the_states_carry_and_the_horizons_of_har(density: RegimeDensity) -> None:
    assert set(density.scaling.carry_bars) == {1, 3, *horizon_bars(HOUR)}
    assert density.carry.shape == (len(density.scaling.carry_bars),)


def test_a_short_window_and_features_leave_the_states_alone(market: SimulatedMarket, model: RegimeModel) -> None:
    scaling = VarianceScaling.fit(
        market.bars, seasonal=SeasonalScale.fit(market.bars), carry_bars=(1, 3), timeframe=HOUR
    )
    short = market.bars.iloc[:300]
    assert fit_regime_density(alone(model, short), short, timeframe=HOUR, scaling=scaling) is None
    assert fit(market.bars.iloc[:WINDOW], emission="student_t").density is None


@pytest.mark.parametrize(
    ("spoiled", "value", "note"),
    [
        (
            "minimize",
            lambda *_, **__: OptimizeResult(x=np.ones(5), fun=0.5, success=False, message="ABNORMAL"),
            "ABNORMAL",
        ),
        (
            "minimize",
            lambda *_, **__: OptimizeResult(x=np.full(5, np.nan), fun=np.nan, success=True, message=""),
            "no opt",
        ),
        ("_ITERATIONS", 2, "did not settle in 2 steps"),
    ],
)
def test_a_fit_that_does_not_converge_leaves_the_states_alone_and_says_so(
    market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch, spoiled: str, value: object, note: str
) -> None:
    monkeypatch.setattr(regime_density, spoiled, value)
    plain = fit(market.bars.iloc[:WINDOW])
    assert plain.density is None
    assert note in plain.density_note
    copy = RegimeModel.from_parts(json.loads(json.dumps(plain.config())), plain.to_arrays())
    assert copy.density_note == plain.density_note
    found = copy.forecast(market.bars, copy.filter(market.bars))
    np.testing.assert_array_equal(found.scales, alone(plain, market.bars).scales)


def test_an_anchored_month_has_its_own(market: SimulatedMarket, model: RegimeModel) -> None:
    later = fit(market.bars.iloc[500 : 500 + WINDOW], anchor=model)
    assert later.density is not None
    assert model.density is not None
    assert later.density.calibration != model.density.calibration


def test_halts_and_gaps_leave_a_forecast(market: SimulatedMarket, model: RegimeModel) -> None:
    bars = market.bars.iloc[:700].drop(market.bars.index[300:310]).copy()
    frozen = bars.index[400:460]
    bars.loc[frozen, ["open", "high", "low", "close"]] = bars["close"].iloc[399]
    bars.loc[frozen, ["volume", "realized_variance"]] = 0.0
    forecast = model.forecast(bars, model.filter(bars))
    assert np.isfinite(forecast.volatility).all()
    assert (forecast.volatility > 0).all()
