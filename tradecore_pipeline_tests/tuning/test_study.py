import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS
from tradecore_pipeline.tuning.importance import LEAST_TRIALS
from tradecore_pipeline.tuning.objective import DEFAULT_OBJECTIVE, OBJECTIVES, ObjectiveName
from tradecore_pipeline.tuning.plan import StudyPlan, TuningResult
from tradecore_pipeline.tuning.study import tune_lengths

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe.parse("1h")
ROWS = 1900
Study = Callable[..., TuningResult]


def market(rows: int = ROWS) -> pd.DataFrame:
    """Hourly bars whose volatility comes and goes in waves, so that some lengths foretell it better than others."""
    rng = np.random.default_rng(11)
    log_scale = np.zeros(rows)
    for row in range(1, rows):
        log_scale[row] = 0.97 * log_scale[row - 1] + 0.12 * rng.normal()
    returns = 0.004 * np.exp(log_scale) * rng.standard_t(6, rows)
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    reach = np.exp(0.5 * np.abs(returns))
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * reach,
            "low": np.minimum(opened, close) / reach,
            "close": close,
            "volume": rng.gamma(4, 1, rows) * np.exp(log_scale),
            "realized_variance": returns**2 * rng.gamma(8, 1 / 8, rows) + 1e-8,
        },
        index=pd.date_range(START, periods=rows, freq="h", name="ts_open", unit="ms"),
    )


def run_study(
    bars: pd.DataFrame, start: datetime, trials: int, path: Path, *, seed: int = 5, folds: int = 4
) -> TuningResult:
    """A study of bars alone, up to their last one."""
    end = bars.index[-1].to_pydatetime() + HOUR.duration
    plan = StudyPlan(start, end, DEFAULT_OBJECTIVE, trials, seed, folds, purge_bars=1)
    return tune_lengths(Sources(bars, None, None, HOUR), plan, study_path=path, study_name="test")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    def run(trials: int, *, bars: pd.DataFrame | None = None, path: str = "study.log", seed: int = 5) -> TuningResult:
        own = market() if bars is None else bars
        return run_study(own, START + timedelta(hours=700), trials, tmp_path / path, seed=seed)

    return run


def test_the_defaults_come_first_and_the_best_is_no_worse(study: Study) -> None:
    result = study(14)
    assert result.trials == len(result.trial_values) == 14
    assert result.value == min(result.trial_values) == result.trial_values[result.best_trial]
    assert result.default_value == result.trial_values[0]
    assert study(1, path="one.log").parameters == DEFAULT_PARAMETERS


def test_a_study_in_two_parts_equals_an_unbroken_one(study: Study) -> None:
    first = study(5)
    resumed = study(14)
    assert resumed.trial_values[:5] == first.trial_values
    assert resumed == study(14, path="unbroken.log")


def test_a_finished_study_runs_nothing_more(study: Study, tmp_path: Path) -> None:
    first = study(6)
    trials = (tmp_path / "study.log").read_text().count("trial_id")
    assert study(6) == first
    assert (tmp_path / "study.log").read_text().count("trial_id") == trials > 0
    assert study(4).trial_values == first.trial_values[:4]


def test_other_data_or_another_seed_is_another_study(study: Study) -> None:
    bars = market()
    bars.iloc[1500, bars.columns.get_loc("close")] *= 1.01
    names = {study(2).study_name, study(2, bars=bars).study_name, study(2, seed=6).study_name}
    assert len(names) == 3


def test_history_that_nothing_reads_does_not_make_another_study(tmp_path: Path) -> None:
    long = market(2600)
    late = START + timedelta(hours=1400)

    def run(bars: pd.DataFrame, path: Path) -> TuningResult:
        return run_study(bars, late, 3, path, seed=1, folds=3)

    assert run(long, tmp_path / "a") == run(long.iloc[300:], tmp_path / "b")


def test_too_short_a_window_is_refused_with_the_numbers(study: Study) -> None:
    with pytest.raises(NotEnoughHistoryError, match="there are 69"):
        study(3, bars=market(770))


def test_a_half_written_line_and_a_leftover_trial_do_no_harm(study: Study, tmp_path: Path) -> None:
    whole = study(9, path="unbroken.log")
    study(4)
    lines = (tmp_path / "study.log").read_bytes().splitlines(keepends=True)
    (tmp_path / "study.log").write_bytes(b"".join(lines[:-1]) + lines[-1][:17])  # the last trial is left running
    assert study(9).trial_values == whole.trial_values


def plan(
    *, objective: ObjectiveName = "log_absolute_return", trials: int = 4, end: datetime = START + timedelta(hours=ROWS)
) -> StudyPlan:
    start = START + timedelta(hours=700)
    return StudyPlan(start, end, objective, trials=trials, seed=5, folds=4, purge_bars=1)


def tuned(sources: Sources, of: StudyPlan, path: Path) -> TuningResult:
    return tune_lengths(sources, of, study_path=path, study_name="test")


def alone(bars: pd.DataFrame) -> Sources:
    return Sources(bars, None, None, HOUR)


def test_a_bar_that_closes_in_the_month_is_refused(tmp_path: Path) -> None:
    end = START + timedelta(hours=ROWS - 1)
    with pytest.raises(InvalidDataError, match="cannot be used to tune for what begins at 2024-03-20 03:00"):
        tuned(alone(market()), plan(end=end), tmp_path / "study.log")
    assert not (tmp_path / "study.log").exists()
    assert tuned(alone(market().iloc[:-1]), plan(end=end), tmp_path / "study.log").trials == 4


def test_what_is_stamped_in_the_month_changes_nothing(tmp_path: Path) -> None:
    bars = market()
    stamps = pd.date_range(START, periods=ROWS // 8 + 20, freq="8h", name="ts_settle", unit="ms")
    rates = pd.DataFrame({"funding_rate": np.random.default_rng(2).normal(1e-4, 5e-5, len(stamps))}, index=stamps)
    poisoned = rates.copy()
    poisoned.loc[bars.index[-1] + HOUR.duration :] = 1e6
    first = tuned(Sources(bars, rates, None, HOUR), plan(), tmp_path / "a.log")
    assert tuned(Sources(bars, poisoned, None, HOUR), plan(), tmp_path / "b.log") == first
    without = tuned(alone(bars), plan(), tmp_path / "c.log")
    assert without.study_name != first.study_name
    assert without.trial_values != first.trial_values


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_has_a_study_of_its_own_that_is_resumed(objective: ObjectiveName, tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    bars = alone(market())
    others = {tuned(bars, plan(objective=other), path).study_name for other in OBJECTIVES}
    first = tuned(bars, plan(objective=objective), path)
    assert len(others) == 3
    assert first.study_name in others
    assert first.value <= first.default_value
    resumed = tuned(bars, plan(objective=objective, trials=6), path)
    assert resumed.trial_values[:4] == first.trial_values
    assert resumed == tuned(bars, plan(objective=objective, trials=6), tmp_path / "unbroken.log")


def test_importances_need_trials_and_share_out_the_whole(study: Study) -> None:
    assert study(LEAST_TRIALS - 1).importances == {}
    shares = study(14).importances
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(DEFAULT_PARAMETERS.to_dict()) - {"funding_length", "open_interest_length"}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_a_result_is_a_json_document(study: Study) -> None:
    result = study(3)
    document = json.loads(json.dumps(result.to_document(), allow_nan=False))
    assert document["parameters"] == result.parameters.to_dict()
    assert document["objective"] == "log_absolute_return"
    assert (document["gain_t"] is None) == (result.best_trial == 0)


def test_a_folder_in_a_studys_place_is_named_with_what_to_do(study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.log").mkdir()
    with pytest.raises(InvalidDataError, match=r"study.log is a folder, not a file: remove it"):
        study(2)


@pytest.mark.parametrize("damage", ["garbled line", "a parameter lost", "no file of a study at all"])
def test_a_damaged_study_is_named_with_what_to_do(damage: str, study: Study, tmp_path: Path) -> None:
    study(4)
    path = tmp_path / "study.log"
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "garbled line":
        lines[5] = b'{"op_code": 5, "wor\x00\x00\n'
    elif damage == "a parameter lost":
        lines.remove(next(line for line in lines if b'"param_name":"sma_length"' in line))
    else:
        lines = [b"PAR1\xff\xfe\n", b"\x00\n"]
    path.write_bytes(b"".join(lines))
    with pytest.raises(InvalidDataError, match=r"study.log is damaged .*: remove the file") as raised:
        study(9)
    assert "\n" not in str(raised.value)


def test_a_study_cut_short_between_two_lines_goes_on(study: Study, tmp_path: Path) -> None:
    whole = study(9, path="unbroken.log")
    study(6)
    path = tmp_path / "study.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    assert study(9).trial_values == whole.trial_values


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_study as t
t.run_study(t.market(), t.START + t.timedelta(hours=700), 2000, Path(sys.argv[2]))
"""


def test_a_killed_study_goes_on_where_it_stopped(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "killed.log"
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(Path(__file__).parent), str(path)]
    child = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") > 60) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert study(30, path="killed.log") == study(30, path="unbroken.log")


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "study.lock"
    code = (
        "import os, signal, sys; from pathlib import Path; from tradecore_pipeline.tuning.journal import KernelLock; "
        "KernelLock(Path(sys.argv[1])).acquire(); print('held', flush=True); signal.pause()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        probe = os.open(path, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.send_signal(signal.SIGKILL)
        child.wait()
    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(probe)
