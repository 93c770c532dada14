import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, NotEnoughHistoryError
from tradecore_pipeline.models.lstm_training import Recipe
from tradecore_pipeline.tuning import lstm_folds
from tradecore_pipeline_tests.tuning.lstm_cases import (
    BARS,
    END,
    HOUR,
    REGIMES,
    ROWS,
    SMALL,
    data,
    market,
    plan,
    run_study,
)


def test_the_default_comes_first_and_every_fold_is_told(tmp_path: Path) -> None:
    result = run_study(tmp_path / "a.journal", 2)
    assert result.trials[0].shape == result.default == SMALL
    assert [fold.bars for fold in result.folds] == [499, 499], "each fold's first bar is forecast from only"
    assert result.folds[0].first == BARS.index[501].isoformat()
    assert result.last_ts_close == END
    assert all(trial.folds == 2 for trial in result.trials)
    fold = result.folds
    held_out = sum(one.bars * (one.default - one.har) for one in fold) / sum(one.bars for one in fold)
    assert result.trials[0].gain == pytest.approx(held_out, abs=1e-12)


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    path = tmp_path / "killed.journal"
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]; import lstm_cases as t; "
        "t.run_study(Path(sys.argv[1]), 1000)"
    )
    here = Path(__file__)
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(path), str(here.parent), str(here.parents[2])]
    )
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(b'"trial_id":2') > 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 2 <= path.read_bytes().count(b'"state":1') < 900
    assert run_study(path, 4) == run_study(tmp_path / "unbroken.journal", 4)


@pytest.mark.slow
def test_processes_change_no_figure(tmp_path: Path) -> None:
    assert run_study(tmp_path / "a.journal", 2, processes=2) == run_study(tmp_path / "b.journal", 2)


def test_a_finished_study_trains_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_study(tmp_path / "a.journal", 2)
    monkeypatch.setattr(Recipe, "fit", lambda *_, **__: pytest.fail("a network was trained"))
    monkeypatch.setattr("tradecore_pipeline.models.har.fit_har", lambda *_, **__: pytest.fail("t-HAR was fitted"))
    assert run_study(tmp_path / "a.journal", 2) == first


def test_data_from_january_on_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    longer = market(ROWS + 48)
    january = {"end": END}
    with pytest.raises(InvalidDataError, match="cannot be used to choose a shape for what begins at"):
        run_study(tmp_path / "a.journal", 1, bars=longer, **january)
    assert not (tmp_path / "a.journal").exists()
    clean = run_study(tmp_path / "b.journal", 1)
    assert run_study(tmp_path / "c.journal", 1, end=END + timedelta(days=30)) == clean


def test_a_folds_networks_know_nothing_of_the_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned = BARS.copy()
    late = poisoned.index >= BARS.index[500]
    poisoned.loc[late, ["open", "high", "low", "close"]] *= np.linspace(1, 3, int(late.sum()))[:, None]
    poisoned.loc[late, "realized_variance"] *= 50
    fitted: list[tuple[pd.DataFrame, Any]] = []
    fit = Recipe.fit

    def watched(self: Recipe, bars: pd.DataFrame, har: Any, *, members: Any) -> Any:
        corrector, curve = fit(self, bars, har, members=members)
        fitted.append((bars, corrector))
        return corrector, curve

    monkeypatch.setattr(Recipe, "fit", watched)
    for bars in (BARS, poisoned):
        folds = lstm_folds.ShapeFolds(data(bars), plan(1))
        with folds.scoring(1) as score:
            next(score(SMALL))
    (clean_bars, clean), (other_bars, other) = fitted
    assert clean_bars.index[-1] < BARS.index[500] - HOUR.duration, "the label of the last one does not reach the fold"
    pd.testing.assert_frame_equal(clean_bars, other_bars)
    for name, weights in clean.weights.items():
        np.testing.assert_array_equal(weights, other.weights[name])


def test_more_windows_are_more_bars_to_train_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fit = Recipe.fit
    monkeypatch.setattr(
        Recipe, "fit", lambda self, bars, har, **more: (seen.append(len(bars)), fit(self, bars, har, **more))[1]
    )
    folds = lstm_folds.ShapeFolds(data(), plan(1))
    with folds.scoring(1) as score:
        for windows in (1, 2):
            list(score(replace(SMALL, windows=windows)))
    assert seen == [499, 600, 499, 999]


def test_too_few_bars_are_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughHistoryError, match="needs at least 1443 bars before 2022-03-06 and there are 1400"):
        run_study(tmp_path / "a.journal", 1, bars=BARS.iloc[:1400])
    with pytest.raises(NotEnoughHistoryError, match="there are 1400: raise training_window_bars, of which a study"):
        run_study(tmp_path / "a.journal", 1, bars=BARS.iloc[:1400], window_bars=280)


def test_a_fold_without_regimes_is_scored_without_and_says_so() -> None:
    folds = lstm_folds.ShapeFolds(replace(data(), regimes=REGIMES | {"states": 5}), plan(1))
    with folds.scoring(1) as score:
        outcomes = list(score(SMALL))
    assert all(np.isfinite(one.score) for one in outcomes)
    assert any("has no regimes" in note for one in outcomes for note in one.notes)
