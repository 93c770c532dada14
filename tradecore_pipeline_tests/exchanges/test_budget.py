import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import SourceUnavailableError, UsageError
from tradecore_pipeline.exchanges.budget import BURST, Budget, Limit

HOST = "fapi.test:443"
LIMIT = Limit(100, 10)


class Time:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.waited = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.waited += seconds
        return False


def budget(folder: Path, clock: Callable[[], float], *, share: float = 1.0) -> Budget:
    return Budget(folder, HOST, limits={"w": LIMIT}, share=share, clock=clock)


def state_file(folder: Path) -> Path:
    (path,) = folder.glob("*.json")
    return path


def most_in_a_window(spent: list[tuple[float, float]], seconds: float) -> float:
    """Times are rounded: what lies a nanosecond apart may share a window or not."""
    return max(sum(w for t, w in spent if begin <= t < begin + seconds - 1e-6) for begin, _ in spent)


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.integers(1, 10), min_size=1, max_size=100),
    idle=st.lists(st.floats(0, 8), min_size=1, max_size=8),
    share=st.sampled_from([0.4, 0.8, 1.0]),
)
def test_no_window_ever_holds_more_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory, *, weights: list[int], idle: list[float], share: float
) -> None:
    clock = Time()
    own = budget(tmp_path_factory.mktemp("budget"), clock, share=share)
    spent: list[tuple[float, float]] = []
    for number, weight in enumerate(weights):
        if number % 25 == 24:
            clock.now += idle[number % len(idle)]
        own.spend("w", weight, clock.wait)
        spent.append((clock.now, weight))
    assert most_in_a_window(spent, LIMIT.seconds) <= LIMIT.weight * share + 1e-6


def test_a_burst_is_free_and_the_rest_flows_evenly(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    for _ in range(round(LIMIT.weight * BURST)):
        own.spend("w", 1, clock.wait)
    assert clock.waited == 0
    for _ in range(75):
        own.spend("w", 1, clock.wait)
    assert clock.waited == pytest.approx(10)


SPENDER = """
import sys, time
from pathlib import Path
from tradecore_pipeline.exchanges.budget import Budget, Limit

budget = Budget(Path(sys.argv[1]), "fapi.test:443", limits={"w": Limit(100, 2)}, share=1.0)
end = time.time() + 2.5
while time.time() < end:
    budget.spend("w", 1, lambda pause: time.sleep(pause) or False)
    print(time.time())
"""


def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPENDER, str(tmp_path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert all(output.count("\n") > 20 for output in outputs)
    stamps = sorted(float(line) for output in outputs for line in output.split())
    # A stamp is taken after its turn, by a process that may have slept: a few may slip into the next window.
    assert most_in_a_window([(stamp, 1) for stamp in stamps], 2.0) <= 110


def test_a_ban_is_seen_by_others_and_a_long_one_fails_at_once_and_says_until_when(tmp_path: Path) -> None:
    clock = Time()
    budget(tmp_path, clock).ban(600)
    with pytest.raises(SourceUnavailableError, match=r"banned this address until 22:23:20 UTC \(600 s\): wait"):
        budget(tmp_path, clock).spend("w", 1, clock.wait)
    assert clock.waited == 0
    clock.now += 601
    budget(tmp_path, clock).spend("w", 1, clock.wait)


def test_a_short_ban_is_waited_for(tmp_path: Path) -> None:
    clock = Time()
    budget(tmp_path, clock).ban(30)
    budget(tmp_path, clock).ban(5)
    budget(tmp_path, clock).spend("w", 1, clock.wait)
    assert clock.waited == pytest.approx(30)


def test_a_ban_that_comes_while_waiting_for_a_turn_is_obeyed(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    own.spend("w", 25, clock.wait)

    def banned_meanwhile(seconds: float) -> bool:
        budget(tmp_path, clock).ban(3600)
        return clock.wait(seconds)

    with pytest.raises(SourceUnavailableError, match="banned"):
        own.spend("w", 10, banned_meanwhile)


def test_complaints_without_a_pause_back_off_further_each_time_and_are_forgotten_in_peace(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    assert [own.back_off(), budget(tmp_path, clock).back_off(), own.back_off()] == [1, 2, 4]
    own.spend("w", 1, clock.wait)
    assert clock.waited == pytest.approx(4)
    clock.now += 1000
    assert own.back_off() == 1
    for _ in range(20):
        assert own.back_off() <= 60


def test_a_clock_that_was_set_back_makes_nobody_wait(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    own.spend("w", 20, clock.wait)
    own.ban(20)
    clock.now -= 86_400
    own.spend("w", 5, clock.wait)
    assert clock.waited <= 20


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "7",
        '{"buckets": 3}',
        '{"banned_until": 0}',
        '{"buckets": {"w": {"level": NaN}}}',
        '{"buckets": {"w": {"level": 1e999}}}',
        '{"buckets": {"w": {"mass": 1}}}',
        '{"buckets": {}, "banned_until": "x"}',
        '{"buckets": {}, "banned_until": 1e300}',
        "\udcff\x00",
    ],
)
def test_a_torn_file_counts_as_a_spent_burst(tmp_path: Path, *, content: str) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    own.spend("w", 1, clock.wait)
    state_file(tmp_path).write_bytes(content.encode("utf-8", "surrogateescape"))
    own.spend("w", 15, clock.wait)
    assert clock.waited == pytest.approx(2)
    assert json.loads(state_file(tmp_path).read_text())["buckets"]["w"]["level"] > 0


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "budgets"
    folder.mkdir()
    clock = Time()
    (folder / "fapi.test_443.json").symlink_to(victim)
    with pytest.raises(UsageError, match="TRADECORE_BUDGET_DIR"):
        budget(folder, clock).spend("w", 1, clock.wait)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("suffix", [".lock", ".new"])
def test_no_symlink_beside_it_is_followed_either(tmp_path: Path, *, suffix: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "budgets"
    folder.mkdir(mode=0o700)
    (folder / f"fapi.test_443.json{suffix}").symlink_to(victim)
    clock = Time()
    with pytest.raises(UsageError, match="TRADECORE_BUDGET_DIR"):
        budget(folder, clock).spend("w", 1, clock.wait)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, *, mode: int) -> None:
    folder = tmp_path / "budgets"
    folder.mkdir()
    folder.chmod(mode)
    clock = Time()
    with pytest.raises(UsageError, match=r"others may write to its folder.*TRADECORE_BUDGET_DIR"):
        budget(folder, clock).spend("w", 1, clock.wait)
    assert list(folder.iterdir()) == []


def test_a_folder_of_someone_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: tmp_path.stat().st_uid + 1)
    clock = Time()
    with pytest.raises(UsageError, match=r"belongs to someone else.*TRADECORE_BUDGET_DIR"):
        budget(tmp_path, clock).spend("w", 1, clock.wait)


def test_a_folder_that_is_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    clock = Time()
    for name in ("link", "file"):
        with pytest.raises(UsageError, match="TRADECORE_BUDGET_DIR"):
            budget(tmp_path / name, clock).spend("w", 1, clock.wait)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_writer_that_is_killed_while_it_writes_forgets_no_ban(tmp_path: Path) -> None:
    clock = Time()
    budget(tmp_path, clock).ban(600)
    killed = """
import os, sys
from pathlib import Path
from tradecore_pipeline.exchanges.budget import Budget, Limit

budget = Budget(Path(sys.argv[1]), "fapi.test:443", limits={"w": Limit(100, 10)}, share=1.0, clock=lambda: 1.7e9 + 1)
Path.replace = lambda *_: os._exit(9)
budget.report("w", 50)
"""
    code = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], timeout=60, check=False).returncode
    assert code == 9
    with pytest.raises(SourceUnavailableError, match="banned this address"):
        budget(tmp_path, clock).spend("w", 1, clock.wait)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    clock = Time()
    budget(tmp_path / "new", clock).spend("w", 1, clock.wait)
    assert state_file(tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_what_others_spend_beyond_their_share_is_taken_from_us(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock, share=0.8)
    own.spend("w", 10, clock.wait)
    own.report("w", 10)
    own.report("w", 30)  # ten ours, twenty the others' share
    own.spend("w", 9, clock.wait)
    assert clock.waited == 0
    own.report("w", 69)  # thirty too many
    own.report("w", 69)
    own.spend("w", 1, clock.wait)
    assert clock.waited == pytest.approx(30 / 6)


def test_our_own_use_of_the_window_before_is_not_taken_for_others(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    clock.now += 9.9
    own.spend("w", 20, clock.wait)
    clock.now += 0.2
    own.report("w", 20)
    own.spend("w", 5, clock.wait)
    assert clock.waited == 0


def test_an_interrupted_wait_says_so(tmp_path: Path) -> None:
    clock = Time()
    own = budget(tmp_path, clock)
    own.spend("w", 25, clock.wait)
    with pytest.raises(SourceUnavailableError, match="closed while it waited"):
        own.spend("w", 10, lambda _: True)
