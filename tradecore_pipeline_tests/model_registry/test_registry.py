"""What a fit leaves in MLflow, and how it is found again."""

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import RegistryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import ModelRegistry, Verdict
from tradecore_pipeline.model_registry.registry import CHALLENGER, CHAMPION, model_name
from tradecore_pipeline.model_registry.runs import month_alias
from tradecore_pipeline_tests.model_registry.cases import HOUR, JULY, JUNE, MAY, PICKLES, Fit, loaded, some_bars

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
    model = loaded(registry, f"models:/{fit().name}@{CHAMPION}")
    assert len(model.predict(model.input_example)) == 200
    bare = loaded(registry, f"models:/{fit(JUNE, example=some_bars(200).drop(columns='volume')).name}@{CHAMPION}")
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
