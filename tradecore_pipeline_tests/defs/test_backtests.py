"""The assets of backtests: what is materialized, what the UI shows, and what a refusal leaves behind."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.defs import backtests
from tradecore_pipeline.domain.tables import FUNDING_RATES
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.strategy_ledger import StrategyLedger
from tradecore_pipeline_tests.chain import BTC, HOUR, Chain, copy_home, set_variables, variables


@pytest.fixture(scope="module")
def settings(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copy_home(chain, tmp_path_factory.mktemp("backtests") / "home")


def materialize(settings: Settings, strategy: str, *, partition: str | None) -> dg.ExecuteInProcessResult:
    with set_variables(variables(settings)), Session(settings) as session:
        definitions = session.definitions
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=session.instance,
            asset_selection=[backtests.asset_key(HOUR, strategy)],
            partition_key=partition,
            raise_on_error=False,
        )


def test_a_strategy_is_run_kept_and_recorded_with_what_a_person_wants_to_see(settings: Settings) -> None:
    done = materialize(settings, "vol_target", partition=str(BTC))
    assert done.success
    with Session(settings) as session:
        (event,) = session.instance.fetch_materializations(backtests.asset_key(HOUR, "vol_target"), limit=1).records
        assert event.asset_materialization is not None
        shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
        assert "| total return |" in shown["figures"]
        assert "direction" in shown["notes"]
        assert Path(shown["report"]).read_text(encoding="utf-8").count("SIMULATED") >= 1
        assert (Path(shown["path"]) / "trades.parquet").exists()
        run_id = shown["mlflow"].rpartition("/")[2]
        client = session.adapters.registry._client
        run = client.get_run(run_id)
        assert client.get_experiment(run.info.experiment_id).name == "tradecore/1h/backtests"
        assert {"sharpe", "total_return", "fees"} <= set(run.data.metrics)
        assert {artifact.path for artifact in client.list_artifacts(run_id, "figures")} >= {"figures/report.html"}
        found = session.adapters.catalog.query("SELECT strategy, instruments FROM backtests").rows
        assert found == [("vol_target", str(BTC))]
        assert [t.name for t in StrategyLedger(session.adapters.layout.tried_strategies(HOUR)).trials()] == [
            "vol_target"
        ]


def test_a_strategy_that_cannot_be_run_fails_with_one_line_and_leaves_nothing(settings: Settings) -> None:
    layout = Layout(settings.home)
    day = layout.day(FUNDING_RATES.name, BTC, date(2025, 2, 20), timeframe=None)
    held = day.read_bytes()
    day.unlink()
    done = materialize(settings, "pipeline", partition=str(BTC))
    day.write_bytes(held)
    assert not done.success
    (failure,) = [event for event in done.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert "has no funding_rates for 1 days from 2025-02-20" in str(told.description)
    assert not layout.backtest(HOUR, "pipeline", [BTC]).exists()


def test_the_portfolio_has_no_partitions_and_runs_what_is_configured(settings: Settings) -> None:
    assert materialize(settings, "multi_symbol", partition=None).success


def test_a_strategy_that_asks_other_timeframes_is_there_where_those_are_configured(tmp_path: Path) -> None:
    def names(*timeframes: str) -> set[str]:
        settings = Settings.load(home=tmp_path, timeframes=timeframes)
        return {config.name for config in backtests.shipped(settings, HOUR)}

    assert names("15m", "1h", "4h") - names("1h") == {"multi_timeframe"}
