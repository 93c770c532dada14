"""What the tests of the registry share: a fit to log, and bars."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import LoggedModel, ModelRegistry

HOUR = Timeframe.parse("1h")
MAY, JUNE, JULY = date(2022, 5, 1), date(2022, 6, 1), date(2022, 7, 1)
PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".cloudpickle"}
Fit = Callable[..., LoggedModel]


def some_bars(rows: int = 1200) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    returns = 0.004 * rng.standard_t(5, rows)
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range(datetime(2022, 1, 1, tzinfo=UTC), periods=rows, freq="h", name="ts_open", unit="ms")
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) / 1.001,
            "close": close,
            "volume": rng.gamma(2, 5, rows),
            "realized_variance": returns**2 + 1e-7,
            "minutes": np.full(rows, 60, dtype=np.int32),
        },
        index=index,
    )


def loaded(registry: ModelRegistry, uri: str) -> Any:
    import mlflow  # noqa: PLC0415 (only after the registry has set its environment)

    mlflow.set_tracking_uri(registry._tracking_uri)
    return mlflow.pyfunc.load_model(uri)
