import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models import student_t_hmm
from tradecore_pipeline.models.density import DF_CAP, DF_FLOOR, Floats
from tradecore_pipeline.models.kernels import forward_filter
from tradecore_pipeline.models.student_t_hmm import MINIMUM_OCCUPANCY, StudentTHMM, fit_student_t_hmm
from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate


def fitted(X: Floats, states: int = 3, seed: int = 7) -> StudentTHMM:
    return fit_student_t_hmm(X, np.array([len(X)]), states=states, restarts=6, seed=seed)


def with_parameters(model: StudentTHMM | GaussianHMM, market: SimulatedMarket) -> StudentTHMM | GaussianHMM:
    states = len(market.scales)
    model.startprob_ = np.full(states, 1 / states)
    model.transmat_ = market.transmat
    model.means_ = np.zeros((states, 1))
    return model


def test_hmmlearns_own_score_agrees_with_the_kernel(market: SimulatedMarket) -> None:
    X = market.returns[:, None]
    model = fitted(X)
    _, log_density = forward_filter(model.startprob_, model.transmat_, model._compute_log_likelihood(X))
    assert model._score_log(X=X, compute_posteriors=False)[0] == pytest.approx(log_density.sum(), rel=1e-10)
    assert model.score(X) == pytest.approx(log_density.sum(), rel=1e-14)


def test_many_degrees_of_freedom_are_a_gaussian_hmm(market: SimulatedMarket) -> None:
    X = np.clip(market.returns, -3, 3)[:, None]
    student = with_parameters(StudentTHMM(3), market)
    student.scales_, student.dfs_ = market.scales[:, None], np.full((3, 1), 1e7)
    gaussian = with_parameters(GaussianHMM(3, "diag"), market)
    gaussian.covars_ = market.scales[:, None] ** 2
    assert student.score(X) == pytest.approx(gaussian.score(X), rel=1e-5)


def test_em_never_lowers_the_likelihood(market: SimulatedMarket) -> None:
    X = market.returns[:800, None]
    model, previous = StudentTHMM(3, random_state=1, n_iter=1), -np.inf
    for _ in range(30):
        model.fit(X)
        model.init_params = ""
        score = model.monitor_.history[-1]
        assert score >= previous - 1e-8
        previous = score


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_states_are_found_about_as_well_as_with_the_true_parameters(seed: int) -> None:
    market = simulate(6000, scales=(0.2, 0.6, 1.8), stay=0.985, df=5.0, seed=seed, frequency="1h", minutes=60)
    X = market.returns[:, None]
    oracle = with_parameters(StudentTHMM(3), market)
    oracle.scales_, oracle.dfs_ = market.scales[:, None], np.full((3, 1), market.df)
    accuracy = []
    for model in (fitted(X), oracle):
        filtered, _ = forward_filter(model.startprob_, model.transmat_, model._compute_log_likelihood(X))
        accuracy.append((filtered.argmax(axis=1) == market.states).mean())
    assert accuracy[0] >= 0.97 * accuracy[1]
    assert accuracy[1] > 0.6


def test_states_come_in_order_of_scale_with_floors_held(market: SimulatedMarket) -> None:
    model = fitted(market.returns[:, None])
    assert (np.diff(model.scales_[:, 0]) > 0).all()
    assert ((model.dfs_ >= DF_FLOOR) & (model.dfs_ <= DF_CAP)).all()
    assert (model.scales_ >= model.floor_).all()


def test_the_same_seed_gives_the_same_model_to_the_last_bit(market: SimulatedMarket) -> None:
    one, two = fitted(market.returns[:, None]), fitted(market.returns[:, None])
    np.testing.assert_array_equal(one.transmat_, two.transmat_)
    np.testing.assert_array_equal(one.scales_, two.scales_)


def test_repeated_zeros_do_not_make_a_spike(market: SimulatedMarket) -> None:
    X = market.returns[:, None].copy()
    X[np.random.default_rng(0).random(len(X)) < 0.08] = 0.0
    model = fitted(X)
    assert model.scales_.min() >= 0.1 * np.subtract(*np.quantile(X, [0.75, 0.25])) / 1.349


def test_a_burst_of_outliers_does_not_become_a_state() -> None:
    X = np.random.default_rng(4).normal(size=(1000, 1))
    X[500:510] += 200.0
    assert fitted(X, states=2).occupancy(X, np.array([1000])).min() >= MINIMUM_OCCUPANCY


def test_one_80_sigma_bar_gets_no_state_of_its_own() -> None:
    random = np.random.default_rng(4)
    X = np.where(np.arange(1000) // 100 % 2, 0.5, 1.5)[:, None] * random.normal(size=(1000, 1))
    X[500] = 80.0
    model = fitted(X, states=2)
    np.testing.assert_allclose(model.scales_.ravel(), [0.5, 1.5], rtol=0.15)


def test_fits_whose_states_are_all_too_small_are_refused(
    market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student_t_hmm, "MINIMUM_OCCUPANCY", 0.6)
    with pytest.raises(ModelFitError, match="use fewer states"):
        fitted(market.returns[:, None], states=2)


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(ModelFitError, match="too few"):
        fitted(np.zeros((10, 1)))


def test_transition_priors_are_hmmlearns(market: SimulatedMarket) -> None:
    X = market.returns[:500, None]
    plain, prior = (StudentTHMM(2, transmat_prior=weight, random_state=3, n_iter=5) for weight in (1.0, 500.0))
    plain.fit(X)
    prior.fit(X)
    assert np.abs(prior.transmat_ - 0.5).max() < np.abs(plain.transmat_ - 0.5).max()


def test_two_features_are_fitted_with_their_own_tails(market: SimulatedMarket) -> None:
    log_variance = np.log(1e4 * market.bars["realized_variance"].to_numpy())
    X = np.column_stack((market.returns, log_variance))
    model = fitted(X)
    assert model.means_.shape == model.dfs_.shape == (3, 2)
    assert (np.diff(model.means_[:, 1]) > 0).all()
    sample, states = model.sample(100, random_state=np.random.RandomState(0))
    assert sample.shape == (100, 2)
    assert states.max() <= 2
