"""MLflow, imported the one way this project uses it: quiet, private, and unable to unpickle."""

import importlib
import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager

ENVIRONMENT = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""What every process that imports MLflow runs with, servers that we start included."""

_KNOWN_WARNINGS = (
    r"The ``noload`` loader strategy is deprecated",  # MLflow's own tables, under SQLAlchemy 2.1
    r".*An input example was not provided",  # the signature is written by hand instead
    r"Operation with range is deprecated",  # MLflow's handling of examples, under pandas 3
    r".*Any type hint is inferred as AnyType",  # MLflow's own chat agents
)


def load_mlflow() -> None:
    """Import MLflow under ``ENVIRONMENT``; later imports of its parts find it that way."""
    os.environ.update(ENVIRONMENT)
    with without_known_warnings():
        importlib.import_module("mlflow")

    logging.getLogger("mlflow").setLevel(logging.WARNING)


@contextmanager
def without_known_warnings() -> Generator[None]:
    """MLflow's warnings about itself are not shown; every other warning is."""
    with warnings.catch_warnings():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
