"""All definitions of one deployment, put together from the stages."""

import dagster as dg

from tradecore_pipeline.defs import (
    alerts,
    automation,
    backtests,
    checks,
    features,
    lstm_shape,
    market_data,
    own_features,
    regimes,
    repair,
    training,
    tuning,
)
from tradecore_pipeline.defs.partitions import make_partitions
from tradecore_pipeline.defs.resources import RESOURCE, Adapters
from tradecore_pipeline.settings import Settings


def build_definitions(settings: Settings, adapters: Adapters) -> dg.Definitions:
    """Every asset, check and schedule for ``settings``, working through ``adapters``."""
    partitions = make_partitions(settings.parsed_instruments)
    modules = (market_data, features, own_features, tuning, lstm_shape, training, regimes, backtests)
    stages = [module.build(settings, partitions) for module in modules]
    more = (repair.build(settings), alerts.build(adapters))
    shared = dg.Definitions(resources={RESOURCE: adapters}, executor=dg.in_process_executor)
    return dg.Definitions.merge(
        *stages, checks.build(settings, partitions), automation.build(settings, adapters), *more, shared
    )
