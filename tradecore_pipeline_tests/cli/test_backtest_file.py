"""`tradecore backtest --data`: models are trained on the file month by month, and nothing of it enters the home."""

from pathlib import Path

import pandas as pd
import pytest

from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.chain import BTC, FIRST, HOUR, TODAY, Chain, copy_home, lake_files, tradecore


@pytest.fixture(scope="module")
def bars(chain: Chain) -> pd.DataFrame:
    found = chain.adapters.lake.read(BARS, BTC, day_start(FIRST), day_start(TODAY), timeframe=HOUR)
    return found.loc[:, ["open", "high", "low", "close", "volume"]].rename_axis("timestamp")


def test_a_files_bars_are_trained_on_walk_forward_and_leave_no_trace_but_the_trial(
    chain: Chain, bars: pd.DataFrame, tmp_path: Path
) -> None:
    settings = copy_home(chain, tmp_path / "home")
    bars.to_csv(tmp_path / "bars.csv")
    before = lake_files(settings.home)
    asked = ("backtest", "--variant", "vol_target", "--data", str(tmp_path / "bars.csv"), "--json")
    outcome = tradecore(settings, *asked)
    assert outcome.code == 0, outcome.err
    told = outcome.json
    assert told["instruments"] == ["binance:BTC/USDT"]
    assert told["performance"]["figures"]["first"].startswith("2025-02-01")
    assert told["performance"]["figures"]["funding"] == 0
    assert told["notes"][0].startswith("bars of bars.csv, 1h long; models of 2025-02 to 2025-03")
    assert "binance:BTC/USDT is spot: no funding is paid" in told["notes"]
    assert lake_files(settings.home) == before
    (folder,) = Layout(settings.home).tried_on_file("").parent.glob("file=*")
    assert (folder / "trials.jsonl").exists()


def test_what_cannot_be_used_is_one_line(chain: Chain, bars: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"

    def error(rows: pd.DataFrame, *more: str) -> str:
        rows.to_csv(path)
        outcome = tradecore(chain.settings, "backtest", "--variant", "vol_target", "--data", str(path), *more)
        assert outcome.code in (1, 2)
        (line,) = [line for line in outcome.err.splitlines() if not line.startswith("months trained")]
        return line

    assert "too short to train a model" in error(bars.iloc[:300])
    assert "comes before the line above" in error(bars.iloc[::-1])
    assert "has no column volume" in error(bars.drop(columns="volume"))
    assert "the file's bars are 1h long and the strategy's 4h" in error(bars, "--timeframe", "4h")
    # Said before any model is trained.
    own = tmp_path / "own.json"
    own.write_text('{"name": "own", "entry_logic": {"name": "Foo"}}')
    refused = tradecore(chain.settings, "backtest", "--config", str(own), "--data", str(path))
    assert (
        refused.err
        == "tradecore: own.json: entry_logic.name: there is no 'Foo'; `tradecore strategies` lists them all\n"
    )
    assert error(bars, "--tune", "20") == "tradecore: --tune '20' is no number of days: write 60d"
    assert "holds no settlements" in error(bars, "--instrument", str(BTC))
    assert "there is nothing before" in error(
        bars.set_index(bars.index - pd.Timedelta(days=3650)).rename_axis("timestamp")
    )
