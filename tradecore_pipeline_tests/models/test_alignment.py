import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.models.alignment import agreeing_order, matched_states
from tradecore_pipeline.models.density import Floats


def memberships(seed: int, states: int) -> Floats:
    return np.random.default_rng(seed).dirichlet(np.full(states, 0.2), 400)


@given(seed=st.integers(0, 10_000), states=st.integers(2, 5))
def test_a_permutation_of_the_same_states_is_found(seed: int, states: int) -> None:
    before = memberships(seed, states)
    order = np.random.default_rng(seed + 1).permutation(states)
    matched = matched_states(before, before[:, order])
    np.testing.assert_array_equal(order[matched], np.arange(states))
    assert agreeing_order(before, before[:, order]) == bool((order == np.arange(states)).all())


def test_a_large_state_does_not_swallow_the_match_of_a_small_one() -> None:
    hard = np.eye(3)[np.repeat([0, 1, 2], [900, 60, 40])]
    moved = np.eye(3)[np.repeat([0, 1, 2], [880, 80, 40])]
    np.testing.assert_array_equal(matched_states(hard, moved), [0, 1, 2])
