"""Models whose files, runs or aliases are not what was registered."""

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.model_registry import ModelRegistry
from tradecore_pipeline.model_registry.registry import CHAMPION
from tradecore_pipeline.model_registry.runs import month_alias
from tradecore_pipeline_tests.model_registry.cases import HOUR, MAY, Fit


@pytest.mark.parametrize("damage", ["other", "torn", "gone", "run"])
def test_a_model_whose_files_are_not_what_was_fitted_is_refused_and_fitted_anew(
    fit: Fit, registry: ModelRegistry, instrument: Instrument, damage: str
) -> None:
    logged = fit()
    run = registry._client.get_run(logged.run_id)
    arrays = Path(run.info.artifact_uri.removeprefix("file://")) / "model/artifacts/stored/arrays.npz"
    if damage == "other":
        np.savez(arrays, x=np.zeros(3))
    elif damage == "torn":
        arrays.write_bytes(arrays.read_bytes()[:40])
    elif damage == "gone":
        arrays.unlink()
    else:
        _forget(registry, logged.run_id)
    with pytest.raises(RegistryError, match=r"is damaged.*`tradecore train .* --from 2022-05 --to 2022-05` fits"):
        registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY)
    again = fit()
    assert again.version == logged.version + 1
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY) is not None


def _forget(registry: ModelRegistry, run_id: str) -> None:
    """Take a run out of MLflow's database, as a backup that lacks it would."""
    with closing(sqlite3.connect(registry._tracking_uri.removeprefix("sqlite:///"))) as database:
        database.execute("DELETE FROM runs WHERE run_uuid = ?", (run_id,))
        database.commit()


def test_an_alias_that_points_nowhere_is_as_none_and_heals(
    fit: Fit, registry: ModelRegistry, instrument: Instrument
) -> None:
    first = fit()
    registry._client.delete_model_version(first.name, str(first.version))
    with closing(sqlite3.connect(registry._tracking_uri.removeprefix("sqlite:///"))) as database:
        for alias in (month_alias(MAY), CHAMPION):
            database.execute(
                "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, ?, 77)", (first.name, alias)
            )
        database.commit()
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY) is None
    again = fit()
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY) is not None
    assert registry._client.get_model_version_by_alias(first.name, CHAMPION).version == again.version


def test_a_read_only_home_is_no_damaged_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=tmp_path / "mlartifacts")

    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="Read-only file system"):
        registry.load("har", Instrument("binance", "BTC/USDT:USDT"), timeframe=HOUR, month=MAY)


def test_reading_models_leaves_nothing_behind(
    fit: Fit, registry: ModelRegistry, instrument: Instrument, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fit()
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY) is not None
    assert list(folder.iterdir()) == []
