"""When the yearly study of the LSTM's shape is asked for, and which months wait for it."""

from datetime import date, timedelta

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus

from tradecore_pipeline.defs import lstm_shape
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.defs.schedule_runs import dates_of, in_progress, is_ended, range_request
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe, add_months

YEARLY = "yearly"
"""The schedule."""
YEARLY_TAG = "tradecore/yearly"
STUDY_DAYS = 7
"""Days of January on which the year's study is asked for."""
_ONE_DAY = timedelta(days=1)


def yearly_request(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe, today: date
) -> dg.RunRequest | dg.SkipReason:
    """The study of ``today``'s year, or why it is not asked for."""
    january = date(today.year, 1, 1)
    name, tag = _yearly(instrument, timeframe, january)
    if in_progress(instance, tag):
        return dg.SkipReason(f"{name}: the study is running")
    key = lstm_shape.asset_key(timeframe)
    if january in dates_of(instance.get_materialized_partitions(key), instrument):
        return dg.SkipReason(f"{name}: the study is there")
    if instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], tags=tag), limit=1):
        return dg.SkipReason(f"{name}: the study failed, see its run; materialize it, or do without it")
    if not is_ended(adapters, instrument, timeframe, add_months(january, -1)):
        return dg.SkipReason(f"{name}: waits for the features of December, up to {january - _ONE_DAY}")
    return range_request([key], instrument, january, january, tags=tag)


def study_comes(
    adapters: Adapters,
    instance: dg.DagsterInstance,
    instrument: Instrument,
    timeframe: Timeframe,
    month: date,
    *,
    today: date,
) -> bool:
    """Whether the study of ``month``'s year is running, or due: the month's shape must not hang on which is faster.

    It is due for January while `yearly` is switched on and its days are not over.
    """
    january = month.replace(month=1)
    _, tag = _yearly(instrument, timeframe, january)
    if in_progress(instance, tag):
        return True
    if month != january or not january <= today < january + STUDY_DAYS * _ONE_DAY:
        return False
    asked = yearly_request(adapters, instance, instrument, timeframe, today)
    return isinstance(asked, dg.RunRequest) and _is_switched_on(instance, YEARLY)


def _is_switched_on(instance: dg.DagsterInstance, schedule: str) -> bool:
    running = instance.all_instigator_state(
        instigator_type=InstigatorType.SCHEDULE, instigator_statuses={InstigatorStatus.RUNNING}
    )
    return any(state.instigator_name == schedule for state in running)


def _yearly(instrument: Instrument, timeframe: Timeframe, january: date) -> tuple[str, dict[str, str]]:
    return f"{timeframe} {january.year} of {instrument}", {YEARLY_TAG: f"{timeframe}|{january}|{instrument}"}
