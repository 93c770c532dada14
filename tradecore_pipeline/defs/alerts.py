"""What happens when a run fails: an alert is kept in the home, and `tradecore doctor` shows it."""

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.storage.alerts import Alert, record_alert


def build(adapters: Adapters) -> dg.Definitions:
    """The run-failure sensor; it starts running, since it only writes down what happened."""

    @dg.run_failure_sensor(
        name="failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps an alert for each failed run, with its days and its reason; `tradecore doctor` lists them.",
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        record_alert(adapters.layout, failed_run(adapters, context))

    return dg.Definitions(sensors=[failed_runs])


def failed_run(adapters: Adapters, context: dg.RunFailureSensorContext) -> Alert:
    """The alert that tells of the context's run."""
    run = context.dagster_run
    assets = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
    ends = (run.tags.get(tag, "") for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG))
    days = " to ".join(dict.fromkeys(end for end in ends if end)) or run.tags.get("dagster/partition", "")
    return Alert(adapters.clock(), run.run_id, f"{assets} {days}".strip(), _reason(context))


def _reason(context: dg.RunFailureSensorContext) -> str:
    """What the failed step said, in the asset's own words where it has any."""
    for event in context.get_step_failure_events():
        failure = event.step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return failure.user_failure_data.description
        if failure.error is not None:
            return failure.error.message.strip().splitlines()[0]
    return context.failure_event.message or "no reason given"
