"""Yearly studies of the LSTM's shape: what they read, what they leave behind, and in which months they are in force."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from tradecore_pipeline.defs.fits import LSTM, Month
from tradecore_pipeline.defs.lstm_shape import KIND, NO_STUDY, ShapeStudyConfig, asset_key, shape_in_force, study
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE, LstmShape
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running
from tradecore_pipeline.tuning.lstm_folds import ShapeData
from tradecore_pipeline.tuning.lstm_plan import sealed
from tradecore_pipeline_tests.chain import BTC, HOUR, ONE_DAY, SEED, Outcome, small_settings, span, tradecore

FIRST, JANUARY = date(2024, 10, 28), date(2025, 1, 1)
LAST = JANUARY + 4 * ONE_DAY
NOW = datetime(2025, 1, 6, 12, tzinfo=UTC)
HOURLY = ("--timeframe", "1h")
TWO = ShapeStudyConfig(trials=2)
SHAPE = LstmShape(chunk_bars=120, hidden=16, layers=2, dropout=0.1, learning_rate=1e-3, windows=2)


class Home:
    """A home of bars alone, and the study of 2025 that a command made in it."""

    def __init__(self, settings: Settings, studied: Outcome) -> None:
        self.settings = settings
        self.studied = studied

    def month(self, first: date = JANUARY) -> Month:
        return Month(Adapters(self.settings, clock=lambda: NOW), BTC, HOUR, first)

    def document(self) -> dict[str, Any]:
        return json.loads(self.path().read_text())

    def path(self, year: int = 2025) -> Path:
        return self.month().adapters.layout.document(KIND, BTC, date(year, 1, 1), timeframe=HOUR)

    def put(self, year: int, ended: datetime, shape: LstmShape = SHAPE) -> None:
        self.month().adapters.lake.put_document(
            KIND, BTC, date(year, 1, 1), timeframe=HOUR,
            document=sealed({"shape": shape.config(), "last_ts_close": ended.isoformat()}),
        )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    exchange = build_simulated(demo_parameters(), SEED, start=FIRST - 2 * ONE_DAY, end=date(2025, 1, 20), now=NOW)
    with running(exchange) as url:
        settings = small_settings(tmp_path_factory.mktemp("studied") / "home", url)
        filled = tradecore(settings, "backfill", str(BTC), *span(FIRST, LAST), "--datasets", "bars_1m")
        assert filled.code == 0, filled.err
        asked = tradecore(settings, "tune-lstm", str(BTC), *HOURLY, "--year", "2025", "--trials", "2", "--json")
        assert asked.code == 0, asked.err
        yield Home(settings, asked)


@pytest.fixture
def copy(home: Home, tmp_path: Path) -> Home:
    own = tmp_path / "home"
    shutil.copytree(home.settings.home, own, ignore=shutil.ignore_patterns("mlartifacts", "mlflow.db*", "dagster"))
    return Home(home.settings.model_copy(update={"home": own}), home.studied)


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home(small_settings(tmp_path / "empty" / "home", "http://127.0.0.1:9"), Outcome(0, "", ""))


def test_the_command_says_what_it_found_and_leaves_it_under_january(home: Home) -> None:
    told = home.studied.json
    assert (told["instrument"], told["timeframe"], told["year"]) == (str(BTC), "1h", 2025)
    assert len(told["trials"]) == 2
    assert told["trials"][0]["shape"] == told["default"] == {**DEFAULT_SHAPE.config(), "hidden": 8}
    assert told["last_ts_close"] == "2024-12-31T23:00:00+00:00", "the label of the last bar closes with the year"
    assert {name: told[name] for name in home.document()} == home.document()
    assert "In force in the months of 2025 and later that are trained from now on: chunk_bars" in home.studied.err


def test_dagster_shows_the_year_as_done_and_mlflow_the_run(home: Home) -> None:
    from tradecore_pipeline.defs.instance import open_instance  # noqa: PLC0415 (Dagster's, for one test)

    with open_instance(home.settings) as instance:
        assert instance.get_materialized_partitions(asset_key(HOUR)) == {f"{JANUARY}|{BTC}"}
        event = instance.get_latest_materialization_event(asset_key(HOUR))
    assert event is not None
    assert event.asset_materialization is not None
    assert {"mlflow", "shape", "folds", "standard_error"} <= set(event.asset_materialization.metadata)
    client = MlflowClient(home.settings.mlflow_uri)
    experiment = client.get_experiment_by_name("tradecore/1h")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`tradecore.kind` = '{KIND}'")
    assert run.info.run_name == f"lstm_shape 2025 {BTC}"
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_last_ts_open"] == "2024-12-31 22:00:00+00:00"
    assert run.data.tags["dagster_run_id"] == event.run_id
    assert f"[Dagster run](http://127.0.0.1:3000/runs/{event.run_id})" in run.data.tags["mlflow.note.content"]
    assert len(run.data.tags["data_sha256"]) == 64
    assert {"trial_gain_over_har", "gain_over_default", "fold_best_gain_over_har"} <= set(run.data.metrics)
    assert [step.step for step in client.get_metric_history(run.info.run_id, "trial_gain_over_har")] == [0, 1]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/study.html"]


def test_a_month_trained_after_it_keeps_its_shape_and_source_and_predicting_asks_no_more(home: Home) -> None:
    shape, source = shape_in_force(home.month())
    assert shape.config() == home.document()["shape"]
    assert source == f"study of 2025, sha256 {home.document()['digest']}"
    trained = tradecore(home.settings, "train", str(BTC), *HOURLY, "--from", "2025-01", "--to", "2025-01")
    assert trained.code == 0, trained.err
    config = home.month().stored(LSTM).config
    assert config["shape_source"] == source
    assert config["shape"] == shape.config()
    before = home.path().read_bytes()
    try:
        home.path().write_text("{")
        predicted = tradecore(home.settings, "predict", str(BTC), *HOURLY, *span(JANUARY, JANUARY))
        assert predicted.code == 0, predicted.err
        again = tradecore(home.settings, "train", str(BTC), *HOURLY, "--from", "2025-01", "--to", "2025-01")
        assert again.code == 1
        assert again.err.splitlines()[-1].startswith(f"tradecore: {BTC} 1h: the study of the LSTM's shape of 2025 is")
    finally:
        home.path().write_bytes(before)


def test_without_a_study_the_shape_is_that_of_the_settings(home: Home, empty: Home) -> None:
    usual = replace(DEFAULT_SHAPE, hidden=8)
    assert shape_in_force(empty.month()) == (usual, NO_STUDY)
    assert shape_in_force(home.month(date(2024, 12, 1))) == (usual, NO_STUDY), "it was not there yet"


def test_a_study_is_in_force_until_a_newer_one(empty: Home) -> None:
    newer = replace(SHAPE, hidden=24)
    empty.put(2022, day_start(date(2022, 1, 1)))
    empty.put(2024, day_start(date(2023, 12, 31)), newer)
    months = [date(2021, 12, 1), date(2022, 1, 1), date(2023, 12, 1), date(2024, 1, 1), date(2026, 5, 1)]
    found = [shape_in_force(empty.month(month)) for month in months]
    assert [shape for shape, _ in found] == [replace(DEFAULT_SHAPE, hidden=8), SHAPE, SHAPE, newer, newer]
    assert [source[:13] for _, source in found[1:]] == ["study of 2022"] * 2 + ["study of 2024"] * 2


def test_a_study_whose_data_ends_after_the_month_began_is_never_in_force(empty: Home) -> None:
    empty.put(2022, day_start(date(2022, 1, 1)))
    empty.put(2024, day_start(date(2024, 3, 2)), replace(SHAPE, hidden=24))
    by_month = {month: shape_in_force(empty.month(date(2024, month, 1)))[0].hidden for month in (1, 2, 3, 4)}
    assert by_month == {1: 16, 2: 16, 3: 16, 4: 24}


@pytest.mark.parametrize(
    "damage", ["{", "[1, 2]", "{}", '{"shape": {"hidden": 4}, "last_ts_close": "2024-01-01", "digest": "0"}', "null"]
)
def test_a_damaged_study_is_one_line_that_names_the_command_and_no_month_goes_on_without(
    damage: str, empty: Home
) -> None:
    empty.put(2022, day_start(date(2022, 1, 1)))
    empty.put(2024, day_start(date(2024, 1, 1)))
    empty.path(2024).write_text(damage)
    with pytest.raises(
        InvalidDataError, match=r"shape of 2024 is damaged .*`tradecore tune-lstm .* --year 2024`"
    ) as why:
        shape_in_force(empty.month(date(2025, 6, 1)))
    assert "\n" not in str(why.value)
    assert shape_in_force(empty.month(date(2023, 6, 1)))[0] == SHAPE, "months before it do not read it"


def test_what_comes_from_january_on_changes_nothing(copy: Home) -> None:
    lake, before = copy.month().adapters.lake, copy.path().read_bytes()
    for day in day_range(JANUARY, LAST):
        rows = lake.read(BARS, BTC, day_start(day), day_start(day + ONE_DAY), timeframe=HOUR)
        wild = rows.assign(**{name: rows[name] * 3 for name in ("open", "high", "low", "close", "realized_variance")})
        lake.publish(BARS, BTC, day, wild, timeframe=HOUR)
    journals = sorted((copy.settings.home / "studies").rglob("lstm_shape-2025.journal"))
    assert len(journals) == 1
    journals[0].unlink()
    study(copy.month(), "run", TWO, done=lambda _: None)
    assert copy.path().read_bytes() == before


def test_a_finished_study_with_more_trials_goes_on_from_those_it_has(copy: Home) -> None:
    done: list[str] = []
    result, _ = study(copy.month(), "run", ShapeStudyConfig(trials=3), done=done.append)
    assert done == ["0", "1", "2"]
    assert [trial.gain for trial in result.trials[:2]] == [trial["gain"] for trial in copy.studied.json["trials"]]


def test_a_year_without_enough_data_or_with_a_hole_is_one_line_with_the_numbers(copy: Home, empty: Home) -> None:
    with pytest.raises(MissingInputError, match="there are no bars before 2025-01-01: backfill earlier days"):
        study(empty.month(), "run", TWO, done=lambda _: None)
    series = copy.month().adapters.layout.series(BARS.name, BTC, timeframe=HOUR)
    (series / "date=2024-12-05.parquet").unlink()
    with pytest.raises(MissingInputError, match=r"has no 1h bars for 2024-12-05: the study of 2025 needs those days"):
        study(copy.month(), "run", TWO, done=lambda _: None)
    for day in day_range(FIRST, date(2024, 12, 4)):
        (series / f"date={day}.parquet").unlink()
    with pytest.raises(MissingInputError, match=r"needs at least 1443 bars before 2025-01-01 and there are 623"):
        study(copy.month(), "run", TWO, done=lambda _: None)


def test_a_study_whose_document_is_gone_when_it_ends_is_one_line(copy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.path().unlink()
    monkeypatch.setattr("tradecore_pipeline.defs.launch.materialize", lambda *_, **__: None)
    outcome = tradecore(copy.settings, "tune-lstm", str(BTC), *HOURLY, "--year", "2025", "--trials", "2")
    assert outcome.code == 1
    assert "the study of 2025 ended and its document is not there" in outcome.err.splitlines()[-1]


def test_a_study_trains_on_the_cpu_whatever_the_months_are_trained_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def stop(data: ShapeData, *_: object, **__: object) -> None:
        told.extend((data.recipe.device, data.facts()["recipe"]["device"]))
        raise InvalidDataError("enough was told")

    monkeypatch.setattr("tradecore_pipeline.tuning.lstm_study.tune_shape", stop)
    own = home.month()
    cuda = Adapters(own.adapters.settings.model_copy(update={"lstm_device": "cuda"}), clock=own.adapters.clock)
    with pytest.raises(InvalidDataError, match="enough was told"):
        study(replace(own, adapters=cuda), "run", TWO, done=lambda _: None)
    assert told == ["cpu", "cpu"]


def test_a_journal_that_is_no_journal_is_named(copy: Home) -> None:
    (journal,) = (copy.settings.home / "studies").rglob("lstm_shape-2025.journal")
    journal.write_bytes(b"PAR1\xff\xfe\n")
    with pytest.raises(InvalidDataError, match=r"lstm_shape-2025\.journal is damaged .*: remove the file"):
        study(copy.month(), "run", TWO, done=lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--year", "2019"), 2, "name a year from 2020"),
        (("--year", "2999"), 2, "name a year from 2020"),
        (("--year", "2021"), 1, "run `tradecore backfill binance:BTC/USDT:USDT --from"),
        (("--year", "2025", "--trials", "0"), 2, ""),
    ],
)
def test_years_that_nothing_can_be_said_of_are_refused(
    home: Home, arguments: tuple[str, ...], code: int, said: str
) -> None:
    outcome = tradecore(home.settings, "tune-lstm", str(BTC), *HOURLY, *arguments)
    assert outcome.code == code
    assert said in outcome.err


def test_a_study_reads_no_more_windows_than_a_shape_may_ask_for_and_one(home: Home) -> None:
    told = home.studied.json
    reach = pd.Timestamp(told["last_ts_close"]) - pd.Timestamp(told["first_ts_open"])
    assert reach <= pd.Timedelta(hours=5 * 480)
