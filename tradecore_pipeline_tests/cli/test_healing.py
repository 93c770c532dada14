"""What commands do about a home that lost something, was copied, or is interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running
from tradecore_pipeline_tests.chain import (
    BTC,
    END,
    FEBRUARY,
    NOW,
    ONE_DAY,
    SEED,
    START,
    Chain,
    copy_home,
    lake_files,
    small_settings,
    span,
    tradecore,
    variables,
)

DAYS = span(FEBRUARY, FEBRUARY + 4 * ONE_DAY)


def test_lost_and_torn_days_are_fetched_again(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    before = lake_files(settings.home, BARS_1M.name)
    layout = chain.adapters.layout.__class__(settings.home)
    lost, torn = (layout.day(BARS_1M.name, BTC, FEBRUARY + k * ONE_DAY, timeframe=None) for k in (1, 3))
    lost.unlink()
    torn.write_bytes(torn.read_bytes()[:900])
    outcome = tradecore(settings, "backfill", str(BTC), *DAYS, "--datasets", "bars_1m", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["datasets"]["bars_1m"]["fetched"] == 2
    assert lake_files(settings.home, BARS_1M.name) == before


def test_days_in_mid_month_are_published_whatever_was_prepared_before(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    before = lake_files(settings.home, "regimes")
    for table in ("bars", "features"):
        for path in (settings.home / "lake" / table).rglob("date=2025-02-0*.parquet"):
            path.unlink()
    days = span(FEBRUARY + 14 * ONE_DAY, FEBRUARY + 15 * ONE_DAY)
    outcome = tradecore(settings, "predict", str(BTC), "--timeframe", "1h", *days)
    assert outcome.code == 0, outcome.err
    assert lake_files(settings.home, "regimes") == before


def test_a_home_that_lost_its_marker_still_knows_whose_days_it_holds(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    (settings.home / "market.json").unlink()
    with running(build_simulated(demo_parameters(), SEED + 1, start=START, end=END, now=NOW)) as other:
        elsewhere = small_settings(settings.home, other)
        day = NOW.date() - ONE_DAY
        (
            settings.home / "ledger" / "bars_1m" / "exchange=binance" / f"symbol={BTC.path_symbol}" / f"date={day}.json"
        ).unlink()
        outcome = tradecore(elsewhere, "backfill", str(BTC), *span(day, day), "--datasets", "bars_1m")
    assert outcome.code == 1
    assert "another TRADECORE_HOME" in outcome.err


def test_a_copied_home_does_not_touch_the_models_of_the_original(chain: Chain, tmp_path: Path) -> None:
    shutil.copytree(chain.settings.home, tmp_path / "copy")
    settings = chain.settings.model_copy(update={"home": tmp_path / "copy"})
    outcome = tradecore(settings, "predict", str(BTC), "--timeframe", "1h", *DAYS)
    assert outcome.code == 1
    assert "it was copied or moved" in outcome.err
    assert len(outcome.err.strip().splitlines()) <= 3


@pytest.mark.parametrize("damage", ["database", "files"])
def test_a_damaged_registry_is_named_with_what_to_do(chain: Chain, tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(chain.settings.home, home)
    if damage == "database":
        (home / "mlflow.db").write_text("garbage")
    else:
        shutil.rmtree(home / "mlartifacts")
    settings = chain.settings.model_copy(update={"home": home})
    outcome = tradecore(settings, "predict", str(BTC), "--timeframe", "1h", *DAYS)
    assert outcome.code == 1
    assert "train again" in outcome.err.splitlines()[-1]


@pytest.mark.slow
def test_three_commands_may_be_the_first_on_a_home_at_once(simulator_url: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "home", simulator_url)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRADECORE_")} | variables(settings)
    program = [sys.executable, "-c", "from tradecore_pipeline.cli import main; main()", "backfill", str(BTC)]
    commands = [
        [*program, *span(day, day), "--datasets", "bars_1m"] for day in (START, START + ONE_DAY, START + 2 * ONE_DAY)
    ]
    running_now = [subprocess.Popen(c, env=environment, stderr=subprocess.PIPE, text=True) for c in commands]
    said = [process.communicate(timeout=90)[1] for process in running_now]
    assert [process.returncode for process in running_now] == [0, 0, 0], said
    assert len(list((settings.home / "ledger").rglob("date=*.json"))) == 3


@pytest.mark.slow
def test_one_ctrl_c_stops_a_command_says_so_and_the_same_command_goes_on(simulator_url: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "home", simulator_url, download_workers=1)
    words = ("backfill", str(BTC), *span(START, START + timedelta(days=59)), "--datasets", "bars_1m")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRADECORE_")} | variables(settings)
    # Tests that run in a script's background inherit that Ctrl-C is ignored; the command is one that somebody types.
    typed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{typed}from tradecore_pipeline.cli import main; main()", *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    ledger = settings.home / "ledger"
    deadline = time.monotonic() + 60
    while len(list(ledger.rglob("date=*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("tradecore: interrupted"), said
    assert "Traceback" not in said
    assert tradecore(settings, *words).code == 0
    assert len(list(ledger.rglob("date=*.json"))) == 60
