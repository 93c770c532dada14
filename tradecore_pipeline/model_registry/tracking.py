"""MLflow as it is reached, the runs that leave no model, and one line for whatever it raises."""

import errno
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry.environment import load_mlflow, without_known_warnings
from tradecore_pipeline.model_registry.origins import Origin
from tradecore_pipeline.model_registry.runs import Place, RunLog

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})
_LONGEST_REASON = 160
"""Characters of what MLflow said: it repeats itself at length where nobody answers."""
_BACKTESTS = "One run per backtest of a strategy on published regimes; `figures/` holds its report and configuration."


class Tracking:
    """An MLflow server or file: writes studies and backtests, which are runs alone, and tells of runs."""

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

    def log_study(
        self,
        name: str,
        *,
        place: Place,
        kind: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]],
        tags: Mapping[str, str],
        figures: Mapping[str, bytes],
    ) -> str:
        """Record a study that chose something for the fits from ``place``'s month on: a run without a model; its id.

        Raises:
            RegistryError: MLflow does not take it.
        """
        with explained(self._tracking_uri, f"the run of the {kind} study of {place} is lost; "):
            runs = self._runs
            run_id = runs.begin_alone(place, kind, name, tags)
            with runs.finishing(run_id):
                runs.log_numbers(run_id, parameters=parameters, metrics=metrics, series=series)
                runs.log_figures(run_id, figures)
        return run_id

    def log_backtest(
        self,
        name: str,
        *,
        timeframe: Timeframe,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        figures: Mapping[str, bytes],
    ) -> str:
        """Record a backtest as a run of the timeframe's experiment of backtests; its id.

        Raises:
            RegistryError: MLflow does not take it.
        """
        with explained(self._tracking_uri, f"the run of {name} is lost; "):
            run_id = self._runs.begin_in(f"tradecore/{timeframe}/backtests", _BACKTESTS, name, tags)
            with self._runs.finishing(run_id):
                self._runs.log_numbers(run_id, parameters=parameters, metrics=metrics, series={})
                self._runs.log_figures(run_id, figures)
        return run_id

    def run_url(self, run_id: str, ui_base: str) -> str:
        """Where the MLflow UI at ``ui_base`` shows a run."""
        with explained(self._tracking_uri, ""):
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{ui_base.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    def origin(self, run_id: str) -> Origin | None:
        """What the run of a fit says it was fitted on; None where there is no such run, or it does not say."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 (MLflow takes seconds to import)

        with explained(self._tracking_uri, ""):
            try:
                return Origin.of(run_id, self._client.get_run(run_id).data.tags)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise


@contextmanager
def explained(tracking_uri: str, lost: str) -> Generator[None]:
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
