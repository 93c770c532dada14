"""Schedules: hourly for days, monthly for models, yearly for a study. They start stopped; the UI's switch is theirs."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from tradecore_pipeline.defs import feature_days, features, ingestion, regimes, training, tuning
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.defs.schedule_runs import dates_of, in_progress, is_ended, range_request
from tradecore_pipeline.defs.yearly import STUDY_DAYS, YEARLY, study_comes, yearly_request
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.offers import offered
from tradecore_pipeline.domain.tables import REGIMES, Table
from tradecore_pipeline.domain.time import Timeframe, add_months, day_range, month_of, month_range
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.mending import readable_entries

ALL_ASSETS = "__ASSET_JOB"
"""Dagster's job over every asset: only it may hold assets with different partitions, which a run's range then cuts."""
ROLLOVER_TAG = "tradecore/rollover"
HOURLY_TAG = "tradecore/hourly"

_ONE_DAY = timedelta(days=1)


def build(settings: Settings, adapters: Adapters) -> dg.Definitions:
    """The three schedules of these settings."""

    @dg.schedule(
        name="hourly",
        cron_schedule="5 * * * *",
        job_name=ALL_ASSETS,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Market data and features from the oldest day that is not complete to today; regimes where the "
        "month's models are there.",
    )
    def hourly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        answers = [hourly_request(adapters, context.instance, i, today) for i in settings.parsed_instruments]
        return _one_tick(answers)

    @dg.schedule(
        name="monthly",
        cron_schedule="*/15 * * * *",
        job_name=ALL_ASSETS,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="From the 1st on: the digest of the month that ended, then tuning and models of the month that "
        "begins, then the days that waited. Every tick asks for the next step that is missing, so a failed one is "
        "tried again and a machine that was off catches up. A month's models wait while `yearly` studies their year, "
        "and January's for a study that it is about to ask for.",
    )
    def monthly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        answers = [
            rollover_request(adapters, context.instance, instrument, timeframe, today)
            for instrument in settings.parsed_instruments
            for timeframe in settings.parsed_timeframes
        ]
        return _one_tick(answers)

    @dg.schedule(
        name=YEARLY,
        cron_schedule=f"*/15 * 1-{STUDY_DAYS} 1 *",
        job_name=ALL_ASSETS,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="From 1 January on: the study of the LSTM's shape for the year that begins, once December's "
        "features are there. `monthly` waits for it and goes on once it is done or has failed: a study that failed is "
        "not asked for again, and the shape from before stays in force.",
    )
    def yearly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        answers = [
            yearly_request(adapters, context.instance, instrument, timeframe, today)
            for instrument in settings.parsed_instruments
            for timeframe in settings.parsed_timeframes
        ]
        return _one_tick(answers)

    return dg.Definitions(schedules=[hourly, monthly, yearly])


def _one_tick(answers: Sequence[dg.RunRequest | dg.SkipReason]) -> list[dg.RunRequest] | dg.SkipReason:
    """What a tick may say: Dagster takes requests, or one reason, never both."""
    requests = [answer for answer in answers if isinstance(answer, dg.RunRequest)]
    reasons = [answer.skip_message or "" for answer in answers if isinstance(answer, dg.SkipReason)]
    return requests or dg.SkipReason("; ".join(reasons))


def hourly_request(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, today: date
) -> dg.RunRequest | dg.SkipReason:
    """What brings an instrument's days up to date: one run, from its oldest day that is not complete."""
    tag = {HOURLY_TAG: str(instrument)}
    if in_progress(instance, tag):
        return dg.SkipReason(f"{instrument}: an update is running")
    first = oldest_incomplete_day(adapters, instrument, today)
    if first is None:
        return dg.SkipReason(f"{instrument} has no days yet: launch a first backfill")
    last = min(ingestion.last_listed_day(adapters, instrument, today), first + _most_days(adapters))
    if first > last:
        return dg.SkipReason(f"{instrument} was delisted on {last} and has all its days")
    ingested = [ingestion.asset_key(table.name) for table in datasets(adapters, instrument)]
    assets = list(ingested)
    for timeframe in adapters.settings.parsed_timeframes:
        assets += [features.asset_key(timeframe, name) for name in feature_days.tables(adapters.settings)]
        if set(month_range(first, last)) <= modelled_months(instance, instrument, timeframe):
            assets.append(regimes.asset_key(timeframe))
    return range_request(assets, instrument, first, last, tags=tag, run_config=_keeping(ingested))


def _keeping(assets: Sequence[dg.AssetKey]) -> dict[str, Any]:
    """The run's configuration under which finished days are not asked for again."""
    return {"ops": {"__".join(key.path): {"config": {"keep_stored": True}} for key in assets}}


def _most_days(adapters: Adapters) -> timedelta:
    return (adapters.settings.days_per_run - 1) * _ONE_DAY


def oldest_incomplete_day(adapters: Adapters, instrument: Instrument, today: date) -> date | None:
    """The first day since ingestion began that a dataset of the instrument lacks; None if nothing was ever ingested."""
    tables = datasets(adapters, instrument)
    begun = [table.name for table in tables if adapters.ledger.days(table.name, instrument)]
    return min((_first_incomplete(adapters, name, instrument, today) for name in begun), default=None)


def _first_incomplete(adapters: Adapters, dataset: str, instrument: Instrument, today: date) -> date:
    """The same of one dataset; a day whose entry is damaged is not complete."""
    entries, _ = readable_entries(adapters.ledger, dataset, instrument)
    complete = {entry.day for entry in entries if entry.complete}
    first = adapters.ledger.days(dataset, instrument)[0]
    return next((day for day in day_range(first, today) if day not in complete), today)


def datasets(adapters: Adapters, instrument: Instrument) -> list[Table]:
    """The tables that are kept up to date for ``instrument``."""
    return [table for table in offered(instrument) if table.name in adapters.settings.datasets]


def modelled_months(instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe) -> set[date]:
    """The months whose models, all of them, are there."""
    keys = [instance.get_materialized_partitions(key) for key in training.asset_keys(timeframe)]
    return dates_of(set.intersection(*keys), instrument)


def rollover_request(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe, today: date
) -> dg.RunRequest | dg.SkipReason:
    """The next step that a month up to ``today``'s still lacks, the oldest month first, or why there is none."""
    reasons: list[str] = []
    for month in unmodelled_months(instance, instrument, timeframe, today):
        answer = _models_request(adapters, instance, instrument, timeframe, month, today=today)
        if isinstance(answer, dg.RunRequest):
            return answer
        reasons.append(answer.skip_message or "")
    if reasons:
        return dg.SkipReason(reasons[-1])
    name, tag = _rollover(instrument, timeframe, month_of(today))
    if in_progress(instance, tag):
        return dg.SkipReason(f"{name}: a step is running")
    waiting = waiting_days(adapters, instance, instrument, timeframe, today)
    if not waiting:
        return dg.SkipReason(f"{name}: everything is there")
    return range_request([regimes.asset_key(timeframe)], instrument, waiting[0], waiting[-1], tags=tag)


def unmodelled_months(
    instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe, today: date
) -> list[date]:
    """The months after the newest one with models, up to ``today``'s; only that one where no month has any."""
    current = month_of(today)
    modelled = [month for month in modelled_months(instance, instrument, timeframe) if month <= current]
    return list(month_range(add_months(max(modelled), 1), current)) if modelled else [current]


def _models_request(
    adapters: Adapters,
    instance: dg.DagsterInstance,
    instrument: Instrument,
    timeframe: Timeframe,
    month: date,
    *,
    today: date,
) -> dg.RunRequest | dg.SkipReason:
    """The digest of the month before, or the tuning and models of ``month``, whichever is missing first."""
    name, tag = _rollover(instrument, timeframe, month)
    if in_progress(instance, tag):
        return dg.SkipReason(f"{name}: a step is running")
    before = add_months(month, -1)
    if not is_ended(adapters, instrument, timeframe, before):
        return dg.SkipReason(f"{name}: waits for the features of {before:%Y-%m}, up to {month - _ONE_DAY}")
    if not feature_days.is_digested(adapters, instrument, before, timeframe=timeframe):
        digest = features.asset_key(timeframe, feature_days.FEATURE_MONTH)
        return range_request([digest], instrument, before, before, tags=tag)
    if study_comes(adapters, instance, instrument, timeframe, month, today=today):
        return dg.SkipReason(f"{name}: waits for the study of the LSTM's shape of {month.year}")
    assets = [tuning.asset_key(timeframe), *training.asset_keys(timeframe)]
    return range_request(assets, instrument, month, month, tags=tag)


def _rollover(instrument: Instrument, timeframe: Timeframe, month: date) -> tuple[str, dict[str, str]]:
    return f"{timeframe} {month:%Y-%m} of {instrument}", {ROLLOVER_TAG: f"{timeframe}|{month}|{instrument}"}


def waiting_days(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe, today: date
) -> list[date]:
    """The days whose regimes waited for the models of ``today``'s month, as far as they have features.

    Those of the month so far that were never published, and the last day of the month before: its last bar closes as
    the month begins, when the hourly schedule publishes nothing until the month has models.
    """
    month = month_of(today)
    ended = month - _ONE_DAY
    published = dates_of(instance.get_materialized_partitions(regimes.asset_key(timeframe)), instrument)
    waiting = [day for day in day_range(month, today) if day not in published]
    if month_of(ended) in modelled_months(instance, instrument, timeframe):
        waiting = feature_days.stale_days(adapters, REGIMES, instrument, [ended], timeframe=timeframe) + waiting
    computed = set(adapters.lake.days(feature_days.FEATURES, instrument, timeframe=timeframe))
    return [day for day in waiting if day in computed]
