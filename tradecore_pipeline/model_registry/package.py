"""A stored model as the folder that ``mlflow.pyfunc.load_model`` understands."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradecore_pipeline.model_registry.environment import load_mlflow, without_known_warnings
from tradecore_pipeline.model_registry.prediction import PRICE_COLUMNS, extra_columns
from tradecore_pipeline.model_registry.stored import ModelKind, StoredModel

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_CODE = Path(__file__).with_name("pyfunc_model.py")
_REQUIREMENTS: dict[ModelKind, tuple[str, ...]] = {
    "hmm": ("hmmlearn", "numba", "scipy"),
    "har": ("scipy",),
    "lstm": ("scipy", "torch", "safetensors"),
    "indicator_params": ("pandas-ta-classic", "TA-Lib"),
}


def write_package(model: StoredModel, folder: Path, *, scratch: Path, example: pd.DataFrame | None) -> None:
    """Write the package into ``folder``; ``scratch`` is an empty place for files that are copied from.

    ``example`` are bars that the model predicts on, shown beside it where they have all that it reads.
    """
    load_mlflow()
    stored = scratch / "stored"
    model.write(stored)
    with without_known_warnings():
        from mlflow.pyfunc import save_model  # noqa: PLC0415 (MLflow takes seconds to import, and warns)

        shown: Any = _example(model, example)  # MLflow takes None, and does not declare it
        save_model(
            str(folder),
            python_model=str(_CODE),
            artifacts={"stored": str(stored)},
            signature=_signature(model),
            pip_requirements=_requirements(model.kind),
            input_example=shown,
        )


def _bar_columns(model: StoredModel) -> dict[str, str]:
    """What the model reads of a bar, with MLflow's names of types."""
    prices = dict.fromkeys(PRICE_COLUMNS, "double")
    return prices | {"minutes": "long"} | dict.fromkeys(extra_columns(model), "double")


def _example(model: StoredModel, bars: pd.DataFrame | None) -> pd.DataFrame | None:
    """``bars`` as the signature has them; None where they lack what the model reads."""
    columns = _bar_columns(model)
    if bars is None or not set(columns) <= set(bars.columns):
        return None
    found = bars.loc[:, list(columns)].astype({"minutes": "int64"}).reset_index(drop=True)
    return found.assign(ts_open=[moment.isoformat() for moment in bars.index])


def _signature(model: StoredModel) -> "ModelSignature":
    from mlflow.models import ModelSignature  # noqa: PLC0415 (as above)
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415 (as above)

    columns: list[ColSpec | TensorSpec] = [ColSpec(kind, name) for name, kind in _bar_columns(model).items()]
    # As text: MLflow's datetimes refuse time zones. Frames that are indexed by ts_open do without it.
    columns.append(ColSpec("string", "ts_open", required=False))
    return ModelSignature(inputs=Schema(columns))


def _requirements(kind: ModelKind) -> list[str]:
    names = ("tradecore-pipeline", "mlflow", "numpy", "pandas", *_REQUIREMENTS[kind])
    return [f"{name}=={version(name)}" for name in names]
