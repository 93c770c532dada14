import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.cli.work import ingest
from tradecore_pipeline.defs import ingestion, regimes, training, tuning
from tradecore_pipeline.defs.automation import hourly_request
from tradecore_pipeline.defs.build import build_definitions
from tradecore_pipeline.defs.features import FEATURE_MONTH
from tradecore_pipeline.defs.features import asset_key as feature_key
from tradecore_pipeline.defs.instance import PID_TAG, fail_abandoned_runs, open_instance, this_process
from tradecore_pipeline.defs.launch import materialize
from tradecore_pipeline.defs.regime_fits import bars_it_lasts
from tradecore_pipeline.defs.regimes import compute_regimes
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, TradecoreError
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline_tests.chain import (
    BTC,
    FEBRUARY,
    FIRST,
    HOUR,
    MARCH,
    NOW,
    ONE_DAY,
    START,
    TODAY,
    BreakingAdapters,
    Chain,
    copy_home,
    lake_files,
    small_settings,
)

KEY = ingestion.asset_key(BARS_1M.name)
WANTED = list(day_range(FIRST, FIRST + 9 * ONE_DAY))
BREAKS_AT = WANTED[6]


def run_days(adapters: BreakingAdapters, *, keep_stored: bool) -> set[str]:
    """Materialize the wanted days and return those that are marked afterwards, whether or not the run failed."""
    with open_instance(adapters.settings) as instance:
        definitions = build_definitions(adapters.settings, adapters)
        config = {"keep_stored": keep_stored}
        try:
            materialize(definitions, instance, assets=[KEY], instrument=BTC, dates=WANTED, monthly=False, config=config)
        finally:
            marked = instance.get_materialized_partitions(KEY)
    return marked


def marked_days(settings_of: BreakingAdapters) -> set[date]:
    with open_instance(settings_of.settings) as instance:
        keys = instance.get_materialized_partitions(KEY)
    return {date.fromisoformat(key.partition("|")[0]) for key in keys}


def test_a_run_that_breaks_keeps_the_days_before_and_a_relaunch_fetches_only_the_rest(
    simulator_url: str, tmp_path: Path
) -> None:
    settings = small_settings(tmp_path, simulator_url)
    broken = BreakingAdapters(settings, fails_on=BREAKS_AT)
    with pytest.raises(TradecoreError, match="failed unexpectedly: RuntimeError: the process is going down"):
        run_days(broken, keep_stored=True)
    assert marked_days(broken) == set(WANTED[:6])
    assert [entry.day for entry in broken.ledger.entries(BARS_1M.name, BTC)] == WANTED[:6]

    whole = BreakingAdapters(settings)
    with Session(settings) as session:
        session.__dict__["adapters"] = whole
        counts = ingest(session, BTC, BARS_1M.name, WANTED)
        assert whole.wrapped is not None
        assert whole.wrapped.asked == WANTED[6:]
        assert (counts["fetched"], counts["skipped"], counts["days"]) == (4, 6, 10)
        again = ingest(session, BTC, BARS_1M.name, WANTED)
        assert whole.wrapped.asked == WANTED[6:], "nothing is left to fetch"
        assert (again["fetched"], again["skipped"], again["rows"]) == (0, 10, counts["rows"])
    assert marked_days(whole) == set(WANTED)


def test_an_error_of_a_source_fails_the_day_with_its_own_words(simulator_url: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path, simulator_url)
    broken = BreakingAdapters(settings, BREAKS_AT, InvalidDataError("the file lies"))
    with pytest.raises(TradecoreError, match=r"^the file lies$"):
        run_days(broken, keep_stored=True)
    assert marked_days(broken) == set(WANTED) - {BREAKS_AT}, "the days after it do not wait for it"
    failures = broken.failures.list(BARS_1M.name, BTC)
    assert [(failure.day, failure.reason) for failure in failures] == [(BREAKS_AT, "the file lies")]
    run_days(BreakingAdapters(settings), keep_stored=True)
    assert broken.failures.list(BARS_1M.name, BTC) == [], "a day that is stored has not failed"


def test_asking_for_finished_days_again_fetches_them_again_unless_told_to_keep_them(
    simulator_url: str, tmp_path: Path
) -> None:
    settings = small_settings(tmp_path, simulator_url)
    run_days(BreakingAdapters(settings), keep_stored=True)
    before = lake_files(tmp_path)
    kept, fetched = BreakingAdapters(settings), BreakingAdapters(settings)
    run_days(kept, keep_stored=True)
    run_days(fetched, keep_stored=False)
    assert kept.wrapped is None
    assert fetched.wrapped is not None
    assert fetched.wrapped.asked == WANTED
    assert lake_files(tmp_path) == before


def metadata(chain: Chain, key: dg.AssetKey, partition: str) -> dict[str, object]:
    with open_instance(chain.settings) as instance:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
        ).records
    event = records[0].asset_materialization
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def test_a_days_page_says_how_many_rows_came_from_where(chain: Chain) -> None:
    found = metadata(chain, KEY, f"{START + ONE_DAY}|{BTC}")
    assert found["dagster/row_count"] == 1440
    assert found["complete"] is True
    assert found["market"] == "simulated:seed11-2024-12-20"
    assert found["source"] == "archive-monthly"
    assert found["missing"] == 0
    assert len(str(found["sha256"])) == 64
    assert "data:image/svg+xml;base64," in str(found["close"])


def test_a_days_page_shows_its_gaps(chain: Chain) -> None:
    found = metadata(chain, KEY, f"{START + 9 * ONE_DAY}|{BTC}")
    assert (found["dagster/row_count"], found["missing"]) == (1433, 7)
    assert "| 03:17 | 03:23 | 7 |" in str(found["gaps"])


def test_a_day_before_listing_is_green_with_its_reason_and_today_is_not_complete(chain: Chain) -> None:
    before = metadata(chain, KEY, f"{FIRST}|{BTC}")
    assert (before["dagster/row_count"], before["complete"]) == (0, True)
    assert "before listing" in str(before["reason"])
    assert metadata(chain, KEY, f"{TODAY}|{BTC}")["complete"] is False


def test_every_stage_marked_exactly_what_it_did(chain: Chain) -> None:
    days, months = list(day_range(FIRST, TODAY)), [FEBRUARY, MARCH]
    published = [day for day in days if day >= FEBRUARY]
    expected = {
        KEY: days,
        feature_key(HOUR, FEATURE_MONTH): [date(2024, 12, 1), date(2025, 1, 1), FEBRUARY],
        tuning.asset_key(HOUR): months,
        **dict.fromkeys(training.asset_keys(HOUR), months),
        regimes.asset_key(HOUR): published,
    }
    with open_instance(chain.settings) as instance:
        for key, dates in expected.items():
            assert instance.get_materialized_partitions(key) == {f"{day}|{BTC}" for day in dates}, key
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    assert chain.result["days"] == len(published)


def test_a_models_page_links_its_run_and_shows_its_states(chain: Chain) -> None:
    found = metadata(chain, training.asset_keys(HOUR)[0], f"{FEBRUARY}|{BTC}")
    assert str(found["mlflow"]).startswith("http://127.0.0.1:5500/#/experiments/")
    assert "| 0 | Calm |" in str(found["states"])
    assert found["bars"] == 480


def test_a_state_that_is_never_left_lasts_for_ever() -> None:
    assert [bars_it_lasts(bars) for bars in (1.0, 50.0, float("inf"))] == ["1", "50", "for ever"]


def test_the_checks_run_and_show_what_they_found(chain: Chain) -> None:
    adapters = chain.adapters
    definitions = build_definitions(chain.settings, adapters)
    keys = frozenset(definitions.resolve_asset_graph().asset_check_keys)
    job = definitions.resolve_implicit_global_asset_job_def()
    with open_instance(chain.settings) as instance:
        subset = job.get_subset(asset_selection=frozenset(), asset_check_selection=keys)
        result = subset.execute_in_process(instance=instance)
    found = {e.check_name + "|" + e.asset_key.path[-1]: e for e in result.get_asset_check_evaluations()}
    assert len(found) == len(keys) == 13
    assert {name: e.passed for name, e in found.items() if not e.passed} == {}
    assert all(e.description == "none found" for e in found.values())


def test_regimes_without_models_or_bars_name_what_is_missing(chain: Chain) -> None:
    with pytest.raises(MissingInputError, match="no 1h hmm model for 2025-01"):
        compute_regimes(chain.adapters, BTC, date(2025, 1, 5), date(2025, 1, 6), timeframe=HOUR)
    with pytest.raises(MissingInputError, match=r"no 1h bars for 2025-03-06\.\.2025-03-07"):
        compute_regimes(chain.adapters, BTC, TODAY, TODAY + 2 * ONE_DAY, timeframe=HOUR)


def test_runs_whose_process_is_gone_are_failed_and_living_ones_are_left_alone(
    simulator_url: str, tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    reused = f"{psutil.Process().pid}.{psutil.Process().create_time() - 60:.2f}"
    tags = {"alive": this_process(), "gone": f"{gone.pid}.123.45", "reused": reused}
    with open_instance(small_settings(tmp_path, simulator_url)) as instance:
        runs = {
            name: create_run_for_test(
                instance, job_name="any", tags={PID_TAG: tag}, status=dg.DagsterRunStatus.STARTED
            ).run_id
            for name, tag in tags.items()
        }
        unmarked = create_run_for_test(instance, job_name="any", status=dg.DagsterRunStatus.STARTED).run_id
        done = create_run_for_test(
            instance, job_name="any", tags={PID_TAG: tags["gone"]}, status=dg.DagsterRunStatus.SUCCESS
        ).run_id
        assert set(fail_abandoned_runs(instance, unmarked=False)) == {runs["gone"], runs["reused"]}
        states = {run.run_id: run.status for run in instance.get_runs()}
        assert states[runs["alive"]] == dg.DagsterRunStatus.STARTED
        assert states[runs["gone"]] == states[runs["reused"]] == dg.DagsterRunStatus.FAILURE
        assert states[done] == dg.DagsterRunStatus.SUCCESS
        assert fail_abandoned_runs(instance, unmarked=False) == []
        assert fail_abandoned_runs(instance, unmarked=True) == [unmarked]


def test_the_hourly_request_is_one_run_that_brings_the_day_up_to_date(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    adapters = Adapters(settings, clock=lambda: NOW)
    ledger_entry = adapters.layout.ledger_day(BARS_1M.name, BTC, TODAY)
    today = [*settings.home.glob(f"lake/*/**/date={TODAY}.parquet"), ledger_entry]
    before = lake_files(settings.home)
    for path in today:
        path.unlink()
    with open_instance(settings) as instance:
        request = hourly_request(adapters, instance, BTC, TODAY)
        assert isinstance(request, dg.RunRequest)
        job = build_definitions(settings, adapters).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance, asset_selection=list(request.asset_selection or ()), tags=request.tags
        )
        assert result.success
    assert len(today) >= 6
    assert lake_files(settings.home) == before


def test_a_run_is_tagged_with_the_process_that_executes_it(chain: Chain) -> None:
    with open_instance(chain.settings) as instance:
        pids = {run.tags.get(PID_TAG, "").partition(".")[0] for run in instance.get_runs() if run.tags.get(PID_TAG)}
    assert pids == {str(psutil.Process().pid)}


def test_the_small_chain_took_every_stage(chain: Chain) -> None:
    assert set(chain.result["seconds"]) == {"market_data", "features", "tuning", "training", "regimes"}
    assert timedelta(days=chain.result["days"]) == TODAY - FEBRUARY + ONE_DAY
