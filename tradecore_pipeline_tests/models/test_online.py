import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import FilterStateError, InvalidDataError, UsageError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import (
    filter_step,
    forward_filter,
    student_t_log_likelihood,
)
from tradecore_pipeline.models.online import OnlineFilter, parameters_id

ROWS, STATES, FEATURES = 400, 3, 2


def case(seed: int) -> tuple[dict[str, Floats], Floats]:
    random = np.random.default_rng(seed)
    model = {
        "startprob": random.dirichlet(np.ones(STATES)),
        "transmat": random.dirichlet(np.full(STATES, 3.0), size=STATES),
        "means": random.normal(size=(STATES, FEATURES)),
        "scales": random.uniform(0.5, 2, size=(STATES, FEATURES)),
        "dfs": random.uniform(3, 9, size=(STATES, FEATURES)),
    }
    X = random.standard_t(3, size=(ROWS, FEATURES))
    X[17] = np.nan
    X[40, 0] = np.nan
    X[60] = 80.0
    return model, X


def student_filter(model: dict[str, Floats]) -> OnlineFilter:
    return OnlineFilter(model["startprob"], model["transmat"], parameters_id(model))


def rows_of(model: dict[str, Floats], X: Floats) -> Floats:
    return student_t_log_likelihood(X, model["means"], model["scales"], model["dfs"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, ROWS))
def test_going_on_from_a_saved_state_equals_the_batch(seed: int, cut: int) -> None:
    model, X = case(seed)
    first = student_filter(model)
    likelihood = rows_of(model, X)
    rows = [first.update_from(row) for row in likelihood[:cut]]
    second = student_filter(model).restore(first.to_json())
    assert second.bars == cut
    rows += [second.update_from(row) for row in likelihood[cut:]]
    expected, _ = forward_filter(model["startprob"], model["transmat"], likelihood)
    np.testing.assert_allclose(rows, expected, atol=1e-12)


def test_one_step_equals_filter_step() -> None:
    model, _ = case(5)
    filtering = OnlineFilter(model["startprob"], model["transmat"], "id")
    out, predicted = np.empty(STATES), model["startprob"]
    for row in np.random.default_rng(5).normal(-2, 30, size=(50, STATES)):
        filter_step(predicted, row, out)
        np.testing.assert_allclose(filtering.update_from(row), out, atol=1e-12)
        predicted = out @ model["transmat"]


def test_a_row_that_says_nothing_or_forbids_everything_leaves_the_prediction() -> None:
    model, _ = case(5)
    for row in (np.full(STATES, np.nan), np.array([0.0, np.nan, 0.0]), np.full(STATES, -np.inf)):
        filtering = OnlineFilter(model["startprob"], model["transmat"], "id")
        np.testing.assert_allclose(filtering.update_from(row), model["startprob"], atol=1e-15)
        np.testing.assert_allclose(filtering.update_from(row), model["startprob"] @ model["transmat"], atol=1e-15)


def test_what_an_update_returned_is_not_changed_by_the_next_bar() -> None:
    model, X = case(1)
    filtering, likelihood = student_filter(model), rows_of(model, X[:2])
    first = filtering.update_from(likelihood[0])
    kept = first.copy()
    filtering.update_from(likelihood[1])
    np.testing.assert_array_equal(first, kept)


def test_a_state_of_another_model_is_refused() -> None:
    (one, X), (other, _) = case(1), case(2)
    saved = student_filter(one)
    saved.update_from(rows_of(one, X[:1])[0])
    with pytest.raises(FilterStateError, match="belongs to model"):
        student_filter(other).restore(saved.to_json())
    nearly = {**one, "means": one["means"] + np.array([[0.0, 1e-15], [0, 0], [0, 0]])}
    with pytest.raises(FilterStateError, match="belongs to model"):
        student_filter(nearly).restore(saved.to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": [0.5, 0.5]},
        {"probabilities": [0.9, 0.9, 0.9]},
        {"probabilities": "x"},
        {"bars": None},
        {"bars": float("inf")},
    ],
    ids=["too few", "no distribution", "no numbers", "no count", "no end"],
)
def test_a_damaged_state_is_refused_and_leaves_the_filter_as_it_was(change: dict[str, object]) -> None:
    model, X = case(1)
    saved = student_filter(model)
    saved.update_from(rows_of(model, X[:1])[0])
    fresh = student_filter(model)
    with pytest.raises(FilterStateError, match="filter from the start"):
        fresh.restore(json.dumps(json.loads(saved.to_json()) | change))
    with pytest.raises(FilterStateError, match="damaged"):
        fresh.restore(saved.to_json()[:-5])
    assert fresh.bars == 0


@pytest.mark.parametrize(
    "text", [None, 5, b"\xff", "[]", "[" * 100_000], ids=["nothing", "a number", "bytes", "a list", "depths"]
)
def test_a_state_that_is_no_text_of_one_is_refused(text: object) -> None:
    with pytest.raises(FilterStateError, match="damaged"):
        student_filter(case(1)[0]).restore(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "row", [None, "a bar", ["0", "0", "0"], [0.0, 0.0], [0.0, [0.0], 0.0], np.zeros((1, STATES)), np.zeros(STATES + 1)]
)
def test_what_is_no_row_of_numbers_is_refused_and_moves_nothing(row: object) -> None:
    filtering = student_filter(case(1)[0])
    with pytest.raises(UsageError, match="the log densities of a bar: give 3 numbers, not a "):
        filtering.update_from(row)  # type: ignore[arg-type]
    assert filtering.bars == 0
    assert np.array_equal(filtering.probabilities, filtering.startprob)


def test_an_infinite_density_is_refused_instead_of_spoiling_all_bars_after_it() -> None:
    filtering = student_filter(case(1)[0])
    with pytest.raises(InvalidDataError, match="infinite"):
        filtering.update_from(np.array([0.0, np.inf, 0.0]))
    assert filtering.bars == 0
    np.testing.assert_allclose(filtering.update_from([0, 0, 0]), filtering.startprob, atol=1e-15)  # type: ignore[arg-type]


def test_a_chain_of_other_sizes_or_types_is_refused() -> None:
    start, chain = np.full(STATES, 1 / STATES), np.full((STATES, STATES), 1 / STATES)
    for one, other in ((start, chain[:2]), (None, chain), ("abc", chain), (start, None), (start[:2], chain)):
        with pytest.raises(UsageError, match=r"(startprob|transmat): give .* numbers, not a "):
            OnlineFilter(one, other, "id")  # type: ignore[arg-type]


def test_the_id_depends_on_every_bit_and_on_names_but_not_on_order() -> None:
    model, _ = case(1)
    assert parameters_id(model) == parameters_id(dict(reversed(model.items())))
    renamed = {("mean" if name == "means" else name): value for name, value in model.items()}
    moved = {**model, "dfs": np.nextafter(model["dfs"], np.inf)}
    reshaped = {**model, "means": model["means"].T}
    assert len({parameters_id(one) for one in (model, renamed, moved, reshaped)}) == 4
