"""Runs in this process: the CLI's work goes through the same definitions and instance as the UI's."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster_shared.error import SerializableErrorInfo

from tradecore_pipeline.defs.partitions import stretches
from tradecore_pipeline.domain.errors import TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import Instrument

_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    assets: Sequence[dg.AssetKey],
    instrument: Instrument,
    dates: Sequence[date],
    monthly: bool,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Materialize ``assets`` (all daily or all monthly) for ``dates`` of ``instrument``, one run per unbroken range.

    Raises:
        TradecoreError: a run failed; the message is the asset's own (a ``UsageError`` if that was one).
        KeyboardInterrupt: somebody pressed Ctrl-C; what was finished before is marked.
    """
    job = definitions.resolve_implicit_global_asset_job_def()
    run_config: dict[str, Any] = dict(_SILENT)
    if config:
        run_config["ops"] = {"__".join(key.path).replace("/", "__"): {"config": dict(config)} for key in assets}
    for first, last in stretches(dates, monthly=monthly):
        result = job.execute_in_process(
            asset_selection=list(assets),
            instance=instance,
            raise_on_error=False,
            run_config=run_config,
            tags={
                ASSET_PARTITION_RANGE_START_TAG: f"{first}|{instrument}",
                ASSET_PARTITION_RANGE_END_TAG: f"{last}|{instrument}",
            },
        )
        if not result.success:
            raise _failure(result)


def run_job(definitions: dg.Definitions, instance: dg.DagsterInstance, name: str, config: Mapping[str, Any]) -> None:
    """Run the job called ``name`` in this process.

    Raises:
        TradecoreError: it failed; the message is its own.
        KeyboardInterrupt: somebody pressed Ctrl-C; what was finished before is kept.
    """
    job = definitions.resolve_job_def(name)
    result = job.execute_in_process(instance=instance, raise_on_error=False, run_config={**_SILENT, **config})
    if not result.success:
        raise _failure(result)


def _failure(result: dg.ExecuteInProcessResult) -> TradecoreError:
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        if _INTERRUPTED in {error.cls_name for error in _chain(data.error)}:
            raise KeyboardInterrupt
        if data.user_failure_data is not None and data.user_failure_data.description:
            kind = data.user_failure_data.metadata.get("error")
            cause = UsageError if kind is not None and kind.value in _names(UsageError) else TradecoreError
            return cause(data.user_failure_data.description)
        return TradecoreError(
            f"{event.step_key} failed unexpectedly: {_root_cause(data.error)} (run {result.run_id} in the UI has the "
            "trace)"
        )
    return TradecoreError(f"run {result.run_id} failed: the UI has its events")


def _root_cause(error: SerializableErrorInfo | None) -> str:
    """What was raised in the asset: Dagster wraps it in errors of its own."""
    causes = _chain(error)
    if not causes:
        return "no reason given"
    return (causes[-1].message.strip().splitlines() or [causes[-1].cls_name or "no reason given"])[0]


def _chain(error: SerializableErrorInfo | None) -> list[SerializableErrorInfo]:
    """An error and what caused it, the root last."""
    causes: list[SerializableErrorInfo] = []
    while error is not None:
        causes.append(error)
        error = error.cause
    return causes


def _names(error: type[Exception]) -> set[str]:
    """An error's name and those of all that derive from it."""
    return {error.__name__}.union(*(_names(derived) for derived in error.__subclasses__()))
