"""Dagster's door: what `dagster dev`, the daemon and every run load."""

import warnings

# Dagster's own notices that these two are beta; both are used on purpose.
warnings.filterwarnings(
    "ignore", message=r"(?s).*(MultiPartitionMapping|backfill_policy|allow_nonexistent_upstream_partitions)"
)

from tradecore_pipeline.defs.build import build_definitions  # noqa: E402 (after the filter)
from tradecore_pipeline.defs.resources import Adapters  # noqa: E402
from tradecore_pipeline.settings import Settings  # noqa: E402

_settings = Settings.load()
definitions = build_definitions(_settings, Adapters(_settings))
