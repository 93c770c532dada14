"""No family's EM makes a chain whose states cannot be left or reached."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.gaussian_hmm import GaussianHMM
from tradecore_pipeline.models.kernels.steps import TRANSITION_FLOOR, floored
from tradecore_pipeline.models.return_variance_hmm import ReturnVarianceHMM
from tradecore_pipeline.models.student_t_hmm import StudentTHMM

CALM, WILD = 0.3, 3.0
FAMILIES = ("gaussian", "student_t", "return_variance")


def observations(family: str, scales: Floats, seed: int) -> Floats:
    random = np.random.default_rng(seed)
    returns = scales * random.normal(size=len(scales))
    if family != "return_variance":
        return returns[:, None]
    return np.column_stack((returns, scales**2 * random.chisquare(30, len(scales)) / 30))


def model_of(family: str, **options: Any) -> Any:
    if family == "gaussian":
        return GaussianHMM(2, "diag", random_state=1, covars_prior=0.0, n_iter=60, tol=1e-6, **options)
    kind = StudentTHMM if family == "student_t" else ReturnVarianceHMM
    return kind(2, random_state=1, n_iter=60, tol=1e-6, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_that_the_window_ends_in_can_still_be_left(family: str) -> None:
    window = observations(family, np.repeat([CALM, WILD], [600, 200]), seed=3)
    model = model_of(family).fit(window)
    assert (model.transmat_ >= TRANSITION_FLOOR).all()
    assert (model.startprob_ > 0).all()
    np.testing.assert_allclose(model.transmat_.sum(axis=1), 1, atol=1e-12)
    wild = int(model.predict_proba(window)[-1].argmax())
    assert model.transmat_[wild, wild] > 0.98
    calm_again = observations(family, np.repeat([CALM, WILD, CALM], [300, 100, 50]), seed=4)
    assert model.predict_proba(calm_again)[-1].argmax() != wild
    assert model.score(calm_again) > -3 * len(calm_again)


@pytest.mark.parametrize("family", FAMILIES)
def test_em_brings_back_what_its_start_forbids(family: str) -> None:
    window = observations(family, np.repeat([CALM, WILD, CALM, WILD, CALM], 150), seed=5)
    emission = {"gaussian": "mc", "student_t": "mcd", "return_variance": "e"}[family]
    free, bound = model_of(family).fit(window), model_of(family, init_params=emission)
    bound.startprob_, bound.transmat_ = np.array([1.0, 0.0]), np.array([[0.99, 0.01], [0.0, 1.0]])
    bound.fit(window)
    assert bound.transmat_[1, 0] > 1e-3
    assert bound.score(window) == pytest.approx(free.score(window), abs=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_em_gains_with_every_iteration_although_floors_hold(family: str) -> None:
    window = observations(family, np.repeat([CALM, WILD], [600, 200]), seed=3)
    model = model_of(family)
    model.n_iter, scores = 1, []
    for _ in range(40):
        scores.append(model.fit(window).monitor_.history[-1])
        model.init_params = ""
    assert (np.diff(scores) > -1e-8).all()
    assert model.transmat_.min() == TRANSITION_FLOOR


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), states=st.integers(1, 5), zeros=st.integers(0, 4))
def test_floored_rows_are_the_likeliest_with_that_floor(seed: int, states: int, zeros: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.dirichlet(np.full(states, 0.3), size=2)
    counts[0, : min(zeros, states - 1)] = 0.0
    counts /= counts.sum(axis=1, keepdims=True)
    least = 0.05
    found = floored(counts, least)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert (found >= least * (1 - 1e-12)).all()
    untouched = (counts >= least).all(axis=1)
    assert np.array_equal(found[untouched], counts[untouched])
    for _ in range(20):
        other = least + (1 - states * least) * random.dirichlet(np.ones(states), size=2)
        assert ((counts * np.log(other)).sum(axis=1) <= (counts * np.log(found)).sum(axis=1) + 1e-12).all()


def test_a_row_that_was_never_seen_keeps_what_it_had() -> None:
    model = model_of("gaussian")
    model.n_features, model.floor_ = 1, np.zeros(1)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.array([[0.7, 0.3], [0.2, 0.8]])
    model.means_, model.covars_ = np.zeros((2, 1)), np.ones((2, 1))
    stats, _ = model._do_estep(observations("gaussian", np.ones(50), seed=1), None)
    model._do_mstep(stats | {"trans": np.array([[3.0, 1.0], [0.0, 0.0]])})
    np.testing.assert_array_equal(model.transmat_, [[0.75, 0.25], [0.2, 0.8]])
