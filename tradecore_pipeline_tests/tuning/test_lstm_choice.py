import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE, LstmShape
from tradecore_pipeline.tuning import lstm_folds
from tradecore_pipeline.tuning.lstm_folds import FoldOutcome
from tradecore_pipeline.tuning.lstm_plan import ShapeResult, StoredStudy, errors_to_replace, sealed
from tradecore_pipeline.tuning.lstm_space import HIDDEN, ShapeSpace
from tradecore_pipeline.tuning.lstm_study import best_trial, tune_shape
from tradecore_pipeline_tests.tuning.lstm_cases import END, REGIMES, SMALL, data, plan, run_study

Study = Callable[..., ShapeResult]


def outcome_of(blocks: np.ndarray) -> FoldOutcome:
    return FoldOutcome("2022-01-01T00:00:00+00:00", 48 * len(blocks), -1.0, blocks.mean(), blocks.tolist(), ())


def scored(gains: dict[int, float], *, default: float = 0.0, noise: float = 0.01) -> Callable[..., FoldOutcome]:
    """Folds on which a shape's gain is what its number of trial says, give or take a noise that both share in part."""
    asked: list[LstmShape] = []

    def outcome(task: tuple[Any, LstmShape]) -> FoldOutcome:
        if not asked or asked[-1] != task[1]:
            asked.append(task[1])
        number = len(asked) - 1
        gain = default if number == 0 else gains.get(number, -0.01)
        blocks = gain - 1 + noise * np.random.default_rng(number).normal(size=20)
        blocks -= blocks.mean() - gain + 1
        return FoldOutcome("2022-01-01T00:00:00+00:00", 500, -1.0, gain - 1, blocks.tolist(), ())

    return outcome


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(lstm_folds.ShapeFolds, "_prepared", lambda *_: None)

    def run(gains: dict[int, float], trials: int, **more: float) -> ShapeResult:
        monkeypatch.setattr(lstm_folds, "_outcome", scored(gains, **more))
        return run_study(tmp_path / f"{len(list(tmp_path.iterdir()))}.journal", trials)

    return run


def test_only_a_lead_beyond_the_luck_of_so_many_trials_replaces_the_default(judged: Study) -> None:
    ahead = judged({2: 0.01}, 3)
    assert ahead.best_trial == 2
    assert ahead.gain == pytest.approx(0.01)
    assert 0 < ahead.gain_error < 0.01
    assert ahead.replaces_default
    assert ahead.shape == ahead.best == ahead.trials[2].shape
    lucky = judged({2: 0.003}, 3)
    assert lucky.best_trial == 2
    assert 1 < lucky.gain / lucky.gain_error < errors_to_replace(3)
    assert (lucky.replaces_default, lucky.shape) == (False, SMALL)
    assert judged({2: 0.003}, 2 + 1, noise=0.001).replaces_default, "the same lead, told more exactly"
    behind = judged({}, 3)
    assert (behind.best_trial, behind.gain, behind.shape) == (0, 0.0, SMALL)


def test_a_study_of_equal_shapes_seldom_replaces_the_default() -> None:
    """Twenty shapes that are worth the same, by a month's days of heavy-tailed scores, again and again."""
    random, studies = np.random.default_rng(3), 300
    replaced = 0
    for _ in range(studies):
        blocks = random.standard_t(5, size=(20, 4, 30))
        outcomes = {n: [outcome_of(fold) for fold in own] for n, own in enumerate(blocks)}
        _, gain, error = best_trial(outcomes)
        replaced += gain > errors_to_replace(20) * error
    assert replaced / studies <= 0.1


def test_more_trials_ask_for_a_longer_lead() -> None:
    asked = [errors_to_replace(trials) for trials in (1, 2, 20, 200)]
    assert asked == sorted(asked)
    assert asked[2] == pytest.approx(2.79, abs=0.01)


def test_trials_below_the_median_are_given_up_after_a_fold_and_cannot_win(judged: Study) -> None:
    result = judged({1: 0.002, 2: 0.001, 3: 0.003, 4: -0.5, 5: 0.004}, 6)
    assert [trial.folds for trial in result.trials] == [2, 2, 2, 2, 1, 2]
    assert result.best_trial == 5


def test_what_matters_is_told_once_there_are_trials_enough(judged: Study) -> None:
    assert judged({}, 3).importances == {}
    shares = judged({n: 0.001 * n for n in range(1, 14)}, 14).importances
    assert set(shares) == set(SMALL.config())
    assert sum(shares.values()) == pytest.approx(1)


def test_other_data_settings_or_networks_make_another_study(judged: Study, tmp_path: Path) -> None:
    names = {judged({}, 1).study_name, judged({}, 2).study_name}
    assert len(names) == 1, "more trials go on with the same one"
    changes: list[dict[str, Any]] = [{"seed": 6}, {"window_bars": 700}, {"default": DEFAULT_SHAPE}, {"folds": 1}]
    names |= {run_study(tmp_path / "other.journal", 1, **change).study_name for change in changes}
    for changed in (data(epochs=3), data(regimes="one_hot"), replace(data(), regimes=REGIMES | {"states": 3})):
        path = tmp_path / "other.journal"
        found = tune_shape(changed, plan(1), study_path=path, study_name="test", processes=1, done=lambda _: None)
        names.add(found.study_name)
    assert len(names) == 8


@pytest.mark.parametrize("damage", ["garbled line", "outcomes lost", "a choice lost"])
def test_a_damaged_journal_is_one_line_that_says_what_to_do(damage: str, judged: Study, tmp_path: Path) -> None:
    judged({1: 0.01}, 3)
    path = next(tmp_path.glob("*.journal"))
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "garbled line":
        lines[5] = b'{"op_code": 5, "wor\x00\x00\n'
    else:
        lost = b'"user_attr"' if damage == "outcomes lost" else b'"param_name":"dropout"'
        lines.remove(next(line for line in lines if lost in line))
    path.write_bytes(b"".join(lines))
    with pytest.raises(InvalidDataError, match=r"journal is damaged .*: remove the file") as raised:
        run_study(path, 3)
    assert "\n" not in str(raised.value)


def test_a_journal_cut_short_in_mid_line_goes_on(judged: Study, tmp_path: Path) -> None:
    whole = judged({1: 0.01}, 3)
    path = next(tmp_path.glob("*.journal"))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) * 2 // 3])
    again = run_study(path, 3)
    assert again.study_name == whole.study_name
    assert again.trials[0] == whole.trials[0]


def test_a_document_says_what_was_found_and_notices_damage(judged: Study) -> None:
    result = judged({2: 0.01}, 3)
    document = json.loads(json.dumps(sealed(result.to_document()), allow_nan=False))
    study = StoredStudy.from_document(document)
    assert (study.shape, study.last_ts_close) == (result.shape, END)
    hostile: list[Any] = [None, [1], {}, sealed({}), document | {"gain": 1.0}]
    hostile += [sealed(document | {"shape": {"hidden": 4}}), sealed(document | {"last_ts_close": "2024-01-01"})]
    for damaged in hostile:
        with pytest.raises(InvalidDataError):
            StoredStudy.from_document(damaged)


@given(
    hidden=st.integers(1, 300), least=st.integers(480, 5_000), more=st.integers(0, 40_000), seed=st.integers(0, 1_000)
)
def test_every_suggested_shape_can_be_trained_and_the_default_is_in_every_space(
    hidden: int, least: int, more: int, seed: int
) -> None:
    default = replace(DEFAULT_SHAPE, hidden=hidden)
    space = ShapeSpace.within(default, least_bars=least, most_bars=least + more, window_bars=4_320)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.enqueue_trial(default.config())
    assert space.suggest(study.ask()) == default
    found = space.suggest(study.ask())
    assert found.chunk_bars <= max(least // 2, default.chunk_bars)
    assert found.windows in space.windows
    assert min(hidden, HIDDEN[0]) <= found.hidden <= max(hidden, HIDDEN[1])


def test_windows_that_no_history_tells_apart_are_not_tried() -> None:
    def windows(most: int) -> tuple[int, ...]:
        return ShapeSpace.within(DEFAULT_SHAPE, least_bars=480, most_bars=most, window_bars=1000).windows

    assert [windows(most) for most in (900, 1001, 3000, 3001)] == [(1,), (1, 2), (1, 2), (1, 2, 4)]
