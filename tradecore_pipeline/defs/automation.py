"""Schedules: hourly for days, monthly for models. They start stopped; the UI's switch turns them on."""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from tradecore_pipeline.defs import features, market_data, regimes, training, tuning
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, MARKET_DATA, REGIMES
from tradecore_pipeline.domain.time import Timeframe, add_months, day_range, month_of, month_range
from tradecore_pipeline.settings import Settings

ALL_ASSETS = "__ASSET_JOB"
"""Dagster's job over every asset: only it may hold assets with different partitions, which a run's range then cuts."""
ROLLOVER_TAG = "tradecore/rollover"

_ONE_DAY = timedelta(days=1)
_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def build(settings: Settings, adapters: Adapters) -> dg.Definitions:
    """The two schedules of these settings."""

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
        cron_schedule="*/15 0-5 1 * *",
        job_name=ALL_ASSETS,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="On the 1st: the digest of the month that ended, then tuning and models of the month that begins, "
        "then the days that waited. Every tick asks for the next step that is missing, so a failed one is tried again.",
    )
    def monthly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        answers = [
            rollover_request(adapters, context.instance, instrument, timeframe, today)
            for instrument in settings.parsed_instruments
            for timeframe in settings.parsed_timeframes
        ]
        return _one_tick(answers)

    return dg.Definitions(schedules=[hourly, monthly])


def _one_tick(answers: Sequence[dg.RunRequest | dg.SkipReason]) -> list[dg.RunRequest] | dg.SkipReason:
    """What a tick may say: Dagster takes requests, or one reason, never both."""
    requests = [answer for answer in answers if isinstance(answer, dg.RunRequest)]
    reasons = [answer.skip_message or "" for answer in answers if isinstance(answer, dg.SkipReason)]
    return requests or dg.SkipReason("; ".join(reasons))


def hourly_request(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, today: date
) -> dg.RunRequest | dg.SkipReason:
    """What brings an instrument's days up to date: one run, from its oldest day that is not complete."""
    first = oldest_incomplete_day(adapters, instrument, today)
    if first is None:
        return dg.SkipReason(f"{instrument} has no days yet: launch a first backfill")
    last = min(today, first + (adapters.settings.days_per_run - 1) * _ONE_DAY)
    assets = [
        market_data.asset_key(t.name) for t in MARKET_DATA.values() if instrument.is_perpetual or not t.perpetual_only
    ]
    for timeframe in adapters.settings.parsed_timeframes:
        assets += [features.asset_key(timeframe, name) for name in (BARS.name, features.FEATURES.name)]
        months = set(month_range(first, last))
        if months <= modelled_months(instance, instrument, timeframe):
            assets.append(regimes.asset_key(timeframe))
    return _request(assets, instrument, first, last, run_key=f"hourly|{instrument}|{adapters.clock():%Y-%m-%dT%H}")


def oldest_incomplete_day(adapters: Adapters, instrument: Instrument, today: date) -> date | None:
    """The first day since ingestion began whose minutes are not complete; None if nothing was ever ingested."""
    entries = adapters.ledger.entries(BARS_1M.name, instrument)
    if not entries:
        return None
    complete = {entry.day for entry in entries if entry.complete}
    return next((day for day in day_range(entries[0].day, today) if day not in complete), today)


def modelled_months(instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe) -> set[date]:
    """The months whose models, all of them, are there."""
    keys = [instance.get_materialized_partitions(key) for key in training.asset_keys(timeframe)]
    return _dates(set.intersection(*keys), instrument)


def rollover_request(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe, today: date
) -> dg.RunRequest | dg.SkipReason:
    """The next step that the month beginning at ``today``'s month still lacks, or why there is none."""
    month = month_of(today)
    name = f"{timeframe} {month:%Y-%m} of {instrument}"
    tag = {ROLLOVER_TAG: f"{timeframe}|{month}|{instrument}"}
    if instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS, tags=tag), limit=1):
        return dg.SkipReason(f"{name}: a step is running")
    ended = month - _ONE_DAY
    entry = adapters.ledger.get(BARS_1M.name, instrument, ended)
    feature_days = instance.get_materialized_partitions(features.asset_key(timeframe, features.FEATURES.name))
    if entry is None or not entry.complete or f"{ended}|{instrument}" not in feature_days:
        return dg.SkipReason(f"{name}: waits for the features of {ended}")
    digest = features.asset_key(timeframe, features.FEATURE_MONTH)
    if add_months(month, -1) not in _dates(instance.get_materialized_partitions(digest), instrument):
        return _request([digest], instrument, add_months(month, -1), add_months(month, -1), tags=tag)
    if month not in modelled_months(instance, instrument, timeframe):
        assets = [tuning.asset_key(timeframe), *training.asset_keys(timeframe)]
        return _request(assets, instrument, month, month, tags=tag)
    waiting = [
        day
        for day in waiting_days(adapters, instance, instrument, timeframe, today)
        if f"{day}|{instrument}" in feature_days
    ]
    if waiting:
        return _request([regimes.asset_key(timeframe)], instrument, waiting[0], waiting[-1], tags=tag)
    return dg.SkipReason(f"{name}: everything is there")


def waiting_days(
    adapters: Adapters, instance: dg.DagsterInstance, instrument: Instrument, timeframe: Timeframe, today: date
) -> list[date]:
    """The days whose regimes waited for the models of ``today``'s month.

    Those of the month so far that were never published, and the last day of the month before: its last bar closes as
    the month begins, when the hourly schedule publishes nothing until the month has models.
    """
    month = month_of(today)
    published = _dates(instance.get_materialized_partitions(regimes.asset_key(timeframe)), instrument)
    waiting = [day for day in day_range(month, today) if day not in published]
    ended = month - _ONE_DAY
    if month_of(ended) in modelled_months(instance, instrument, timeframe) and features.is_stale(
        adapters, REGIMES, instrument, ended, timeframe=timeframe
    ):
        waiting.insert(0, ended)
    return waiting


def _dates(keys: set[str], instrument: Instrument) -> set[date]:
    own = f"|{instrument}"
    return {date.fromisoformat(key.removesuffix(own)) for key in keys if key.endswith(own)}


def _request(
    assets: Sequence[dg.AssetKey],
    instrument: Instrument,
    first: date,
    last: date,
    *,
    tags: dict[str, str] | None = None,
    run_key: str | None = None,
) -> dg.RunRequest:
    bounds = {
        ASSET_PARTITION_RANGE_START_TAG: f"{first}|{instrument}",
        ASSET_PARTITION_RANGE_END_TAG: f"{last}|{instrument}",
    }
    return dg.RunRequest(run_key=run_key, asset_selection=list(assets), tags=bounds | (tags or {}))
