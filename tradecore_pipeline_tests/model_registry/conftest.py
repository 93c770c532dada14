"""A registry for all tests here, and one fit to log."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS
from tradecore_pipeline.model_registry import LoggedModel, ModelRegistry, Verdict
from tradecore_pipeline_tests.model_registry.cases import HOUR, MAY, Fit, some_bars


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests here: creating its tables takes seconds. Each test has an instrument of its own."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def registry(home: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{home / 'mlflow.db'}", artifact_root=home / "mlartifacts")


@pytest.fixture
def instrument(request: pytest.FixtureRequest) -> Instrument:
    letters = "".join(letter for letter in request.node.name.upper() if letter.isalnum())
    return Instrument("binance", f"{letters[-20:]}/USDT:USDT")


@pytest.fixture
def fit(registry: ModelRegistry, instrument: Instrument) -> Fit:
    def log(month: date = MAY, **changes: Any) -> LoggedModel:
        facts: dict[str, Any] = {
            "kind": "indicator_params",
            "parameters": {"trials": 30, "seed": 7},
            "metrics": {"error": 1.25},
            "series": {"trial_error": [1.5, 1.25, 1.375]},
            "arrays": {"values": np.array([1.5, 1.25, 1.375])},
            "tensors": None,
            "config": {"parameters": DEFAULT_PARAMETERS.to_dict()},
            "tags": {"dagster.run_id": "abc"},
            "figures": {"study.html": b"<p>study</p>"},
            "example": some_bars(200),
            "verdict": Verdict(champion=True, evidence="no rival"),
        }
        return registry.log_fit(instrument=instrument, timeframe=HOUR, month=month, **facts | changes)

    return log


@pytest.fixture(autouse=True)
def _no_tracking_uri_left_behind() -> Iterator[None]:
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
