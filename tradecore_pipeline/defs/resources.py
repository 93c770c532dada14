"""What the assets work with: the lake, the ledger, the exchanges and the model registry, opened when first used."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import cached_property
from typing import Any

import dagster as dg

from tradecore_pipeline.defs.instance import PID_TAG, this_process
from tradecore_pipeline.defs.partitions import stretches
from tradecore_pipeline.domain.errors import MissingInputError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Clock, utc_now
from tradecore_pipeline.exchanges import make_exchange
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.base import Exchange
from tradecore_pipeline.exchanges.days import trusted_now
from tradecore_pipeline.features.own import OwnFeatures
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.model_registry import ModelRegistry
from tradecore_pipeline.serving.own_features import configured_features
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.failures import Failures
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline.storage.listings import Listings

Progress = Callable[[str], None]
"""Called with a partition key as soon as that partition is done."""

RESOURCE = "adapters"


class Adapters:
    """Every door to the world that an asset may use."""

    def __init__(self, settings: Settings, *, clock: Clock = utc_now, progress: Progress | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self._progress = progress
        self._exchanges: dict[str, Exchange] = {}

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.settings.home)

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.layout)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.layout)

    @cached_property
    def failures(self) -> Failures:
        return Failures(self.layout)

    @cached_property
    def listings(self) -> Listings:
        return Listings(self.layout)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(
            self.layout,
            instruments=self.settings.parsed_instruments,
            timeframes=self.settings.parsed_timeframes,
            feature_names=FEATURE_NAMES,
            own_features=bool(self.settings.feature_files),
        )

    @cached_property
    def own_features(self) -> OwnFeatures:
        """What the user's files hold, which are run at the first use: for runs, never for servers.

        Raises:
            UsageError: a file is wrong; the message says what to change.
        """
        return configured_features(self.settings)

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.settings.mlflow_uri, artifact_root=self.layout.mlflow_artifacts)

    def exchange(self, name: str) -> Exchange:
        """The exchange called ``name``, with its addresses from the settings."""
        if name not in self._exchanges:
            self._exchanges[name] = make_exchange(name, self.access())
        return self._exchanges[name]

    def present(self, exchange: str) -> datetime:
        """The moment that decides which days an exchange can have: its own, or this machine's if that is earlier."""
        try:
            return trusted_now(self.exchange(exchange).server_time(), self.clock())
        except SourceUnavailableError:
            return self.clock()

    def access(self) -> Access:
        """How these settings reach exchanges."""
        settings = self.settings
        return Access(
            urls=settings.urls,
            timeout_seconds=settings.http_timeout_seconds,
            retries=settings.http_retries,
            workers=settings.download_workers,
            clock=self.clock,
            archive_only=settings.archive_only,
            budgets=settings.budgets,
            share=settings.request_share,
        )

    def run_url(self, run_id: str) -> str:
        """Where MLflow's UI shows a run, once `tradecore up` serves it."""
        return self.registry.run_url(run_id, ui_base=f"http://127.0.0.1:{self.settings.mlflow_port}")

    def dagster_link(self, run_id: str) -> str:
        """The same for Dagster, in Markdown: MLflow makes a link of it in a run's description, and of no tag."""
        return f"[Dagster run](http://127.0.0.1:{self.settings.dagster_port}/runs/{run_id})"

    def done(self, key: str) -> None:
        """Tell whoever watches that a partition is done."""
        if self._progress is not None:
            self._progress(key)


@contextmanager
def guarded(context: dg.AssetExecutionContext | dg.OpExecutionContext, adapters: Adapters) -> Generator[None]:
    """Mark the run with this process, turn our errors into failures that Dagster does not retry, refresh the views."""
    context.instance.add_run_tags(context.run.run_id, {PID_TAG: this_process()})
    try:
        yield
    except TradecoreError as error:
        raise dg.Failure(
            description=str(error), metadata={"error": type(error).__name__}, allow_retries=False
        ) from error
    finally:
        adapters.catalog.publish_database()


def report(context: dg.AssetExecutionContext, adapters: Adapters, key: str, metadata: Mapping[str, Any]) -> None:
    """Record a partition as materialized now, so that it counts even if the run is killed at the next one."""
    context.add_asset_metadata(dict(metadata), partition_key=key)
    context.log_event(dg.AssetMaterialization(asset_key=context.asset_key, partition=key, metadata=dict(metadata)))
    adapters.done(key)


def launch_id(context: dg.AssetExecutionContext) -> str:
    """What a killed run and its successors have in common: the backfill, or the first run."""
    return context.run.tags.get("dagster/backfill") or context.run.root_run_id or context.run.run_id


def missing_days(what: str, instrument: Instrument, days: Sequence[date], remedy: str) -> MissingInputError:
    """The error that names the days an asset cannot do without."""
    ranges = [f"{a}" if a == b else f"{a}..{b}" for a, b in stretches(sorted(days), monthly=False)]
    shown = ", ".join(ranges[:5]) + (f" and {len(ranges) - 5} more ranges" if len(ranges) > 5 else "")
    return MissingInputError(f"{instrument} has no {what} for {shown}: {remedy}")
