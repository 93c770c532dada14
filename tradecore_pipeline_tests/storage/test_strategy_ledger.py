"""The ledger of tried strategies: nothing is lost, nothing counts twice, and a kill leaves it whole."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.storage.strategy_ledger import StrategyLedger, Trial, configuration_digest

AT = datetime(2024, 6, 1, tzinfo=UTC)
BTC = "binance:BTC/USDT:USDT"


def trial(seed: int, *, days: int = 30, configuration: str = "", instruments: tuple[str, ...] = (BTC,)) -> Trial:
    returns = np.random.default_rng(seed).normal(0, 0.01, days)
    daily = pd.Series(returns, index=pd.date_range("2022-01-01", periods=days, tz="UTC", name="day"))
    return Trial.of(
        configuration or f"c{seed}", daily, name=f"name {seed}", instruments=instruments, sharpe=1.0 + seed, at=AT
    )


@pytest.fixture
def ledger(tmp_path: Path) -> StrategyLedger:
    return StrategyLedger(tmp_path / "trials" / "1h")


def test_what_is_recorded_is_read_back(ledger: StrategyLedger) -> None:
    assert ledger.trials() == []
    assert ledger.returns().shape == (0, 0)
    one, other = trial(1), trial(2, days=40)
    assert ledger.record([one]) == 1
    assert ledger.record([other]) == 1
    read = ledger.trials()
    assert [(t.configuration, t.name, t.sharpe, t.days, t.first, t.last, t.at) for t in read] == [
        ("c1", "name 1", 2.0, 30, date(2022, 1, 1), date(2022, 1, 30), AT),
        ("c2", "name 2", 3.0, 40, date(2022, 1, 1), date(2022, 2, 9), AT),
    ]
    stored = ledger.returns()
    assert stored.columns.tolist() == [f"c1 {BTC}", f"c2 {BTC}"]
    assert other.daily is not None
    np.testing.assert_array_equal(stored[f"c2 {BTC}"].to_numpy(), other.daily.to_numpy())
    assert stored[f"c1 {BTC}"].isna().sum() == 10


def test_the_same_run_is_recorded_once_and_another_period_is_no_other_configuration(ledger: StrategyLedger) -> None:
    assert ledger.record([trial(1), trial(1)]) == 1
    assert ledger.record([trial(1)]) == 0
    assert ledger.record([trial(1, days=60), trial(1, days=10)]) == 2
    assert len(ledger.trials()) == 3
    (longest,) = ledger.distinct()
    assert longest.days == 60
    assert len(ledger.returns()) == 60


def test_the_same_settings_on_another_instrument_are_another_trial(ledger: StrategyLedger) -> None:
    ledger.record([trial(1), trial(1, instruments=("binance:ETH/USDT:USDT",)), trial(1, instruments=(BTC, "x"))])
    assert len(ledger.distinct()) == 3
    assert ledger.returns().shape[1] == 3


def test_names_are_not_settings_and_every_number_is_one() -> None:
    settings = {"name": "a", "timeframe": "1h", "risk_management": {"stop_loss": 0.01}, "monitoring": {"x": 1}}
    digest = configuration_digest(settings)
    assert configuration_digest(settings | {"name": "b", "description": "c", "monitoring": {}}) == digest
    assert configuration_digest(settings | {"risk_management": {"stop_loss": 0.02}}) != digest
    assert configuration_digest(settings | {"timeframe": "4h"}) != digest


def test_a_sharpe_ratio_that_is_none_stays_so(ledger: StrategyLedger) -> None:
    daily = pd.Series([0.0, 0.0], index=pd.date_range("2022-01-01", periods=2, tz="UTC"))
    ledger.record([Trial.of("c", daily, name="idle", instruments=[BTC], sharpe=float("nan"), at=AT)])
    assert ledger.trials()[0].sharpe is None
    assert ledger.returns().to_numpy().tolist() == [[0.0], [0.0]]


def test_a_line_without_an_end_is_no_trial_and_is_written_over(ledger: StrategyLedger, tmp_path: Path) -> None:
    ledger.record([trial(1), trial(2)])
    lines = tmp_path / "trials" / "1h" / "trials.jsonl"
    whole = lines.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        lines.write_bytes(whole[:cut])
        assert [t.configuration for t in ledger.trials()] == ["c1"]
    assert ledger.record([trial(2), trial(3)]) == 2
    assert [t.configuration for t in ledger.trials()] == ["c1", "c2", "c3"]
    assert ledger.returns().shape == (30, 3)


@pytest.mark.parametrize("damage", ["{torn\n", "[]\n", '{"name": 1}\n'])
def test_a_damaged_line_is_named(ledger: StrategyLedger, tmp_path: Path, damage: str) -> None:
    ledger.record([trial(1)])
    with (tmp_path / "trials" / "1h" / "trials.jsonl").open("a") as file:
        file.write(damage)
    with pytest.raises(InvalidDataError, match=r"line 2 of trials.jsonl"):
        ledger.record([trial(2)])


def test_a_torn_or_lost_file_of_returns_is_named(ledger: StrategyLedger, tmp_path: Path) -> None:
    ledger.record([trial(1)])
    (file,) = (tmp_path / "trials" / "1h").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InvalidDataError, match=r"parquet cannot be read"):
        ledger.returns()
    file.unlink()
    with pytest.raises(InvalidDataError, match=r"parquet cannot be read"):
        ledger.returns()


_WRITER = """
import sys
from pathlib import Path
from tradecore_pipeline.storage.strategy_ledger import StrategyLedger, Trial
import numpy as np, pandas as pd
from datetime import datetime, UTC
ledger = StrategyLedger(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    daily = pd.Series(np.full(20, number / 1e6), index=pd.date_range("2022-01-01", periods=20, tz="UTC"))
    ledger.record([Trial.of(f"c{number}", daily, name="n", instruments=["i"], sharpe=1.0, at=datetime.now(UTC))])
    print(number, flush=True)
    number += 2
"""


def test_killed_writers_lose_nothing_that_was_recorded(tmp_path: Path) -> None:
    folder, seen = tmp_path / "trials", set[str]()
    for attempt in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(folder), str(1000 * attempt + parity)],
                stdout=subprocess.PIPE, text=True,
            )
            for parity in (0, 1)
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            seen.add(f"c{writer.stdout.readline().strip()}")
        time.sleep(0.15 + 0.05 * attempt)
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            told, _ = writer.communicate()
            seen |= {f"c{line}" for line in told.split("\n")[:-1]}
        ledger = StrategyLedger(folder)
        found = [one.configuration for one in ledger.trials()]
        assert seen <= set(found)
        assert len(found) == len(set(found))
        assert ledger.returns().shape == (20, len(found))
