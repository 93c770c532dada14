import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.models.flicker import held_states


def said_slowly(probabilities: np.ndarray, threshold: float) -> list[int]:
    held = [int(probabilities[0].argmax())]
    for row in probabilities[1:]:
        best = int(row.argmax())
        held.append(best if best != held[-1] and row[best] > threshold else held[-1])
    return held


@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(2, 5), st.sampled_from([0.5, 0.6, 0.75, 0.9]))
def test_the_state_held_changes_only_when_another_exceeds_the_threshold(
    seed: int, rows: int, states: int, threshold: float
) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(states, 0.4), rows)
    assert held_states(probabilities, threshold).tolist() == said_slowly(probabilities, threshold)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_later_bars_change_no_label(seed: int, cut: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(3, 0.4), 60)
    assert held_states(probabilities, 0.6)[:cut].tolist() == held_states(probabilities[:cut], 0.6).tolist()


def test_no_bars_have_no_labels() -> None:
    assert held_states(np.zeros((0, 3)), 0.6).tolist() == []
