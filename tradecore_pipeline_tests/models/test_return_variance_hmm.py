from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models import return_variance
from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, Floats, student_t_log_density
from tradecore_pipeline.models.kernels import forward_filter
from tradecore_pipeline.models.return_variance import fit_return_variance
from tradecore_pipeline.models.return_variance_hmm import FLOOR, ReturnVarianceHMM, scaled
from tradecore_pipeline.models.return_variance_kernels import JointParameters, joint_log_likelihood, sums
from tradecore_pipeline.models.return_variance_step import (
    VARIANCE_DF_BOUNDS,
    AnchorPrior,
    Floors,
    newton_step,
    own_directions,
)
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate

TRUTH = JointParameters(
    means=np.array([0.02, -0.05]),
    return_scales=np.array([0.3, 0.9]),
    variance_levels=np.array([0.1, 0.8]),
    dfs=np.array([6.0, 9.0]),
    variance_dfs=np.array([20.0, 40.0]),
)
CARRY = np.array([0.4])


def simulated(rows: int, seed: int) -> tuple[Floats, Floats]:
    """Bars of a two-state world in which the last bar's variance carries on, and its states."""
    random = np.random.default_rng(seed)
    states = (np.cumsum(random.random(rows) < 0.01) % 2).astype(np.int64)
    X, left = np.zeros((rows, 3)), 0.0
    for t, k in enumerate(states):
        scale, nu, n = np.exp(CARRY[0] * left), TRUTH.dfs[k], TRUTH.variance_dfs[k]
        activity = random.chisquare(nu) / nu
        variance = scale * TRUTH.variance_levels[k] * random.chisquare(n) / n / activity
        value = np.sqrt(scale) * (TRUTH.means[k] + TRUTH.return_scales[k] * random.normal() / np.sqrt(activity))
        X[t] = value, variance, left
        left = np.log(variance) + 2
    return X, states.astype(np.float64)


@pytest.fixture(scope="module")
def world() -> tuple[Floats, Floats]:
    return simulated(4000, seed=5)


def begun(X: Floats, seed: int = 0, states: int = 2, **options: Any) -> ReturnVarianceHMM:
    model = ReturnVarianceHMM(states, random_state=seed, n_iter=1, tol=0.0, **options)
    model.fit(X)
    model.init_params = ""
    return model


def likelihood_of(model: ReturnVarianceHMM, X: Floats) -> Floats:
    return joint_log_likelihood(*scaled(X, model.carry_), model.parameters)[0]


@pytest.mark.parametrize("known", ["both", "variance", "return"])
def test_the_density_is_the_integral_over_the_hidden_activity(known: str) -> None:
    r, v = 0.7, 0.35
    value, variance = (np.nan if known == "variance" else r), (np.nan if known == "return" else v)
    ours, _ = joint_log_likelihood(np.array([value]), np.array([variance]), np.zeros(1), TRUTH)
    for k in range(2):

        def joint(g: float, k: int = k) -> float:
            mu, scale, level, nu, n = (float(part[k]) for part in TRUTH)
            density = stats.gamma.pdf(g, nu / 2, scale=2 / nu)
            if known != "variance":
                density *= stats.norm.pdf(r, mu, scale / np.sqrt(g))
            if known != "return":
                density *= stats.gamma.pdf(v, n / 2, scale=2 * level / (n * g))
            return float(density)

        assert ours[0, k] == pytest.approx(np.log(integrate.quad(joint, 0, 20, limit=400)[0]), abs=1e-6)


def test_the_return_alone_is_a_student_t_and_a_carried_scale_only_scales() -> None:
    r, log_scale = np.array([0.3]), np.array([0.8])
    root = np.exp(-log_scale / 2)
    alone, _ = joint_log_likelihood(r * root, np.array([np.nan]), log_scale, TRUTH)
    expected = student_t_log_density(r, TRUTH.means / root, TRUTH.return_scales / root, TRUTH.dfs)
    np.testing.assert_allclose(alone[0], expected, rtol=1e-12)


def test_a_bar_that_shows_nothing_says_nothing() -> None:
    likelihood, _ = joint_log_likelihood(np.array([np.nan]), np.array([np.nan]), np.zeros(1), TRUTH)
    np.testing.assert_array_equal(likelihood, 0)


def test_newtons_step_ends_where_the_slope_is_zero(world: tuple[Floats, Floats]) -> None:
    X, states = world
    gamma = np.column_stack((states == 0, states == 1)).astype(np.float64)
    carried = np.ascontiguousarray(X[:, 2:])
    parameters, carry = TRUTH._replace(dfs=np.array([10.0, 5.0])), np.zeros(1)
    values: list[float] = []
    step = None
    for _ in range(30):
        rows = scaled(X, carry)
        likelihood, logs = joint_log_likelihood(*rows, parameters)
        values.append(float(np.vdot(gamma, likelihood)))
        moments, levels, spread = sums(rows[0], rows[1], carried, gamma, logs, parameters)
        curvature = (carried * spread[:, None]).T @ carried
        step = newton_step(
            parameters,
            carry,
            basis=own_directions(2, 1),
            moments=moments,
            levels=levels,
            curvature=curvature,
            floors=Floors(1e-9, 1e-9),
            prior=None,
        )
        parameters, carry = step.taken(1.0)
    assert step is not None
    assert np.abs(step.direction).max() < 1e-5
    assert values[-1] == pytest.approx(max(values), abs=1e-6)
    np.testing.assert_allclose(carry, CARRY, atol=0.05)
    for found, true in zip(parameters[1:], TRUTH[1:], strict=True):
        np.testing.assert_allclose(np.log(found), np.log(true), atol=0.25)


@pytest.mark.parametrize("start", ["size", "return"])
def test_em_never_lowers_the_likelihood(world: tuple[Floats, Floats], start: str) -> None:
    X = world[0][:1500]
    model, previous = begun(X, seed=3, start=start), -np.inf
    for _ in range(60):
        model.fit(X)
        score = model.monitor_.history[-1]
        assert score >= previous - 1e-9 * abs(score)
        previous = score


def test_em_never_lowers_the_posterior_either(world: tuple[Floats, Floats]) -> None:
    X = world[0][:1500]
    prior = AnchorPrior.of(TRUTH, np.array([300.0, 300.0]))
    model, previous = begun(X, prior=prior, transmat_prior=np.full((2, 2), 20.0)), -np.inf
    for _ in range(40):
        model.fit(X)
        assert model.monitor_.history[-1] >= previous - 1e-9 * abs(previous if np.isfinite(previous) else 1)
        previous = model.monitor_.history[-1]


def test_a_strong_prior_holds_the_scales_where_the_anchor_has_them(world: tuple[Floats, Floats]) -> None:
    X, far = world[0][:1000], TRUTH._replace(variance_levels=3 * TRUTH.variance_levels)
    found = []
    for bars in (1e-6, 1e6):
        model = ReturnVarianceHMM(2, prior=AnchorPrior.of(far, np.full(2, bars)), init_params="", n_iter=30)
        model.startprob_, model.transmat_ = np.full(2, 0.5), np.array([[0.99, 0.01], [0.01, 0.99]])
        model.set_emission(TRUTH, CARRY)
        model.fit(X)
        found.append(np.log(model.variance_levels_ / far.variance_levels))
    assert np.abs(found[0]).min() > 0.5
    assert np.abs(found[1]).max() < 0.05


def test_it_converges_in_dozens_of_iterations(world: tuple[Floats, Floats]) -> None:
    model = ReturnVarianceHMM(2, random_state=1, n_iter=200, tol=1e-4)
    model.fit(world[0])
    assert len(model.monitor_.history) < 60


def test_planted_parameters_and_states_are_found(world: tuple[Floats, Floats]) -> None:
    X, states = world
    model = ReturnVarianceHMM(2, random_state=2, n_iter=100, tol=1e-3)
    model.fit(X)
    order = np.argsort(model.variance_levels_)
    np.testing.assert_allclose(np.log(model.variance_levels_[order] / TRUTH.variance_levels), 0, atol=0.15)
    np.testing.assert_allclose(np.log(model.return_scales_[order] / TRUTH.return_scales), 0, atol=0.15)
    np.testing.assert_allclose(model.carry_, CARRY, atol=0.06)
    filtered, _ = forward_filter(model.startprob_, model.transmat_, likelihood_of(model, X))
    assert (order.argsort()[filtered.argmax(axis=1)] == states).mean() > 0.97


def test_states_that_differ_in_mean_only_are_found_by_the_starts_that_look_at_returns() -> None:
    random = np.random.default_rng(8)
    states = np.cumsum(random.random(4000) < 0.02) % 2
    variance = 0.2 * random.chisquare(40, 4000) / 40
    X = np.column_stack((np.where(states, 0.25, -0.25) + np.sqrt(0.2) * random.normal(size=4000), variance))
    model = ReturnVarianceHMM(2, random_state=1, start="return", n_iter=200, tol=1e-3)
    model.fit(X)
    filtered, _ = forward_filter(model.startprob_, model.transmat_, likelihood_of(model, X))
    found = filtered.argmax(axis=1) == int(model.means_.argmax())
    assert (found == states.astype(np.bool_)).mean() > 0.8


def test_hmmlearns_own_score_agrees_with_the_kernels(world: tuple[Floats, Floats]) -> None:
    model = begun(world[0])
    likelihood = likelihood_of(model, world[0])
    _, log_density = forward_filter(model.startprob_, model.transmat_, likelihood)
    assert model.score(world[0]) == pytest.approx(log_density.sum(), rel=1e-10)


def test_a_sample_looks_like_the_model() -> None:
    model = ReturnVarianceHMM(2)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.eye(2)
    model.set_emission(TRUTH, CARRY)
    X, states = model.sample(4000, random_state=np.random.RandomState(4))
    assert set(states) == {0}
    assert np.median(X[:, 1]) == pytest.approx(TRUTH.variance_levels[0], rel=0.2)
    assert stats.kstest((X[:, 0] - 0.02) / 0.3, stats.t(6.0).cdf).pvalue > 0.01


def test_floors_and_bounds_hold_even_for_repeated_values() -> None:
    random = np.random.default_rng(1)
    X = np.column_stack((random.normal(size=1200), random.chisquare(3, 1200)))
    X[::3] = 0.0, 1e-3 * np.median(X[:, 1])
    model = ReturnVarianceHMM(3, random_state=0, n_iter=60)
    model.fit(X)
    assert model.return_scales_.min() >= 0.999 * model.floors_.return_scale
    assert model.variance_levels_.min() >= 0.999 * FLOOR**2 * np.median(X[:, 1])
    low, high = VARIANCE_DF_BOUNDS
    assert ((model.dfs_ > 0.999 * DF_FLOOR) & (model.dfs_ < 1.001 * DF_CAP)).all()
    assert ((model.variance_dfs_ > 0.999 * low) & (model.variance_dfs_ < 1.001 * high)).all()


def test_wrong_parameters_are_refused() -> None:
    model = ReturnVarianceHMM(2)
    model.startprob_, model.transmat_ = np.full(2, 0.5), np.full((2, 2), 0.5)
    model.set_emission(TRUTH._replace(dfs=np.array([3.0, -1.0])), CARRY)
    with pytest.raises(ValueError, match="dfs_ must be positive"):
        model.score(np.zeros((3, 3)))


def test_one_bar_far_out_neither_underflows_nor_takes_a_state(world: tuple[Floats, Floats]) -> None:
    X = world[0].copy()
    X[700, :2] = 80 * 0.9, (80 * 0.9) ** 2
    model = ReturnVarianceHMM(2, random_state=2, n_iter=100, tol=1e-3)
    model.fit(X)
    assert np.isfinite(model.monitor_.history[-1])
    assert model.occupancy(X, None).min() > 0.2


def fit(market: SimulatedMarket, states: int, rows: int = 3000) -> return_variance.ReturnVarianceEmission:
    bars = market.bars.iloc[:rows]
    fitted = fit_return_variance(
        bars,
        timeframe=Timeframe("1h"),
        seasonal=SeasonalScale.fit(bars),
        states=states,
        restarts=4,
        carry_bars=(1, 3),
        persistence=0.1,
        seed=7,
        anchor=None,
    )
    assert isinstance(fitted.emission, return_variance.ReturnVarianceEmission)
    return fitted.emission


def test_a_world_without_carry_is_seen_to_have_none(market: SimulatedMarket) -> None:
    assert np.abs(fit(market, 3).carry).max() < 0.1


def test_a_world_of_means_gets_lasting_states_instead_of_alternating_ones() -> None:
    random = np.random.default_rng(3)
    states = np.cumsum(random.random(6000) < 0.02) % 2
    steps = (np.where(states, 0.3, -0.3)[:, None] / 60 + random.normal(size=(6000, 60)) / np.sqrt(60)) * 0.006
    path = np.cumsum(steps.ravel()).reshape(6000, 60)
    market = simulate(6000, scales=(0.6, 0.6), stay=0.98, df=50.0, seed=1, frequency="1h", minutes=60)
    bars = market.bars.assign(
        high=np.exp(path.max(axis=1)), low=np.exp(path.min(axis=1)), close=np.exp(path[:, -1]),
        realized_variance=(steps**2).sum(axis=1),
    )  # fmt: skip
    fitted = fit_return_variance(
        bars, timeframe=Timeframe("1h"), seasonal=SeasonalScale.fit(bars), states=3, restarts=4, carry_bars=(1, 3),
        persistence=0.1, seed=7, anchor=None,
    )  # fmt: skip
    assert np.diag(fitted.transmat).min() > 0.9


def test_a_state_that_dies_is_named(market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(return_variance, "MINIMUM_OCCUPANCY", 0.6)
    with pytest.raises(ModelFitError, match=r"state \d of 2 held .*fewer states"):
        fit(market, 2)


def test_too_few_bars_are_refused(market: SimulatedMarket) -> None:
    with pytest.raises(ModelFitError, match="too few"):
        fit(market, 3, rows=40)


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_states_are_found_about_as_well_as_anyone_could(seed: int) -> None:
    market = simulate(6000, scales=(0.2, 0.6, 1.8), stay=0.985, df=5.0, seed=seed, frequency="1h", minutes=60)
    emission = fit(market, 3, rows=6000)
    likelihood = emission.log_likelihood(market.bars, None, timeframe=Timeframe("1h"))
    filtered, _ = forward_filter(np.full(3, 1 / 3), market.transmat, likelihood)
    order = np.argsort(emission.state_scales).argsort()
    assert (order[filtered.argmax(axis=1)] == market.states).mean() > 0.9
