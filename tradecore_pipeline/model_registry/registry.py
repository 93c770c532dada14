"""Fits in MLflow: one run per fit, one registered model per instrument, timeframe and kind, one alias per month."""

import errno
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import pandas as pd
from filelock import FileLock

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry.environment import load_mlflow, without_known_warnings
from tradecore_pipeline.model_registry.runs import MONTH, Place, RunLog, month_alias, unless_it_exists
from tradecore_pipeline.model_registry.stored import Arrays, ModelKind, StoredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
"""The alias of the newest version whose kind had earned it out-of-sample by then."""
CHALLENGER = "challenger"
"""The alias of the newest month's version, where it is not the champion."""

_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})
_LONGEST_REASON = 160
"""Characters of what MLflow said: it repeats itself at length where nobody answers."""
_DIGEST = "tradecore.model_sha256"
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
        with without_known_warnings(), lock:
            client = MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
        return client

    @cached_property
    def _runs(self) -> RunLog:
        return RunLog(self._client, self._tracking_uri, self._artifact_root)

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
        with _explained(self._tracking_uri, f"the fitted {kind} model of {place} is lost; "):
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
        with _explained(self._tracking_uri, ""):
            version = self._version(model_name(kind, instrument, timeframe), month_alias(month))
            if version is None:
                return None
            folder = self._folder(version)
        model = _read(folder, version)
        if model is None or model.digest() != version.tags.get(_DIGEST):
            train = f"tradecore train {instrument} --timeframe {timeframe} --from {month:%Y-%m} --to {month:%Y-%m}"
            raise RegistryError(
                f"the {kind} model of {Place(instrument, timeframe, month)} is damaged ({folder} is not what was "
                f"fitted): `{train}` fits it anew"
            )
        return model

    def _folder(self, version: "ModelVersion") -> Path:
        """Where a version's files lie."""
        run_id = str(version.run_id)
        self._runs.require_own(str(self._client.get_run(run_id).info.artifact_uri))
        return Path(self._client.download_artifacts(run_id, "model/artifacts/stored"))

    def _is_whole(self, version: "ModelVersion", digest: str) -> bool:
        """Whether a version's files are there and hold the model with this digest."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            model = _read(self._folder(version), version)
        except (MlflowException, OSError):
            return False
        return model is not None and model.digest() == digest

    def run_url(self, run_id: str, ui_base: str) -> str:
        """Where the MLflow UI at ``ui_base`` shows a run."""
        with _explained(self._tracking_uri, ""):
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{ui_base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    def _version(self, name: str, alias: str) -> "ModelVersion | None":
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        try:
            aliases: Mapping[str, str] = self._client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return self._client.get_model_version(name, aliases[alias]) if alias in aliases else None

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
        held = {
            role: str(client.get_model_version(name, aliases[role]).tags.get(MONTH, ""))
            for role in (CHAMPION, CHALLENGER)
            if role in aliases
        }
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


@contextmanager
def _explained(tracking_uri: str, lost: str) -> Generator[None]:
    """Turn what MLflow, its database and damaged files raise into one line that says what is lost and what to do."""
    load_mlflow()
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)
    from safetensors import SafetensorError  # noqa: PLC0415 (comes with it)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 (likewise)

    try:
        yield
    except (MlflowException, SQLAlchemyError, SafetensorError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
            raise  # nothing is wrong with the registry: who reports it names the folder
        reason = shorten((str(error).strip().splitlines() or [type(error).__name__])[0], _LONGEST_REASON)
        if tracking_uri.startswith("http"):
            remedy = "start it, or correct mlflow_tracking_uri, and train again"
        else:
            remedy = "restore it, or remove mlflow.db and mlartifacts from the home and train again"
        raise RegistryError(
            f"the model registry at {tracking_uri} cannot be used ({reason}): {lost}{remedy}"
        ) from error
