"""Fits in MLflow: one run per fit, one registered model per instrument, timeframe and kind, one alias per month."""

import re
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry.environment import load_mlflow, without_known_warnings
from tradecore_pipeline.model_registry.package import write_package
from tradecore_pipeline.model_registry.stored import Arrays, ModelKind, StoredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
"""The alias of the newest month's version."""

_MONTH = "tradecore.month"
_DIGEST = "tradecore.model_sha256"
_BATCH = 1000
"""The most metrics that MLflow takes in one call."""
_EXPERIMENT_KIND = "mlflow.experimentKind"
"""Tells the UI that these are models, not evaluations of a language model."""


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """Where a fit went."""

    run_id: str
    name: str
    version: int


def model_name(kind: ModelKind, instrument: Instrument, timeframe: Timeframe) -> str:
    """The registered name, e.g. ``binance-btc_usdt_usdt-1h-hmm``."""
    return f"{instrument.exchange}-{instrument.path_symbol}-{timeframe}-{kind}".lower()


def month_alias(month: date) -> str:
    """The alias of the version in force during ``month``, e.g. ``month-2022-05``."""
    return f"month-{month:%Y-%m}"


class ModelRegistry:
    """Writes fits to MLflow and reads them back; several processes may do both at once."""

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root

    @cached_property
    def _client(self) -> "MlflowClient":
        load_mlflow()
        from mlflow import MlflowClient  # noqa: PLC0415 (it takes seconds to import)

        self._artifact_root.mkdir(parents=True, exist_ok=True)
        # Several commands may be the first on a home: MLflow's tables are made by one of them.
        lock = FileLock(self._artifact_root / "creation.lock")
        with without_known_warnings(), lock, _explained(self._tracking_uri):
            client = MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
        return client

    def log_fit(  # noqa: PLR0913 (each is one part of what a fit leaves behind)
        self,
        *,
        kind: ModelKind,
        instrument: Instrument,
        timeframe: Timeframe,
        month: date,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]],
        arrays: Arrays,
        tensors: Arrays | None,
        config: Mapping[str, Any],
        tags: Mapping[str, str],
        figures: Mapping[str, bytes],
    ) -> LoggedModel:
        """Record one fit as a run and a model version, in force during ``month`` (its alias moves here).

        The champion is the newest month's. A fit equal to the one in force (same config, arrays and tensors) is not
        recorded twice: what is there is returned. If anything fails, the run is marked as failed and nothing is
        registered.

        Args:
            kind: the model family.
            instrument: what it was fitted on.
            timeframe: the length of its bars.
            month: the first day of the month that it is in force.
            parameters: settings of the fit, shown as MLflow parameters.
            metrics: results, one number each.
            series: results per step (an epoch, a fold, a trial), such as learning curves.
            arrays: everything numeric that the model needs to predict.
            tensors: a network's weights by name, or None.
            config: the rest of what it needs, as JSON values.
            tags: what else to note, such as the Dagster run and the digest of the data.
            figures: files by name (``curve.html``, ``states.png``), shown under ``figures/``.
        """
        model = StoredModel(kind, str(timeframe), config, arrays, tensors)
        name, digest = model_name(kind, instrument, timeframe), model.digest()
        standing = self._version(name, month_alias(month))
        if standing is not None and standing.tags.get(_DIGEST) == digest:
            self._point_aliases(name, month, standing)
            return LoggedModel(str(standing.run_id), name, int(standing.version))
        facts = {_MONTH: month_alias(month), _DIGEST: digest, "tradecore.instrument": str(instrument)}
        facts |= {"tradecore.timeframe": str(timeframe), "tradecore.kind": kind}
        with _explained(self._tracking_uri):
            experiment = self._experiment(f"tradecore/{kind}/{timeframe}")
        run = self._client.create_run(experiment, run_name=f"{instrument} {month:%Y-%m}", tags={**tags, **facts})
        run_id = str(run.info.run_id)
        with self._finishing(run_id):
            self._log_numbers(run_id, parameters, metrics, series)
            self._log_files(run_id, model, figures)
            version = self._register(name, run_id, facts)
        self._point_aliases(name, month, version)
        return LoggedModel(run_id, name, int(version.version))

    def load(self, kind: ModelKind, instrument: Instrument, timeframe: Timeframe, month: date) -> StoredModel | None:
        """The model in force during ``month``, or None where none was fitted."""
        with _explained(self._tracking_uri):
            version = self._version(model_name(kind, instrument, timeframe), month_alias(month))
            if version is None:
                return None
            run_id = str(version.run_id)
            self._require_own(str(self._client.get_run(run_id).info.artifact_uri))
            folder = self._client.download_artifacts(run_id, "model/artifacts/stored")
            return StoredModel.read(Path(folder), run_id=run_id, version=int(version.version))

    def run_url(self, run_id: str, ui_base: str) -> str:
        """Where the MLflow UI at ``ui_base`` shows a run."""
        experiment = self._client.get_run(run_id).info.experiment_id
        return f"{ui_base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        location = self._artifact_root / re.sub(r"[^\w]+", "-", name)
        if found is None:
            with _unless_it_exists():
                return self._client.create_experiment(
                    name,
                    artifact_location=location.resolve().as_uri(),
                    tags={_EXPERIMENT_KIND: "custom_model_development"},
                )
            found = self._client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise RegistryError(
                f"MLflow at {self._tracking_uri} has no experiment {name!r}: was it deleted? Train again"
            )
        self._require_own(str(found.artifact_location))
        return str(found.experiment_id)

    def _require_own(self, location: str) -> None:
        """Refuse to read or write files of another home: a copied home would work on the original's."""
        own = self._artifact_root.resolve().as_uri()
        if not self._tracking_uri.endswith(str(self._artifact_root.parent / "mlflow.db")):
            return  # a registry of somebody's own choice keeps its files where it likes
        if location.startswith("file:") and not location.startswith(f"{own}/"):
            raise RegistryError(
                f"the models of this home lie in {location}: it was copied or moved. Move it back, or remove its "
                "mlflow.db and mlartifacts and train again"
            )

    def _version(self, name: str, alias: str) -> "ModelVersion | None":
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            aliases: Mapping[str, str] = self._client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return self._client.get_model_version(name, aliases[alias]) if alias in aliases else None

    def _log_numbers(
        self,
        run_id: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]],
    ) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415 (MLflow takes seconds to import)

        now = int(time.time() * 1000)
        numbers = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        numbers += [
            Metric(name, float(value), now, step)
            for name, values in series.items()
            for step, value in enumerate(values)
        ]
        self._client.log_batch(run_id, params=[Param(name, str(value)) for name, value in parameters.items()])
        for first in range(0, len(numbers), _BATCH):
            self._client.log_batch(run_id, metrics=numbers[first : first + _BATCH])

    def _log_files(self, run_id: str, model: StoredModel, figures: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="tradecore-") as text:
            scratch, upload = Path(text) / "scratch", Path(text) / "upload"
            scratch.mkdir()
            (upload / "figures").mkdir(parents=True)
            write_package(model, upload / "model", scratch=scratch)
            for name, content in figures.items():
                (upload / "figures" / name).write_bytes(content)
            self._client.log_artifacts(run_id, str(upload))

    def _register(self, name: str, run_id: str, tags: Mapping[str, str]) -> "ModelVersion":
        with _unless_it_exists():
            self._client.create_registered_model(name)
        return self._client.create_model_version(name, f"runs:/{run_id}/model", run_id, tags=dict(tags))

    def _point_aliases(self, name: str, month: date, version: "ModelVersion") -> None:
        self._client.set_registered_model_alias(name, month_alias(month), str(version.version))
        champion = self._version(name, CHAMPION)
        if champion is None or champion.tags.get(_MONTH, "") <= month_alias(month):
            self._client.set_registered_model_alias(name, CHAMPION, str(version.version))

    @contextmanager
    def _finishing(self, run_id: str) -> Generator[None]:
        """End the run, as failed where the block raises."""
        try:
            yield
        except BaseException:
            self._client.set_terminated(run_id, status="FAILED")
            raise
        self._client.set_terminated(run_id, status="FINISHED")


@contextmanager
def _unless_it_exists() -> Generator[None]:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _explained(tracking_uri: str) -> Generator[None]:
    """Turn what MLflow, its database and damaged files raise into one line that says what to do."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)
    from safetensors import SafetensorError  # noqa: PLC0415 (comes with it)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 (likewise)

    try:
        yield
    except (MlflowException, SQLAlchemyError, SafetensorError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RegistryError(
            f"the model registry at {tracking_uri} cannot be used ({reason}): restore it, or remove mlflow.db and "
            "mlartifacts from the home and train again"
        ) from error
