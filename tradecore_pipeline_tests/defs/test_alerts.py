"""What is kept of a failed run, and who shows it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from tradecore_pipeline.cli.doctor import _failures
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.defs.alerts import failed_run
from tradecore_pipeline.defs.ingestion import asset_key
from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.storage.alerts import KEPT, Alert, alerts, record_alert
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.chain import BTC, ONE_DAY, START, BreakingAdapters, small_settings


def test_a_failed_run_is_kept_with_its_days_and_the_assets_own_words(simulator_url: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "home", simulator_url)
    days = list(day_range(START, START + 2 * ONE_DAY))
    key = asset_key("bars_1m")
    with Session(settings) as session:
        session.__dict__["adapters"] = BreakingAdapters(settings, days[1], InvalidDataError("the file lies"))
        result = session.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[key],
            instance=session.instance,
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": f"{days[0]}|{BTC}",
                "dagster/asset_partition_range_end": f"{days[-1]}|{BTC}",
            },
        )
        failure = next(event for event in result.all_events if event.is_run_failure)
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_instance=session.instance,
            dagster_run=result.dagster_run,
            dagster_event=failure,
        ).for_run_failure()
        alert = failed_run(session.adapters, context)
        sensors = {sensor.name: sensor.default_status for sensor in session.definitions.sensors or ()}
    assert alert.what == f"market_data/bars_1m {days[0]}|{BTC} to {days[-1]}|{BTC}"
    assert alert.reason == "the file lies"
    assert alert.run_id == result.run_id
    assert sensors == {"failed_runs": dg.DefaultSensorStatus.RUNNING}

    record_alert(Layout(settings.home), alert)
    shown = _failures(settings)
    assert not shown.passed
    assert not shown.needed
    assert shown.detail.endswith(f"{alert.what}: the file lies")


def test_the_newest_alerts_are_kept_and_come_first(tmp_path: Path) -> None:
    layout, first = Layout(tmp_path), datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(KEPT + 5):
        record_alert(layout, Alert(first + timedelta(minutes=number), f"run{number}", "bars", "why"))
    kept = alerts(layout)
    assert len(kept) == KEPT
    assert [alert.run_id for alert in kept[:2]] == [f"run{KEPT + 4}", f"run{KEPT + 3}"]
    assert kept[-1].run_id == "run5"
