import numpy as np
import pytest

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.restarts import (
    best_of_restarts,
    cold_gain,
    dead_state,
    neighbourhood_groups,
    seeds_of,
    sticky_transitions,
)


class FakeMonitor:
    n_iter = 0
    tol = 0.0

    def __init__(self) -> None:
        self.history: list[float] = []


class FakeModel:
    """Converges to a likelihood that its seed gives; ``runs`` counts its fits."""

    init_params = "stmc"
    n_iter = 0
    tol = 0.0

    def __init__(self, seed: int, likelihoods: dict[int, list[float]]) -> None:
        self.seed, self.left, self.monitor_ = seed, list(likelihoods[seed]), FakeMonitor()

    def fit(self, X: object, lengths: object = None) -> "FakeModel":  # noqa: ARG002
        value = self.left.pop(0)
        if value > 0:
            raise ModelFitError("state 1 has a singular covariance")
        self.monitor_.history.append(value)
        return self

    def score(self, X: object, lengths: object = None) -> float:  # noqa: ARG002
        return self.monitor_.history[-1]


NOTHING = np.zeros((1, 1)), np.array([1])


def best(likelihoods: dict[int, list[float]], refuse: tuple[int, ...] = ()) -> int:
    return best_of_restarts(
        lambda seed: FakeModel(seed, likelihoods),
        *NOTHING,
        seeds=list(likelihoods),
        defect=lambda model: "a state died" if model.seed in refuse else "",
    ).seed


def test_the_likeliest_after_convergence_wins_and_the_first_if_tied() -> None:
    assert best({1: [-9.0, -8.0], 2: [-7.0, -6.0], 3: [-6.5, -5.0]}) == 3
    assert best({1: [-7.0, -5.0], 2: [-7.0, -5.0]}) == 1


def test_a_start_with_a_defect_gives_way_to_the_next() -> None:
    likelihoods = {1: [-9.0, -8.0], 2: [-7.0, -6.0], 3: [-6.5, -5.0], 4: [-20.0, -1.0]}
    assert best(likelihoods, refuse=(3,)) == 2
    assert best(likelihoods, refuse=(2, 3)) == 4


def test_a_start_that_fails_is_passed_over_and_only_all_of_them_raise() -> None:
    assert best({1: [1.0], 2: [-7.0, 1.0], 3: [-9.0, -8.0]}) == 3
    with pytest.raises(ModelFitError, match=r"state 1 has a singular covariance .*use fewer states"):
        best({1: [-7.0, 1.0], 2: [-8.0, 1.0]})
    with pytest.raises(ModelFitError, match="no start survived"):
        best({1: [1.0], 2: [1.0]})


def test_a_fresh_start_that_is_refused_has_no_gain_and_raises_nothing() -> None:
    fitted, fresh = FakeModel(1, {1: [-9.0]}), FakeModel(2, {2: [-4.0]})
    fitted.fit(*NOTHING)
    fresh.fit(*NOTHING)
    assert cold_gain(fitted, lambda: fresh, *NOTHING) == 5.0

    def refused() -> FakeModel:
        raise ModelFitError("every fit had a dead state")

    assert np.isnan(cold_gain(fitted, refused, *NOTHING))


def test_a_dead_state_is_named() -> None:
    assert dead_state(np.array([0.5, 0.03, 0.47]), minimum=0.05) == "state 1 of 3 held 3.0% of the window, under 5%"
    assert not dead_state(np.array([0.5, 0.5]), minimum=0.05)


def test_seeds_groups_and_transitions_are_what_they_say() -> None:
    assert seeds_of(7, 3) == seeds_of(7, 5)[:3]
    assert len(set(seeds_of(7, 50))) == 50
    np.testing.assert_allclose(sticky_transitions(4).sum(axis=1), 1)
    level = np.arange(1000.0)
    groups = neighbourhood_groups(level, 3, np.random.RandomState(0))
    assert set(groups) == {0, 1, 2}
    assert level[groups == 0].mean() < level[groups == 1].mean() < level[groups == 2].mean()
