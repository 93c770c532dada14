"""A small market and a small study of the LSTM's shape."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.models.lstm_training import Recipe
from tradecore_pipeline.tuning.lstm_folds import ShapeData
from tradecore_pipeline.tuning.lstm_plan import ShapePlan, ShapeResult
from tradecore_pipeline.tuning.lstm_study import tune_shape
from tradecore_pipeline_tests.models.markets import simulate

HOUR = Timeframe.parse("1h")
ROWS = 1500
REGIMES = {
    "states": 2, "restarts": 1, "emission": "return_variance", "features": ("scaled_return",), "carry_bars": (1, 3),
    "seed": 5,
}  # fmt: skip
SMALL = replace(DEFAULT_SHAPE, hidden=8, chunk_bars=60)


def market(rows: int = ROWS) -> pd.DataFrame:
    return simulate(rows, scales=(0.3, 1.2), stay=0.98, df=6, seed=3, frequency="h", minutes=60).bars


BARS = market()
END = BARS.index[-1].to_pydatetime() + HOUR.duration


def data(bars: pd.DataFrame = BARS, **changes: Any) -> ShapeData:
    features = pd.DataFrame({"move": bars["close"].pct_change()}, index=bars.index)
    recipe = Recipe(
        filtered=None, features=features, regimes="probabilities", shape=SMALL, epochs=2, seed=5, device="cpu",
        history=None,
    )  # fmt: skip
    return ShapeData(bars, HOUR, None, REGIMES, replace(recipe, **changes))


def plan(trials: int, **changes: Any) -> ShapePlan:
    return replace(
        ShapePlan(END, window_bars=600, folds=2, purge_bars=1, trials=trials, seed=5, default=SMALL), **changes
    )


def run_study(path: Path, trials: int, *, bars: pd.DataFrame = BARS, processes: int = 1, **changes: Any) -> ShapeResult:
    return tune_shape(
        data(bars),
        plan(trials, **changes),
        study_path=path,
        study_name="test",
        processes=processes,
        done=lambda _: None,
    )
