"""Runs that schedules ask for: over which days, whether one is under way, and whether what it reads is all there."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from tradecore_pipeline.defs import feature_days
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import Timeframe, add_months

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def range_request(
    assets: Sequence[dg.AssetKey],
    instrument: Instrument,
    first: date,
    last: date,
    *,
    tags: dict[str, str],
    run_config: Mapping[str, Any] | None = None,
) -> dg.RunRequest:
    """A run of ``assets`` over an instrument's partitions from ``first`` to ``last``."""
    bounds = {
        ASSET_PARTITION_RANGE_START_TAG: f"{first}|{instrument}",
        ASSET_PARTITION_RANGE_END_TAG: f"{last}|{instrument}",
    }
    return dg.RunRequest(asset_selection=list(assets), tags=bounds | tags, run_config=run_config)


def in_progress(instance: dg.DagsterInstance, tags: dict[str, str]) -> bool:
    """Whether a run with these tags waits or works."""
    return bool(instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS, tags=tags), limit=1))


def dates_of(keys: set[str], instrument: Instrument) -> set[date]:
    """The dates of an instrument's partitions."""
    own = f"|{instrument}"
    return {date.fromisoformat(key.removesuffix(own)) for key in keys if key.endswith(own)}


def is_ended(adapters: Adapters, instrument: Instrument, timeframe: Timeframe, month: date) -> bool:
    """Whether a month's last day is complete and the month has all of its features."""
    entry = adapters.ledger.get(BARS_1M.name, instrument, add_months(month, 1) - timedelta(days=1))
    whole = feature_days.is_whole_month(adapters, instrument, month, timeframe=timeframe)
    return entry is not None and entry.complete and whole
