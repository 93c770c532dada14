import numpy as np
import pytest
from hmmlearn import hmm
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models import gaussian_hmm
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.gaussian_hmm import GaussianHMM, clip_outliers, fit_gaussian_hmm
from tradecore_pipeline.models.restarts import MINIMUM_OCCUPANCY

KINDS = ("diag", "full")


def observations(seed: int, rows: int = 1500, features: int = 2) -> Floats:
    """Three planted states that last a hundred rows, of different scales and correlations."""
    random = np.random.default_rng(seed)
    states = np.repeat(random.integers(3, size=rows // 100 + 1), 100)[:rows]
    roots = random.normal(size=(3, features, features)) + np.eye(features)
    noise = random.normal(size=(rows, features))
    return np.array([0.3, 1.0, 3.0])[states, None] * np.einsum("tij,tj->ti", roots[states], noise)


def parameters(model: hmm.GaussianHMM, X: Floats, kind: str) -> hmm.GaussianHMM:
    model.startprob_, model.n_features = np.array([0.2, 0.3, 0.5]), X.shape[1]
    model.transmat_ = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.02, 0.08, 0.9]])
    whole = np.cov(X.T)
    scales = np.array([0.2, 0.8, 2.0])
    model.means_ = scales[:, None] * np.array([0.1, -0.1])[: X.shape[1]]
    full = scales[:, None, None] * whole
    model.covars_ = np.einsum("kii->ki", full) if kind == "diag" else full
    return model


def pair(X: Floats, kind: str, **extra: float) -> tuple[GaussianHMM, hmm.GaussianHMM]:
    """Ours and hmmlearn's scaling implementation, about to do one iteration from the same parameters."""
    both = (GaussianHMM, hmm.GaussianHMM)
    ours, peer = (
        parameters(cls(3, kind, n_iter=1, init_params="", implementation="scaling", **extra), X, kind) for cls in both
    )
    return ours, peer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[1500], [1, 700, 799]])
def test_one_iteration_equals_hmmlearns_scaling_implementation(kind: str, lengths: list[int]) -> None:
    X = observations(3)
    ours, peer = pair(X, kind)
    assert ours.score(X, lengths) == pytest.approx(peer.score(X, lengths), rel=1e-12)
    np.testing.assert_allclose(ours.predict_proba(X, lengths), peer.predict_proba(X, lengths), atol=1e-10)
    ours.fit(X, lengths)
    peer.fit(X, lengths)
    assert ours.monitor_.history[-1] == pytest.approx(peer.monitor_.history[-1], rel=1e-12)
    for name in ("startprob_", "transmat_", "means_", "covars_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_hmmlearns_priors_keep_their_meaning(kind: str) -> None:
    X = observations(5)
    ours, peer = pair(X, kind, means_prior=0.7, means_weight=50.0, covars_prior=3.0, covars_weight=40.0)
    ours.fit(X)
    peer.fit(X)
    np.testing.assert_allclose(ours.means_, peer.means_, rtol=1e-10)
    np.testing.assert_allclose(ours.covars_, peer.covars_, rtol=1e-10)
    plain, _ = pair(X, kind)
    assert np.abs(plain.fit(X).means_ - ours.means_).max() > 1e-3


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS))
def test_em_never_lowers_the_likelihood(seed: int, kind: str) -> None:
    X = observations(seed, rows=600)
    model = GaussianHMM(3, kind, n_iter=15, tol=-np.inf, random_state=seed, covars_prior=0.0)
    scores = []
    for _ in range(15):
        model.n_iter = model.monitor_.n_iter = 1
        try:
            scores.append(model.fit(X).monitor_.history[-1])
        except ModelFitError:
            break  # a state that collapsed onto a line is refused
        model.init_params = ""
        if (np.einsum("kii->ki", model.covars_) <= model.floor_ * (1 + 1e-9)).any():
            break  # a floor that holds may cost likelihood
    assert (np.diff(scores) > -1e-8).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_a_million_deviations_away_costs_no_precision(kind: str) -> None:
    X = observations(7)
    near, _ = pair(X, kind)
    far, _ = pair(X + 1e6, kind)
    far.means_ = far.means_ + 1e6
    near.fit(X)
    far.fit(X + 1e6)
    np.testing.assert_allclose(far.covars_, near.covars_, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_states_are_found(kind: str) -> None:
    X = observations(11, rows=3000)
    model = fit_gaussian_hmm(X, np.array([3000]), states=3, covariance=kind, restarts=6, seed=7)
    random = np.random.default_rng(11)
    planted = np.repeat(random.integers(3, size=31), 100)[:3000]
    filtered, log_density = model.filter(X)
    assert log_density.sum() == pytest.approx(model.score(X), rel=1e-12)
    assert (filtered.argmax(axis=1) == planted).mean() > 0.9
    assert (np.diff(model.covars_[:, 0, 0]) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_80_sigma_bar_neither_underflows_nor_takes_a_state_for_itself(kind: str) -> None:
    X = observations(11, rows=3000)
    clean = fit_gaussian_hmm(X, np.array([3000]), states=3, covariance=kind, restarts=6, seed=7)
    X[1500] = 80.0 * X.std(axis=0)
    model = fit_gaussian_hmm(X, np.array([3000]), states=3, covariance=kind, restarts=6, seed=7)
    assert model.occupancy(X, None).min() >= MINIMUM_OCCUPANCY
    filtered, log_density = model.filter(X)
    assert np.isfinite(log_density).all()
    np.testing.assert_allclose(filtered.sum(axis=1), 1, atol=1e-12)
    same = model.filter(X)[0].argmax(axis=1) == clean.filter(X)[0].argmax(axis=1)
    assert same.mean() > 0.97


def test_only_far_outliers_are_pulled_in() -> None:
    X = np.random.default_rng(0).normal(size=(2000, 1)) * np.where(np.arange(2000) < 120, 10.0, 1.0)[:, None]
    assert np.array_equal(clip_outliers(X), X)
    X[5] = 1e6
    assert clip_outliers(X)[5] < 200


def test_repeated_values_do_not_make_a_spike() -> None:
    X = observations(2)[:, :1]
    X[np.random.default_rng(0).random(len(X)) < 0.3] = 0.0
    model = GaussianHMM(3, random_state=1, n_iter=50, covars_prior=0.0).fit(X)
    assert (model.covars_[:, 0, 0] >= model.floor_).all()
    assert model.floor_ > 0


def test_a_singular_covariance_is_refused_by_the_name_of_its_state() -> None:
    X = observations(2)
    X[:, 1] = X[:, 0]
    model, _ = pair(observations(2), "full")
    model.covars_ = np.stack([np.eye(2), np.eye(2), np.eye(2)])
    model._covars_[1] = 1.0
    with pytest.raises(ModelFitError, match="state 1 has a singular covariance"):
        model.fit(X)


def test_nearly_collinear_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X = observations(2)
    monkeypatch.setattr(gaussian_hmm, "MAXIMUM_CONDITION", 1.5)
    with pytest.raises(ModelFitError, match=r"state \d of 2 has a covariance of condition number"):
        fit_gaussian_hmm(X, np.array([len(X)]), states=2, covariance="full", restarts=2, seed=1)


def test_states_that_are_too_small_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_hmm, "MINIMUM_OCCUPANCY", 0.6)
    X = observations(2)
    with pytest.raises(ModelFitError, match=r"state \d of 2 held .* use fewer states"):
        fit_gaussian_hmm(X, np.array([len(X)]), states=2, covariance="diag", restarts=2, seed=1)


def test_other_covariance_types_are_refused() -> None:
    with pytest.raises(ValueError, match="use 'diag' or 'full'"):
        GaussianHMM(2, "tied").fit(observations(2))


def test_starts_of_a_long_window_are_found_on_a_part_of_it() -> None:
    X = np.tile(observations(2), (40, 1))
    model = GaussianHMM(3, "full", random_state=3)
    model._init(X)
    assert model.means_.shape == (3, 2)
    assert (np.linalg.eigvalsh(model.covars_) > 0).all()
