"""The code that MLflow stores beside every model and runs to load it (models from code: nothing is unpickled)."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from tradecore_pipeline.model_registry.prediction import predict
from tradecore_pipeline.model_registry.stored import StoredModel


class StoredPredictor(PythonModel):
    """Reads the model's files and predicts on bars."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the files that were stored with the model."""
        self._model = StoredModel.read(Path(context.artifacts["stored"]))

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] (MLflow's base declares that it returns None)
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per bar, known at its close (see ``prediction.predict``)."""
        del context, params  # MLflow's signature; the files were read by load_context
        return predict(self._model, model_input)


set_model(StoredPredictor())
