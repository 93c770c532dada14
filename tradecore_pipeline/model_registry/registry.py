"""Fits in MLflow: one run per fit, one registered model per instrument, timeframe and kind, one alias per month."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import pandas as pd

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry.runs import MONTH, Place, month_alias, unless_it_exists
from tradecore_pipeline.model_registry.stored import CONFIG, Arrays, ModelKind, StoredModel, read_config
from tradecore_pipeline.model_registry.tracking import Tracking, explained

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
"""The alias of the newest version whose kind had earned it out-of-sample by then."""
CHALLENGER = "challenger"
"""The alias of the newest month's version, where it is not the champion."""

_DIGEST = "tradecore.model_sha256"
_STORED = "model/artifacts/stored"
_GONE = "RESOURCE_DOES_NOT_EXIST"
"""MLflow's word for a run, model or version that it does not have."""
_DESCRIPTIONS: Mapping[ModelKind, str] = {
    "indicator_params": "Indicator lengths, chosen for the size of the next move: predicts the indicators of bars.",
    "hmm": "Volatility regimes: predicts each bar's filtered probabilities, known at its close.",
    "har": "The baseline forecast, t-HAR, with the switching HAR that is pooled with it: predicts the next bar's "
    "mean and volatility.",
    "lstm": "The published forecast: t-HAR, the switching HAR and the LSTM's correction, pooled by their past scores.",
}


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """Where a fit went."""

    run_id: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version may be the champion, and why: its description."""

    champion: bool
    evidence: str


def model_name(kind: ModelKind, instrument: Instrument, timeframe: Timeframe) -> str:
    """The registered name, e.g. ``binance-btc_usdt_usdt-1h-hmm``."""
    return f"{instrument.exchange}-{instrument.path_symbol}-{timeframe}-{kind}".lower()


class ModelRegistry(Tracking):
    """Writes fits to MLflow and reads them back; several processes may do both at once."""

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
        example: pd.DataFrame | None,
        verdict: Verdict,
    ) -> LoggedModel:
        """Record one fit as a run and a model version, in force during ``month`` (its alias moves here).

        A fit equal to the one in force (same config, arrays and tensors) is not recorded twice: what is there is
        returned. If anything fails, the run is marked as failed and nothing is registered.

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
            example: bars that it predicts on, with every column of its signature; None where there are none.
            verdict: whether this month's version may be the champion, and why.

        Raises:
            RegistryError: MLflow does not take it; the message says what is lost.
        """
        place = Place(instrument, timeframe, month)
        model = StoredModel(kind, str(timeframe), config, arrays, tensors)
        name, digest = model_name(kind, instrument, timeframe), model.digest()
        with explained(self._tracking_uri, f"the fitted {kind} model of {place} is lost; "):
            client, runs = self._client, self._runs
            standing = self._version(name, month_alias(month))
            if standing is not None and standing.tags.get(_DIGEST) == digest and self._is_whole(standing, digest):
                client.update_model_version(name, str(standing.version), description=verdict.evidence)
                self._point_aliases(name, month, standing, verdict)
                return LoggedModel(str(standing.run_id), name, int(standing.version))
            run_id = runs.begin(place, kind, {**tags, _DIGEST: digest})
            with runs.finishing(run_id):
                runs.log(
                    run_id,
                    parameters=parameters,
                    metrics=metrics,
                    series=series,
                    model=model,
                    example=example,
                    figures=figures,
                )
                facts = {MONTH: month_alias(month), _DIGEST: digest}
                version = self._register(name, kind, run_id, facts, verdict)
            self._point_aliases(name, month, version, verdict)
        return LoggedModel(run_id, name, int(version.version))

    def load(self, kind: ModelKind, instrument: Instrument, timeframe: Timeframe, month: date) -> StoredModel | None:
        """The model in force during ``month``, or None where none was fitted.

        Raises:
            RegistryError: its files are not what was fitted, or cannot be read.
        """
        with explained(self._tracking_uri, ""):
            version = self._version(model_name(kind, instrument, timeframe), month_alias(month))
            if version is None:
                return None
            model = self._read(version)
        if model is None or model.digest() != version.tags.get(_DIGEST):
            train = f"tradecore train {instrument} --timeframe {timeframe} --from {month:%Y-%m} --to {month:%Y-%m}"
            raise RegistryError(
                f"the {kind} model of {Place(instrument, timeframe, month)} is damaged (the files of its run "
                f"{version.run_id} are not what was fitted): `{train}` fits it anew"
            )
        return model

    def config(
        self, kind: ModelKind, instrument: Instrument, timeframe: Timeframe, month: date
    ) -> Mapping[str, Any] | None:
        """What the model in force during ``month`` says of itself, as it stands there; its arrays are not read.

        None where none was fitted.

        Raises:
            RegistryError: it cannot be read.
        """
        with explained(self._tracking_uri, ""):
            version = self._version(model_name(kind, instrument, timeframe), month_alias(month))
            if version is None:
                return None
            with self._files(version, f"{_STORED}/{CONFIG}") as path:
                return read_config(path)

    @contextmanager
    def _files(self, version: "ModelVersion", artifact: str) -> Generator[Path]:
        """A version's files: where they lie, if that is on this machine, and else a copy for as long as it is read."""
        from mlflow.utils.file_utils import local_file_uri_to_path  # noqa: PLC0415 (MLflow takes seconds to import)
        from mlflow.utils.uri import is_local_uri  # noqa: PLC0415 (likewise)

        run_id = str(version.run_id)
        uri = str(self._client.get_run(run_id).info.artifact_uri)
        self._runs.require_own(uri)
        if is_local_uri(uri):
            yield Path(local_file_uri_to_path(uri)) / artifact
            return
        with TemporaryDirectory() as folder:
            yield Path(self._client.download_artifacts(run_id, artifact, folder))

    def _read(self, version: "ModelVersion") -> StoredModel | None:
        """A version's model, or None where its run or files are gone or are none."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            with self._files(version, _STORED) as folder:
                return _read(folder, version)
        except MlflowException as error:
            if error.error_code == _GONE:
                return None
            raise

    def _is_whole(self, version: "ModelVersion", digest: str) -> bool:
        """Whether a version's files are there and hold the model with this digest."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            model = self._read(version)
        except (MlflowException, OSError):
            return False
        return model is not None and model.digest() == digest

    def _version(self, name: str, alias: str) -> "ModelVersion | None":
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            aliases: Mapping[str, str] = self._client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == _GONE:
                return None
            raise
        return self._numbered(name, aliases[alias]) if alias in aliases else None

    def _numbered(self, name: str, number: str) -> "ModelVersion | None":
        """A version by its number; None where an alias points at one that is no more."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            return self._client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code == _GONE:
                return None
            raise

    def _register(
        self, name: str, kind: ModelKind, run_id: str, tags: Mapping[str, str], verdict: Verdict
    ) -> "ModelVersion":
        with unless_it_exists():
            self._client.create_registered_model(name, description=_DESCRIPTIONS[kind])
        return self._client.create_model_version(
            name, f"runs:/{run_id}/model", run_id, tags=dict(tags), description=verdict.evidence
        )

    def _point_aliases(self, name: str, month: date, version: "ModelVersion", verdict: Verdict) -> None:
        """The month's alias; and champion's or challenger's, where no later month's version has it already."""
        client, own = self._client, month_alias(month)
        client.set_registered_model_alias(name, own, str(version.version))
        aliases: Mapping[str, str] = client.get_registered_model(name).aliases
        standing = {role: self._numbered(name, aliases[role]) for role in (CHAMPION, CHALLENGER) if role in aliases}
        held = {role: str(one.tags.get(MONTH, "")) for role, one in standing.items() if one is not None}
        role = CHAMPION if verdict.champion else CHALLENGER
        if held.get(role, "") <= own:
            client.set_registered_model_alias(name, role, str(version.version))
            held[role] = own
        # A champion of the same month or a later one leaves nothing to challenge it.
        if CHALLENGER in held and held[CHALLENGER] <= held.get(CHAMPION, ""):
            client.delete_registered_model_alias(name, CHALLENGER)


def _read(folder: Path, version: "ModelVersion") -> StoredModel | None:
    """The model in ``folder``, or None where the files are none."""
    from safetensors import SafetensorError  # noqa: PLC0415 (comes with it)

    try:
        return StoredModel.read(folder, run_id=str(version.run_id), version=int(version.version))
    except (SafetensorError, BadZipFile, OSError, EOFError, KeyError, TypeError, ValueError):
        return None
