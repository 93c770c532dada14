import dataclasses
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, TUNED_NAMES
from tradecore_pipeline.model_registry import LoggedModel, ModelRegistry, Verdict
from tradecore_pipeline.model_registry.registry import CHALLENGER, CHAMPION, model_name
from tradecore_pipeline.model_registry.runs import month_alias
from tradecore_pipeline.models import har, lstm, pool, pool_members, regimes, seasonality
from tradecore_pipeline.models.inputs import PROBABILITIES
from tradecore_pipeline.models.lstm_corrector import Corrector, new_network
from tradecore_pipeline.models.lstm_network import Ensemble
from tradecore_pipeline.models.lstm_reading import Reading
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE

HOUR = Timeframe.parse("1h")
MAY, JUNE, JULY = date(2022, 5, 1), date(2022, 6, 1), date(2022, 7, 1)
PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".cloudpickle"}
Fit = Callable[..., LoggedModel]


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
            "example": _bars(200),
            "verdict": Verdict(champion=True, evidence="no rival"),
        }
        return registry.log_fit(instrument=instrument, timeframe=HOUR, month=month, **facts | changes)

    return log


def _bars(rows: int = 1200) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    returns = 0.004 * rng.standard_t(5, rows)
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range(datetime(2022, 1, 1, tzinfo=UTC), periods=rows, freq="h", name="ts_open", unit="ms")
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) / 1.001,
            "close": close,
            "volume": rng.gamma(2, 5, rows),
            "realized_variance": returns**2 + 1e-7,
            "minutes": np.full(rows, 60, dtype=np.int32),
        },
        index=index,
    )


def _loaded(registry: ModelRegistry, uri: str) -> Any:
    import mlflow  # noqa: PLC0415 (only after the registry has set its environment)

    mlflow.set_tracking_uri(registry._tracking_uri)
    return mlflow.pyfunc.load_model(uri)


@pytest.fixture(autouse=True)
def _no_tracking_uri_left_behind() -> Iterator[None]:
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)


def test_what_was_logged_is_loaded_bit_for_bit(fit: Fit, registry: ModelRegistry, instrument: Instrument) -> None:
    arrays = {"transmat": np.random.default_rng(1).random((3, 3)), "counts": np.arange(4)}
    tensors = {"lstm.weight": np.random.default_rng(2).random((8, 4)).astype(np.float32)}
    logged = fit(arrays=arrays, tensors=tensors, config={"columns": ["a"], "pool_weight": 0.1 + 0.2})
    loaded = registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY)
    assert loaded is not None
    assert (loaded.run_id, loaded.version) == (logged.run_id, logged.version)
    assert loaded.config == {"columns": ["a"], "pool_weight": 0.1 + 0.2}
    assert loaded.tensors is not None
    for expected, actual in ((arrays, loaded.arrays), (tensors, loaded.tensors)):
        assert expected.keys() == actual.keys()
        for name, array in expected.items():
            assert actual[name].dtype == array.dtype
            np.testing.assert_array_equal(actual[name], array)


def test_a_run_holds_its_parameters_metrics_series_tags_and_figures(fit: Fit, registry: ModelRegistry) -> None:
    logged = fit()
    run = registry._client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"trials": "30", "seed": "7"}
    assert run.data.metrics["error"] == 1.25
    history = registry._client.get_metric_history(logged.run_id, "trial_error")
    assert [(point.step, point.value) for point in history] == [(0, 1.5), (1, 1.25), (2, 1.375)]
    assert run.data.tags["dagster.run_id"] == "abc"
    figure = registry._client.download_artifacts(logged.run_id, "figures/study.html")
    assert Path(figure).read_bytes() == b"<p>study</p>"
    assert registry.run_url(logged.run_id, ui_base="http://127.0.0.1:5500/").endswith(f"/runs/{logged.run_id}")


def test_a_long_series_is_logged_whole(fit: Fit, registry: ModelRegistry) -> None:
    logged = fit(series={"loss": list(np.linspace(1, 0, 2300))})
    assert len(registry._client.get_metric_history(logged.run_id, "loss")) == 2300


def test_no_file_is_a_pickle_and_none_lies_outside_the_artifact_root(
    fit: Fit, registry: ModelRegistry, home: Path
) -> None:
    logged = fit(tensors={"weight": np.ones((2, 2), dtype=np.float32)})
    folder = Path(registry._client.download_artifacts(logged.run_id, ""))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder.is_relative_to(home / "mlartifacts")
    assert {"config.json", "arrays.npz", "tensors.safetensors", "MLmodel"} <= {path.name for path in files}
    assert not [path for path in files if path.suffix in PICKLES or path.read_bytes()[:1] == b"\x80"]


def test_an_array_of_python_objects_is_refused_and_the_run_marked_as_failed(
    fit: Fit, registry: ModelRegistry, instrument: Instrument
) -> None:
    with pytest.raises(TypeError, match="Python objects"):
        fit(arrays={"names": np.array([{}], dtype=object)})
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY) is None
    experiment = registry._client.get_experiment_by_name("tradecore/1h")
    own = f"tags.`tradecore.instrument` = '{instrument}' AND tags.`tradecore.kind` = 'indicator_params'"
    runs = registry._client.search_runs([experiment.experiment_id], own)
    assert [run.info.status for run in runs] == ["FAILED"]


def test_the_same_fit_twice_is_recorded_once(fit: Fit) -> None:
    assert fit() == fit(metrics={"error": 1.25, "seconds": 3.0})


def test_retraining_moves_the_alias_and_the_champion_is_the_newest_month(
    fit: Fit, registry: ModelRegistry, instrument: Instrument
) -> None:
    may, june = fit(MAY), fit(JUNE)
    again = fit(MAY, arrays={"values": np.array([9.0])})
    aliases = registry._client.get_registered_model(may.name).aliases
    assert [may.version, june.version, again.version] == [1, 2, 3]
    assert {name: int(version) for name, version in aliases.items()} == {
        month_alias(MAY): 3,
        month_alias(JUNE): 2,
        CHAMPION: 2,
    }
    loaded = registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY)
    assert loaded is not None
    assert loaded.arrays["values"].tolist() == [9.0]


def test_a_months_fits_are_nested_under_one_run_that_shows_their_metrics(fit: Fit, registry: ModelRegistry) -> None:
    one, two, june = fit(), fit(kind="har", metrics={"df": 4.0}), fit(JUNE)
    parents = [registry._client.get_run(fitted.run_id).data.tags["mlflow.parentRunId"] for fitted in (one, two, june)]
    assert parents[0] == parents[1] != parents[2]
    month = registry._client.get_run(parents[0])
    assert month.info.status == "FINISHED"
    assert month.data.metrics == {"indicator_params/error": 1.25, "har/df": 4.0}
    assert registry._client.get_run(one.run_id).info.experiment_id == month.info.experiment_id


def test_a_challenger_becomes_champion_by_its_evidence_only(fit: Fit, registry: ModelRegistry) -> None:
    unproven, proven = Verdict(champion=False, evidence="no score yet"), Verdict(champion=True, evidence="t 2.6")

    def roles() -> dict[str, int]:
        aliases = registry._client.get_registered_model(may.name).aliases
        return {role: int(aliases[role]) for role in (CHAMPION, CHALLENGER) if role in aliases}

    may = fit(MAY, verdict=unproven)
    assert roles() == {CHALLENGER: 1}
    assert registry._client.get_model_version(may.name, "1").description == "no score yet"
    fit(JUNE, verdict=proven)
    assert roles() == {CHAMPION: 2}
    fit(JULY, verdict=unproven)
    assert roles() == {CHAMPION: 2, CHALLENGER: 3}
    fit(MAY, arrays={"values": np.array([2.0])}, verdict=proven)
    assert roles() == {CHAMPION: 2, CHALLENGER: 3}
    fit(JULY, verdict=proven)
    assert roles() == {CHAMPION: 3}
    assert registry._client.get_model_version(may.name, "3").description == "t 2.6"


def test_a_version_shows_what_it_predicts_on(fit: Fit, registry: ModelRegistry) -> None:
    model = _loaded(registry, f"models:/{fit().name}@{CHAMPION}")
    assert len(model.predict(model.input_example)) == 200
    bare = _loaded(registry, f"models:/{fit(JUNE, example=_bars(200).drop(columns='volume')).name}@{CHAMPION}")
    assert bare.input_example is None


def test_a_server_that_is_down_loses_the_fit_and_says_which(tmp_path: Path) -> None:
    down = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=tmp_path / "mlartifacts")
    facts: dict[str, Any] = {
        "kind": "har", "instrument": Instrument("binance", "BTC/USDT:USDT"), "timeframe": HOUR, "month": MAY,
        "parameters": {}, "metrics": {}, "series": {}, "arrays": {}, "tensors": None, "config": {}, "tags": {},
        "figures": {}, "example": None, "verdict": Verdict(champion=True, evidence=""),
    }  # fmt: skip
    client = down._client
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (only after the registry has set its environment)

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("connection refused\nand a page of retries")

    client.log_artifacts = client.set_terminated = refuse
    with pytest.raises(
        RegistryError, match=r"the fitted har model of binance:BTC/USDT:USDT 1h 2022-05 is lost"
    ) as told:
        down.log_fit(**facts)
    assert "\n" not in str(told.value)
    assert list(client.search_registered_models()) == []


def test_a_month_without_a_fit_has_no_model(registry: ModelRegistry, instrument: Instrument, fit: Fit) -> None:
    assert registry.load("hmm", instrument, timeframe=HOUR, month=MAY) is None
    fit(MAY)
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=JUNE) is None


def test_what_a_model_says_of_itself_is_read_without_its_arrays(
    fit: Fit, registry: ModelRegistry, instrument: Instrument
) -> None:
    logged = fit(config={"window_bars": 500})
    run = registry._client.get_run(logged.run_id)
    (Path(run.info.artifact_uri.removeprefix("file://")) / "model/artifacts/stored/arrays.npz").unlink()
    assert registry.config("indicator_params", instrument, timeframe=HOUR, month=MAY) == {"window_bars": 500}
    assert registry.config("indicator_params", instrument, timeframe=HOUR, month=JUNE) is None
    assert registry.config("hmm", instrument, timeframe=HOUR, month=MAY) is None


def test_names_are_safe_and_lower_case() -> None:
    name = model_name("hmm", Instrument.parse("binance:BTC/USDT:USDT"), HOUR)
    assert name == "binance-btc_usdt_usdt-1h-hmm"


def test_the_champion_loads_as_a_pyfunc_where_pickle_is_forbidden(fit: Fit, registry: ModelRegistry) -> None:
    logged = fit()
    model = _loaded(registry, f"models:/{logged.name}@{CHAMPION}")
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    bars = _bars()
    predicted = model.predict(bars)
    assert tuple(predicted.columns) == TUNED_NAMES
    assert predicted.index.equals(bars.index)
    assert predicted.iloc[-1].notna().all()
    by_column = model.predict(bars.reset_index().astype({"ts_open": str}))
    np.testing.assert_array_equal(by_column, predicted)


def test_a_regime_model_predicts_its_filtered_probabilities(fit: Fit, registry: ModelRegistry) -> None:
    bars = _bars()
    fitted = regimes.fit_regimes(
        bars,
        timeframe=HOUR,
        states=2,
        restarts=1,
        emission="student_t",
        features=("scaled_return",),
        carry_bars=(1, 3),
        seed=1,
    )
    logged = fit(kind="hmm", arrays=fitted.to_arrays(), config=fitted.config())
    predicted = _loaded(registry, f"models:/{logged.name}@{CHAMPION}").predict(bars)
    np.testing.assert_array_equal(predicted, fitted.filter(bars).probabilities)


def test_a_har_model_predicts_the_next_bars_density(fit: Fit, registry: ModelRegistry) -> None:
    bars = _bars()
    fitted = har.fit_har(bars, timeframe=HOUR, seasonal=seasonality.SeasonalScale.fit(bars))
    logged = fit(kind="har", arrays=fitted.to_arrays(), config=fitted.config())
    predicted = _loaded(registry, f"models:/{logged.name}@{CHAMPION}").predict(bars)
    np.testing.assert_array_equal(predicted["forecast_volatility"], fitted.forecast(bars).volatility / 100)
    assert predicted["forecast_volatility"].iloc[-1] > 0


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from datetime import date
import numpy as np
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import ModelRegistry, Verdict
home = Path(sys.argv[1])
registry = ModelRegistry(f"sqlite:///{home / 'mlflow.db'}", artifact_root=home / "mlartifacts")
for month in range(1, 7):
    registry.log_fit(
        kind="har", instrument=Instrument("bybit", "RACE/USDT:USDT"), timeframe=Timeframe("4h"),
        month=date(2023, month, 1), parameters={"a": 1}, metrics={"m": 1.0}, series={"s": [1.0] * 50},
        arrays={"x": np.array([float(sys.argv[2]), month])}, tensors=None, config={"n": sys.argv[2]}, tags={},
        figures={}, example=None, verdict=Verdict(champion=True, evidence=""),
    )
"""


def test_two_processes_log_at_once_and_nothing_is_lost(registry: ModelRegistry, home: Path) -> None:
    assert registry.load("har", Instrument("bybit", "RACE/USDT:USDT"), timeframe=Timeframe("4h"), month=MAY) is None
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(home)]
    children = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors.decode()
    name = model_name("har", Instrument("bybit", "RACE/USDT:USDT"), Timeframe("4h"))
    versions = registry._client.search_model_versions(f"name = '{name}'")
    assert sorted(int(version.version) for version in versions) == list(range(1, 13))
    for month in range(1, 7):
        assert registry.load(
            "har", Instrument("bybit", "RACE/USDT:USDT"), timeframe=Timeframe("4h"), month=date(2023, month, 1)
        )


def test_a_network_predicts_from_bars_and_its_other_inputs(fit: Fit, registry: ModelRegistry) -> None:
    bars = _bars()
    family = pool_members.fit_har_family(bars, timeframe=HOUR, seed=7)
    state = pd.DataFrame({"state_0": np.linspace(0, 1, len(bars))}, index=bars.index)
    inputs = lstm.forecast_inputs(bars, family.har, filtered=state, features=None)
    reading = Reading(tuple(inputs.columns), ("state_0",), PROBABILITIES)
    shape = dataclasses.replace(DEFAULT_SHAPE, hidden=4)
    network = Ensemble([new_network(reading, shape)])
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    fitted = lstm.LstmForecaster(
        family=family,
        corrector=Corrector(reading, np.zeros(reading.inputs), np.ones(reading.inputs), shape, 1, weights),
        start=pool.PoolStart({pool.BASELINE: 0.0, pool.NETWORK: 0.5}, {}),
        report={},
    )
    logged = fit(kind="lstm", arrays=fitted.to_arrays(), tensors=fitted.weights, config=fitted.config())
    predicted = _loaded(registry, f"models:/{logged.name}@{CHAMPION}").predict(bars.join(state))
    expected = fitted.forecast(bars, inputs).pooled
    np.testing.assert_allclose(predicted["forecast_volatility"], expected.volatility / 100, rtol=1e-12)


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


def test_reading_models_leaves_nothing_behind(
    fit: Fit, registry: ModelRegistry, instrument: Instrument, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fit()
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert registry.load("indicator_params", instrument, timeframe=HOUR, month=MAY) is not None
    assert list(folder.iterdir()) == []


def test_a_read_only_home_is_no_damaged_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_root=tmp_path / "mlartifacts")

    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="Read-only file system"):
        registry.load("har", Instrument("binance", "BTC/USDT:USDT"), timeframe=HOUR, month=MAY)
