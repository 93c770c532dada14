"""`tradecore backtest`: one strategy, all side by side, what is kept, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline import load_equity, load_trades
from tradecore_pipeline.cli.backtest import _mixins
from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.strategy_ledger import StrategyLedger
from tradecore_pipeline.strategies.reading import variants
from tradecore_pipeline_tests.chain import BTC, HOUR, Chain, Outcome, copy_home, lake_files, tradecore

NAME = str(BTC)


@pytest.fixture(scope="module")
def settings(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copy_home(chain, tmp_path_factory.mktemp("backtest") / "home")


@pytest.fixture(scope="module")
def balanced(settings: Settings) -> Outcome:
    outcome = tradecore(settings, "backtest", "--variant", "balanced", "--json")
    assert outcome.code == 0, outcome.err
    return outcome


def test_a_variant_is_run_on_published_regimes_and_all_costs_add_up(balanced: Outcome, settings: Settings) -> None:
    told = balanced.json
    figures = told["performance"]["figures"]
    assert (told["strategy"], told["timeframe"], told["instruments"]) == ("balanced", "1h", [NAME])
    assert told["market"].startswith("simulated:")
    assert figures["bars"] == 778
    trades = load_trades("balanced", NAME, home=settings.home)
    assert figures["capital"] + trades["pnl"].sum() == pytest.approx(figures["final_equity"])
    assert trades["fees"].sum() == pytest.approx(figures["fees"])
    assert trades["funding"].sum() == pytest.approx(figures["funding"])
    assert figures["funding"] != 0
    assert any("Bear, Chop and Bull are names" in note for note in told["notes"])
    assert balanced.out.splitlines()[0].split() == ["balanced", "buy", "&", "hold"]


def test_equity_and_trades_are_there_for_notebooks_and_sql(balanced: Outcome, settings: Settings) -> None:
    equity = load_equity("balanced", NAME, home=settings.home)
    assert equity.index.name == "ts_open"
    assert str(equity.index.tz) == "UTC"
    assert equity["equity"].iloc[-1] == pytest.approx(balanced.json["performance"]["figures"]["final_equity"])
    assert (equity["ts_close"] - equity.index == pd.Timedelta(hours=1)).all()
    answer = tradecore(settings, "sql", "SELECT sharpe, closed FROM backtests WHERE strategy = 'balanced'", "--json")
    (row,) = answer.json["rows"]
    assert row["sharpe"] == pytest.approx(balanced.json["performance"]["figures"]["sharpe"])
    count = tradecore(settings, "sql", "SELECT count(*) AS n FROM trades WHERE NOT open", "--json").json["rows"]
    assert count == [{"n": row["closed"]}]
    assert tradecore(settings, "sql", "SELECT min(equity) AS low FROM equity", "--json").json["rows"][0]["low"] > 0


def test_the_same_run_leaves_the_same_bytes_and_counts_once(balanced: Outcome, settings: Settings) -> None:
    before = lake_files(settings.home, "backtests")
    ledger = StrategyLedger(Layout(settings.home).tried_strategies(HOUR))
    tried = len(ledger.trials())
    again = tradecore(settings, "backtest", "--variant", "balanced", "--json")
    assert again.json == balanced.json
    assert lake_files(settings.home, "backtests") == before
    assert len(ledger.trials()) == tried


def test_decisions_do_not_change_when_later_days_are_left_out(settings: Settings, tmp_path: Path) -> None:
    own = tmp_path / "cut.json"
    own.write_text(json.dumps({"name": "cut"}))
    tradecore(settings, "backtest", "--config", str(own), "--json")
    whole = load_equity("cut", NAME, home=settings.home)
    outcome = tradecore(settings, "backtest", "--config", str(own), "--to", "2025-02-20", "--json")
    assert outcome.code == 0, outcome.err
    part = load_equity("cut", NAME, home=settings.home)
    assert len(part) == 20 * 24
    assert np.array_equal(part["equity"], whole["equity"].iloc[: len(part)])


def test_compare_runs_every_variant_that_can_be_run_and_says_why_others_cannot(
    settings: Settings, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    outcome = tradecore(settings, "backtest", "--variant", "compare", "--out", str(page), "--json")
    assert outcome.code == 0, outcome.err
    run, refused = {told["strategy"] for told in outcome.json["variants"]}, outcome.json["not_run"]
    assert run | set(refused) == set(variants())
    assert "has no 15m bars" in refused["multi_timeframe"]
    assert "multi_timeframe was not run" in outcome.err
    tried = [told["performance"]["significance"]["deflated"]["configurations"] for told in outcome.json["variants"]]
    assert len(set(tried)) == 1, "all are judged in the light of all"
    assert "SIMULATED" in page.read_text(encoding="utf-8")


def test_parameters_can_be_chosen_for_each_month_on_the_days_before_it(settings: Settings) -> None:
    ledger = StrategyLedger(Layout(settings.home).tried_strategies(HOUR))
    before = {trial.key for trial in ledger.distinct()}
    outcome = tradecore(
        settings, "backtest", "--variant", "simple", "--tune", "20d", "--trials", "5", "--from", "2025-02-03", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["strategy"] == "simple_tuned"
    february, march = outcome.json["tuning"]["months"]
    assert (february["month"], february["chosen"]) == ("2025-02", {})
    assert march["sharpe_before"] >= march["own_sharpe_before"]
    assert len(march["chosen"]) == 5
    assert len(load_trades("simple_tuned", NAME, home=settings.home)) > 0
    new = {trial.key: trial for trial in ledger.distinct() if trial.key not in before}
    tried = [trial for trial in new.values() if trial.name != "simple_tuned"]
    assert len(tried) + 1 == len(new), "the tuned run counts"
    # The first is the configuration's own, which may stand there from a run without tuning.
    assert {trial.name for trial in tried} >= {f"simple_tuned_{number}" for number in (2, 3, 4, 5)}
    assert len({trial.returns for trial in tried}) == len(tried)
    deflated = outcome.json["performance"]["significance"]["deflated"]
    assert deflated["configurations"] == len(before) + len(new)
    assert any("the same 5 choices of parameters" in note for note in outcome.json["notes"])
    refused = tradecore(settings, "backtest", "--variant", "simple", "--tune", "20")
    assert refused.code == 2
    assert "write 60d" in refused.err


def test_a_page_is_written_where_one_is_asked_for(settings: Settings) -> None:
    outcome = tradecore(settings, "backtest", "--variant", "vol_target", "--html", "--json")
    assert outcome.code == 0, outcome.err
    assert Path(outcome.json["report"]).parent == settings.home / "reports"
    assert "SIMULATED" in Path(outcome.json["report"]).read_text(encoding="utf-8")


def test_a_mixin_of_the_users_own_file_can_be_named_and_each_rewrite_is_another_trial(
    settings: Settings, tmp_path: Path
) -> None:
    text = (
        "import numpy as np\n"
        "from tradecore_pipeline.strategies.contracts import Signals\n"
        "from tradecore_pipeline.strategies.schema import Section\n\n\n"
        "class AlwaysLong(Section):\n"
        '    """Long."""\n\n'
        "    @property\n"
        "    def warm_up_bars(self) -> int:\n"
        '        """None."""\n'
        "        return 0\n\n"
        "    def signals(self, market, config):\n"
        '        """Long."""\n'
        "        return Signals(np.ones(len(market), dtype=np.int8), np.ones(len(market)))\n"
    )
    (tmp_path / "mine.py").write_text(text)
    config = {"name": "mine", "entry_logic": {"name": "AlwaysLong"}, "exit_logic": {"name": "NoExitMixin"}}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    own = ("--config", str(tmp_path / "mine.json"), "--file", str(tmp_path / "mine.py"))
    outcome = tradecore(settings, "backtest", *own, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["performance"]["figures"]["exposure"] > 0.8
    ledger = StrategyLedger(Layout(settings.home).tried_strategies(HOUR))
    tried = len(ledger.distinct())
    (tmp_path / "mine.py").write_text(text.replace("Signals(np.ones", "Signals(-np.ones"))
    rewritten = tradecore(settings, "backtest", *own, "--json")
    assert rewritten.json["config"] == outcome.json["config"]
    assert rewritten.json["configuration"] != outcome.json["configuration"]
    assert len(ledger.distinct()) == tried + 1
    (tmp_path / "mine.py").write_text(text)
    assert tradecore(settings, "backtest", *own, "--json").json["configuration"] == outcome.json["configuration"]
    assert len(ledger.distinct()) == tried + 1


def test_mixins_of_the_settings_files_can_be_named_too_and_the_same_file_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from tradecore_pipeline.strategies.exits.no_exit import NoExitMixin\n\n\n"
        'class Stay(NoExitMixin):\n    """Own."""\n'
    )
    configured = Settings.load(home=tmp_path, strategy_files=(path,))
    assert "Stay" in _mixins(configured, None).sources
    assert "Stay" in _mixins(configured, [path]).sources


def test_refusals_are_one_line_and_leave_nothing(settings: Settings, tmp_path: Path) -> None:
    before = lake_files(settings.home, "backtests")

    def error(*arguments: str, **sections: object) -> str:
        own = tmp_path / "own.json"
        own.write_text(json.dumps({"name": "own"} | sections))
        chosen = arguments if "--variant" in arguments else ("--config", str(own), *arguments)
        outcome = tradecore(settings, "backtest", *chosen)
        assert outcome.code in (1, 2)
        lines = [line for line in outcome.err.splitlines() if not line.startswith("backtest:")]
        assert len(lines) == 1, outcome.err
        return lines[0]

    assert "did you mean balanced?" in error("--variant", "balance")
    assert "choose one of --variant" in error("--variant", "balanced", "--config", "x.json")
    assert "is not configured" in error("--instrument", "binance:ETH/USDT:USDT")
    assert "timeframe 4h is not configured" in error(timeframe="4h")
    assert "nothing is published" in error("--from", "2025-01-02", "--to", "2025-01-03")
    assert "swap them" in error("--from", "2025-02-10", "--to", "2025-02-09")
    assert "write YYYY-MM-DD" in error("--from", "2025-2-1")
    assert "did you mean entry_criteria?" in error(entry_critera={})
    assert "`tradecore strategies` lists them" in error(entry_logic={"name": "HMMEntry"})
    assert "is below the least order" in error(backtesting_parameters={"initial_capital": 10.0, "lot_size": 1.0})
    assert "max_lstm_age_days is 7" in error(model_requirements={"max_lstm_age_days": 7})
    assert "own.json: name: compare is what the page" in error(name="compare")
    assert lake_files(settings.home, "backtests") == before


def test_a_run_without_a_trade_says_so(settings: Settings) -> None:
    outcome = tradecore(
        settings, "backtest", "--variant", "mixin", "--from", "2025-02-10", "--to", "2025-02-11", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert "nothing was traded: all 48 bars are within the warmup of 100" in outcome.json["notes"]


def test_results_that_are_missing_or_of_two_runs_are_not_handed_out(balanced: Outcome, settings: Settings) -> None:
    assert balanced.code == 0
    with pytest.raises(MissingInputError, match="tradecore backtest --variant nothing"):
        load_trades("nothing", NAME, home=settings.home)
    folder = Layout(settings.home).backtest(HOUR, "balanced", [BTC])
    kept = (folder / "trades.parquet").read_bytes()
    (folder / "trades.parquet").write_bytes((folder / "equity.parquet").read_bytes())
    with pytest.raises(InvalidDataError, match="run the backtest again"):
        load_trades("balanced", NAME, home=settings.home)
    (folder / "trades.parquet").write_bytes(kept)
    assert len(load_trades("balanced", NAME, home=settings.home))
