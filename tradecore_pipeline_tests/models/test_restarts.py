import threading

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.gaussian_hmm import fit_gaussian_hmm
from tradecore_pipeline.models.restarts import (
    best_of_restarts,
    dead_state,
    neighbourhood_groups,
    run_restarts,
    seeds_of,
    sticky_transitions,
)
from tradecore_pipeline.models.student_t_hmm import fit_student_t_hmm
from tradecore_pipeline_tests.models.markets import SimulatedMarket


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


NOTHING = np.zeros((1, 1)), np.array([1])


def best(likelihoods: dict[int, list[float]], workers: int = 1, refuse: tuple[int, ...] = ()) -> int:
    return best_of_restarts(
        lambda seed: FakeModel(seed, likelihoods),
        *NOTHING,
        seeds=list(likelihoods),
        workers=workers,
        defect=lambda model: "a state died" if model.seed in refuse else "",
    ).seed


@pytest.mark.parametrize("workers", [1, 3])
def test_the_likeliest_after_convergence_wins_and_the_first_if_tied(workers: int) -> None:
    assert best({1: [-9.0, -8.0], 2: [-7.0, -6.0], 3: [-6.5, -5.0]}, workers) == 3
    assert best({1: [-7.0, -5.0], 2: [-7.0, -5.0]}, workers) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_a_start_with_a_defect_gives_way_to_the_next(workers: int) -> None:
    likelihoods = {1: [-9.0, -8.0], 2: [-7.0, -6.0], 3: [-6.5, -5.0], 4: [-20.0, -1.0]}
    assert best(likelihoods, workers, refuse=(3,)) == 2
    assert best(likelihoods, workers, refuse=(2, 3)) == 4


def test_a_start_that_fails_is_passed_over_and_only_all_of_them_raise() -> None:
    assert best({1: [1.0], 2: [-7.0, 1.0], 3: [-9.0, -8.0]}) == 3
    with pytest.raises(ModelFitError, match=r"state 1 has a singular covariance .*use fewer states"):
        best({1: [-7.0, 1.0], 2: [-8.0, 1.0]})
    with pytest.raises(ModelFitError, match="no start survived"):
        best({1: [1.0], 2: [1.0]})


def test_results_keep_the_order_of_the_starts_and_errors_come_through() -> None:
    threads = set()

    def job(seed: int) -> int:
        threads.add(threading.get_ident())
        if seed < 0:
            raise ModelFitError("no")
        return seed * seed

    assert run_restarts(job, range(20), workers=4) == [seed * seed for seed in range(20)]
    assert threading.get_ident() not in threads
    with pytest.raises(ModelFitError, match="no"):
        run_restarts(job, [1, -1, 2], workers=2)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_the_number_of_workers_changes_no_bit_of_a_gaussian_fit(market: SimulatedMarket, covariance: str) -> None:
    X = np.column_stack((market.returns, np.abs(market.returns) + np.random.default_rng(0).normal(size=3000)))[:1000]
    one, three = (
        fit_gaussian_hmm(X, np.array([400, 600]), states=2, covariance=covariance, restarts=4, seed=5, workers=workers)
        for workers in (1, 3)
    )
    for name in ("startprob_", "transmat_", "means_", "covars_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_the_number_of_workers_changes_no_bit_of_a_student_t_fit(market: SimulatedMarket) -> None:
    X = market.returns[:1000, None]
    one, three = (
        fit_student_t_hmm(X, np.array([400, 600]), states=3, restarts=5, seed=5, workers=workers) for workers in (1, 3)
    )
    for name in ("startprob_", "transmat_", "means_", "scales_", "dfs_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


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
