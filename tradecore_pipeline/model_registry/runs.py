"""Runs in MLflow: an experiment per timeframe, in it a run per month and instrument, under that one run per fit."""

import re
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry.package import write_package
from tradecore_pipeline.model_registry.stored import StoredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

MONTH = "tradecore.month"
INSTRUMENT = "tradecore.instrument"
TIMEFRAME = "tradecore.timeframe"
KIND = "tradecore.kind"

_MONTH_RUN = "tradecore.month_run"
"""What a month's own run is found by."""
_PARENT = "mlflow.parentRunId"
_NOTE = "mlflow.note.content"
_BATCH = 1000
"""The most metrics that MLflow takes in one call."""
_EXPERIMENT_KIND = "mlflow.experimentKind"
"""Tells the UI that these are models, not evaluations of a language model."""

_EXPERIMENT_NOTE = (
    "One run per month and instrument; + opens its fits: `indicator_params` (tuned lengths), `hmm` (regimes), `har` "
    "(baselines), `lstm` (the published forecast). Each was fitted on bars that ended before its month; `figures/` of "
    "a run holds its pages."
)


def month_alias(month: date) -> str:
    """The alias of the version in force during ``month``, e.g. ``month-2022-05``."""
    return f"month-{month:%Y-%m}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when a model is in force."""

    instrument: Instrument
    timeframe: Timeframe
    month: date

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe} {self.month:%Y-%m}"

    @property
    def tags(self) -> dict[str, str]:
        """The same as tags to search by."""
        return {
            MONTH: month_alias(self.month),
            INSTRUMENT: str(self.instrument),
            TIMEFRAME: str(self.timeframe),
        }


class RunLog:
    """Writes runs; several processes may do so at once."""

    def __init__(self, client: "MlflowClient", tracking_uri: str, artifact_root: Path) -> None:
        self._client = client
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root

    def begin(self, place: Place, kind: str, tags: Mapping[str, str]) -> str:
        """The id of a new run, under its month's."""
        experiment = self._experiment(f"tradecore/{place.timeframe}")
        parent = self._month_run(experiment, place)
        name = f"{kind} {place.month:%Y-%m} {place.instrument}"
        return self._create(experiment, name, {**tags, **place.tags, KIND: kind, _PARENT: parent})

    def begin_alone(self, place: Place, kind: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of a new run that belongs to no month's."""
        experiment = self._experiment(f"tradecore/{place.timeframe}")
        return self._create(experiment, name, {**tags, **place.tags, KIND: kind})

    def begin_in(self, experiment: str, note: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of a new run in an experiment of its own, which ``note`` explains."""
        return self._create(self._experiment(experiment, note), name, tags)

    def log(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]],
        model: StoredModel,
        example: pd.DataFrame | None,
        figures: Mapping[str, bytes],
    ) -> None:
        """Everything that a fit leaves behind in its run; its metrics in the month's, too, named by kind."""
        self.log_numbers(run_id, parameters=parameters, metrics=metrics, series=series)
        parent = self._client.get_run(run_id).data.tags.get(_PARENT)
        if parent:
            self._log_metrics(str(parent), {f"{model.kind}/{name}": value for name, value in metrics.items()}, {})
        with tempfile.TemporaryDirectory(prefix="tradecore-") as text:
            scratch, upload = Path(text) / "scratch", Path(text) / "upload"
            scratch.mkdir()
            upload.mkdir()
            write_package(model, upload / "model", scratch=scratch, example=example)
            self._client.log_artifacts(run_id, str(upload))
        self.log_figures(run_id, figures)

    def log_numbers(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]],
    ) -> None:
        """Parameters, and results in batches."""
        from mlflow.entities import Param  # noqa: PLC0415 (MLflow takes seconds to import)

        self._client.log_batch(run_id, params=[Param(name, str(value)) for name, value in parameters.items()])
        self._log_metrics(run_id, metrics, series)

    def log_figures(self, run_id: str, figures: Mapping[str, bytes]) -> None:
        """Files by name, shown under ``figures/``."""
        with tempfile.TemporaryDirectory(prefix="tradecore-") as folder:
            for name, content in figures.items():
                (Path(folder) / name).write_bytes(content)
            self._client.log_artifacts(run_id, folder, "figures")

    @contextmanager
    def finishing(self, run_id: str) -> Generator[None]:
        """End the run, as failed where the block raises."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            yield
        except BaseException:
            # Where MLflow itself is gone it cannot be told either: what happened first is what counts.
            with suppress(MlflowException):
                self._client.set_terminated(run_id, status="FAILED")
            raise
        self._client.set_terminated(run_id, status="FINISHED")

    def require_own(self, location: str) -> None:
        """Refuse to read or write files of another home: a copied home would work on the original's."""
        own = self._artifact_root.resolve().as_uri()
        if not self._tracking_uri.endswith(str(self._artifact_root.parent / "mlflow.db")):
            return  # a registry of somebody's own choice keeps its files where it likes
        if location.startswith("file:") and not location.startswith(f"{own}/"):
            raise RegistryError(
                f"the models of this home lie in {location}: it was copied or moved. Move it back, or remove its "
                "mlflow.db and mlartifacts and train again"
            )

    def _experiment(self, name: str, note: str = _EXPERIMENT_NOTE) -> str:
        found = self._client.get_experiment_by_name(name)
        location = self._artifact_root / re.sub(r"[^\w]+", "-", name)
        if found is None:
            with unless_it_exists():
                return self._client.create_experiment(
                    name,
                    artifact_location=location.resolve().as_uri(),
                    tags={_EXPERIMENT_KIND: "custom_model_development", _NOTE: note},
                )
            found = self._client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise RegistryError(
                f"MLflow at {self._tracking_uri} has no experiment {name!r}: was it deleted? Train again"
            )
        self.require_own(str(found.artifact_location))
        return str(found.experiment_id)

    def _month_run(self, experiment: str, place: Place) -> str:
        """The run that a month's fits are nested under; made by whichever comes first."""
        with FileLock(self._artifact_root / "months.lock"):
            found = self._client.search_runs([experiment], f"tags.`{_MONTH_RUN}` = '{place}'", max_results=1)
            if found:
                return str(found[0].info.run_id)
            note = f"Everything fitted for {place.instrument} at {place.timeframe}, in force in {place.month:%Y-%m}."
            name = f"{place.month:%Y-%m} {place.instrument}"
            run_id = self._create(experiment, name, {**place.tags, _MONTH_RUN: str(place), _NOTE: note})
            self._client.set_terminated(run_id, status="FINISHED")
            return run_id

    def _create(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        return str(self._client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _log_metrics(self, run_id: str, metrics: Mapping[str, float], series: Mapping[str, Sequence[float]]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 (MLflow takes seconds to import)

        now = int(time.time() * 1000)
        numbers = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        numbers += [
            Metric(name, float(value), now, step)
            for name, values in series.items()
            for step, value in enumerate(values)
        ]
        for first in range(0, len(numbers), _BATCH):
            self._client.log_batch(run_id, metrics=numbers[first : first + _BATCH])


@contextmanager
def unless_it_exists() -> Generator[None]:
    """Creating what another process has just created is no error."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
