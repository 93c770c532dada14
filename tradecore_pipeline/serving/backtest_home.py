"""A home's doors for backtests: its lake, its registry, and what models of other months say of a bar."""

from collections.abc import Sequence
from datetime import date

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import HMM, ModelRegistry
from tradecore_pipeline.model_registry.origins import Origin
from tradecore_pipeline.serving.strategy_markets import Home, Recall
from tradecore_pipeline.storage.lake import Lake


def backtest_home(lake: Lake, registry: ModelRegistry, *, recall: Recall, label_threshold: float) -> Home:
    """The doors; each run is asked about once."""
    known: dict[str, Origin | None] = {}

    def find_origin(run_id: str) -> Origin | None:
        if run_id not in known:
            known[run_id] = registry.origin(run_id)
        return known[run_id]

    def names(run_id: str, instrument: Instrument, timeframe: Timeframe, month: date) -> Sequence[str] | None:
        from tradecore_pipeline.models.direction import direction_names  # noqa: PLC0415 (hmmlearn takes a second)

        model = registry.load(HMM, instrument, timeframe=timeframe, month=month)
        if model is None or model.run_id != run_id:
            return None
        return direction_names(model.arrays["mean_returns_bps"])

    return Home(lake, find_origin, names, recall, label_threshold)
