from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import HMM, ModelRegistry
from tradecore_pipeline.serving.trained_windows import trained_windows
from tradecore_pipeline_tests.chain import BTC, HOUR

MAY, JUNE, JULY = (date(2022, month, 1) for month in (5, 6, 7))


class Configs:
    """A registry that knows what models say of themselves, and has no arrays to read."""

    def config(self, kind: str, instrument: Instrument, timeframe: Timeframe, month: date) -> Mapping[str, Any] | None:
        assert (kind, instrument, timeframe) == (HMM, BTC, HOUR)
        return {MAY: {"window_bars": 500}, JUNE: {"states": 3}}.get(month)


def test_windows_are_read_without_loading_a_model() -> None:
    found = trained_windows(cast("ModelRegistry", Configs()), BTC, HOUR, (MAY, JUNE, JULY))
    assert found == {MAY: 500}
