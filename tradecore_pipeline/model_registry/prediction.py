"""What a stored model answers when MLflow asks it to predict on bars."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry.stored import StoredModel

PRICE_COLUMNS = ("open", "high", "low", "close", "volume", "realized_variance")
"""What every kind reads of a bar, beside its count of minutes."""


def predict(model: StoredModel, bars: pd.DataFrame) -> pd.DataFrame:
    """One row per bar, known at its close: filtered probabilities, a forecast of the next bar, or tuned features.

    ``bars`` are consecutive and indexed by ``ts_open``, or carry it as a column of ISO 8601 text; a network also reads
    its other inputs from columns of the same names.
    """
    if "ts_open" in bars.columns:
        index = pd.DatetimeIndex(pd.to_datetime(bars["ts_open"], utc=True), name="ts_open")
        bars = bars.drop(columns="ts_open").set_axis(index)
    if model.kind == "hmm":
        return _filtered_probabilities(model, bars)
    if model.kind == "indicator_params":
        return _tuned_features(model, bars)
    return _forecast(model, bars)


def extra_columns(model: StoredModel) -> tuple[str, ...]:
    """The columns that the model reads beside those of the bars."""
    if model.kind == "lstm":
        return tuple(name for name in model.config["columns"] if not _from_bars(name))
    if model.kind == "hmm":
        from tradecore_pipeline.models.inputs import FEATURES  # noqa: PLC0415 (imported where it is used)

        return tuple(name for name in model.config["features"] if name not in FEATURES)
    return ()


def _extra(model: StoredModel, bars: pd.DataFrame) -> pd.DataFrame | None:
    names = list(extra_columns(model))
    return bars.loc[:, names] if names else None


def _from_bars(name: str) -> bool:
    """Whether a network's input is one of those that its own t-HAR computes from the bars."""
    return name == "seasonal_next" or name.startswith("relative_variance_")


def _filtered_probabilities(model: StoredModel, bars: pd.DataFrame) -> pd.DataFrame:
    from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (numba, only when a model predicts)

    regimes = RegimeModel.from_parts(model.config, model.arrays)
    return regimes.filter(bars, _extra(model, bars)).frame


def _forecast(model: StoredModel, bars: pd.DataFrame) -> pd.DataFrame:
    from tradecore_pipeline.models.density import PERCENT  # noqa: PLC0415 (scipy, only when a model predicts)
    from tradecore_pipeline.models.har import THar  # noqa: PLC0415 (likewise)

    config: dict[str, Any] = dict(model.config)
    if model.kind == "har":
        density = THar.from_parts(config, dict(model.arrays)).forecast(bars)
    else:
        density = _network_density(model, bars)
    columns = {"forecast_log_return": density.mean / PERCENT, "forecast_volatility": density.volatility / PERCENT}
    return pd.DataFrame(columns, index=bars.index)


def _network_density(model: StoredModel, bars: pd.DataFrame) -> Any:
    from tradecore_pipeline.models.lstm import LstmForecaster, forecast_inputs  # noqa: PLC0415 (torch)

    weights: Mapping[str, Any] = model.tensors or {}
    forecaster = LstmForecaster.from_parts(model.config, model.arrays, weights=weights)
    inputs = forecast_inputs(bars, forecaster.har, filtered=None, features=_extra(model, bars))
    return forecaster.forecast(bars, inputs).pooled


def _tuned_features(model: StoredModel, bars: pd.DataFrame) -> pd.DataFrame:
    from tradecore_pipeline.features.tuned import (  # noqa: PLC0415 (imported where it is used)
        IndicatorParameters,
        tuned_features,
    )

    parameters = IndicatorParameters.from_dict(model.config["parameters"])
    return tuned_features(bars, parameters, timeframe=Timeframe.parse(model.timeframe))
