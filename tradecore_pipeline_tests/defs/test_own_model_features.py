"""A user's own features as columns of models: which version they read, and what is refused."""

from datetime import timedelta

import dagster as dg
import pytest

from tradecore_pipeline.defs import feature_days, features
from tradecore_pipeline.defs.build import build_definitions
from tradecore_pipeline.defs.forecast_fits import history
from tradecore_pipeline.defs.own_days import OWN_VERSION, own_version, require_same_files
from tradecore_pipeline.defs.regime_fits import fit_hmm
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import MissingInputError, SettingsError, UsageError
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.model_registry import StoredModel
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import OWN_FEATURES
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH, NOW, ONE_DAY, START, span
from tradecore_pipeline_tests.defs.own_cases import EDITED, FIRST, KEY, NAME, Deployment, said


def test_models_read_own_columns_of_the_present_version_only(deployed: Deployment) -> None:
    first = MARCH - timedelta(days=21)  # the window ends a bar before its month, whose label is known by then
    assert deployed.features(first, MARCH - ONE_DAY).code == 0
    changes = {"hmm_emission": "gaussian", "hmm_features": ("scaled_return", "momentum_24", "rsi_14")}
    month = deployed.month(**changes)
    bars = month.window()
    columns = month.columns(bars, month.hmm_features)
    assert columns is not None
    assert list(columns) == ["momentum_24", "rsi_14"]
    assert columns["momentum_24"].notna().all()
    beside = month.with_columns(month.tuned(bars), bars, ("momentum_24",))
    assert beside is not None
    assert list(beside)[-1] == "momentum_24"
    deployed.file.write_text(EDITED)
    later = deployed.month(**changes)
    with pytest.raises(MissingInputError, match=r"no 1h own features of the present my_features.py for 2025-02-08"):
        later.columns(bars, later.hmm_features)


def test_longer_windows_end_before_days_of_another_version(deployed: Deployment) -> None:
    window, whole = MARCH - timedelta(days=21), START + 2 * ONE_DAY
    assert deployed.features(whole, MARCH - ONE_DAY).code == 0
    read = ("momentum_24",)
    before = history(deployed.month(), deployed.month().window(), windows=2, features=read)
    assert before is not None
    assert len(before) == 2 * 480
    deployed.file.write_text(EDITED)
    assert deployed.features(window - 3 * ONE_DAY, MARCH - ONE_DAY).code == 0
    month = deployed.month()
    bars = month.window()
    reached = history(month, bars, windows=2, features=read)
    assert reached is not None
    assert reached.index[0].date() == window - 3 * ONE_DAY
    columns = month.columns(reached, read)
    assert columns is not None
    assert columns["momentum_24"].notna().all()
    unread = history(month, bars, windows=2, features=())
    assert unread is not None
    assert len(unread) == 2 * 480


def test_days_whose_warm_up_begins_before_what_is_stored_have_no_values_and_stop_no_model(deployed: Deployment) -> None:
    first = MARCH - timedelta(days=21)
    for day in day_range(START, first - ONE_DAY):
        deployed.adapters.layout.day(BARS.name, BTC, day, timeframe=HOUR).unlink(missing_ok=True)
    assert deployed.features(first, MARCH - ONE_DAY).code == 0
    month = deployed.month()
    bars = month.window()
    columns = month.columns(bars, ("momentum_24",))
    assert columns is not None
    lost = columns.index[columns["momentum_24"].isna()]
    assert set(lost.date) == {first}
    deployed.adapters.layout.day(OWN_FEATURES, BTC, first + 5 * ONE_DAY, timeframe=HOUR).unlink()
    with pytest.raises(MissingInputError, match="no 1h own features for 2025-02-13: materialize own_features"):
        month.columns(bars, ("momentum_24",))


def test_a_regime_model_is_fitted_on_own_features_and_refused_after_an_edit(deployed: Deployment) -> None:
    assert deployed.features(START + ONE_DAY, MARCH - ONE_DAY).code == 0
    registry = f"sqlite:///{deployed.file.with_name('mlflow.db')}"  # the chain's is everybody's
    month = deployed.month(
        hmm_emission="gaussian", hmm_features=("scaled_return", "momentum_24"), mlflow_tracking_uri=registry
    )
    logged, _ = fit_hmm(month, "run")
    stored = month.stored("hmm")
    assert stored.run_id == logged.run_id
    assert stored.config[OWN_VERSION] == month.adapters.own_features.definition
    require_same_files(month.adapters, stored, str(month))
    deployed.file.write_text(EDITED)
    with pytest.raises(MissingInputError, match=r"the hmm model was trained on version .* train the month again"):
        require_same_files(deployed.adapters, stored, str(month))
    bare = Adapters(deployed.settings.model_copy(update={"feature_files": ()}), clock=lambda: NOW)
    with pytest.raises(MissingInputError, match="feature_files names none now"):
        require_same_files(bare, stored, str(month))


def test_a_model_without_own_features_never_runs_the_file(deployed: Deployment) -> None:
    deployed.file.write_text("raise RuntimeError('not today')\n")
    adapters = deployed.adapters
    assert own_version(adapters, ("scaled_return", "rsi_14")) == {}
    require_same_files(adapters, StoredModel("hmm", "1h", {}, {}, None, "run", 1), "a month")
    assert deployed.month().columns(deployed.month().window(), ("rsi_14",)) is not None


def test_settings_name_own_features_and_unknown_ones_are_refused_with_the_nearest(deployed: Deployment) -> None:
    wrong = deployed.run("features", NAME, "--timeframe", "1h", *span(FIRST, FIRST), TRADECORE_LSTM_FEATURES="momentum")
    assert "setting lstm_features: unknown feature 'momentum': did you mean momentum_24" in said(wrong)
    settings = deployed.settings.model_copy(update={"lstm_features": ("momentum_24", "rsi_14")})
    assert settings.own_model_features == ("momentum_24",)
    graph = build_definitions(settings, Adapters(settings)).resolve_asset_graph()
    for key in (features.asset_key(HOUR, feature_days.FEATURE_MONTH), dg.AssetKey(["regimes", "1h", "regimes"])):
        assert KEY in graph.get(key).parent_keys
    with pytest.raises(SettingsError, match=r"unknown feature 'rsi_15'.*did you mean rsi_14"):
        Settings.load(lstm_features=("rsi_15",))
    with pytest.raises(UsageError, match="unknown feature"):
        Adapters(settings.model_copy(update={"hmm_features": ("no_such",), "hmm_emission": "gaussian"})).own_features  # noqa: B018 (its first use runs the files)


def test_the_digest_of_a_month_holds_own_features_where_models_read_them(deployed: Deployment) -> None:
    assert deployed.features(FEBRUARY, MARCH - ONE_DAY).code == 0
    plain = deployed.month().adapters
    reading = deployed.month(lstm_features=("momentum_24",)).adapters
    without, with_own = (features.compute_feature_month(a, BTC, FEBRUARY, timeframe=HOUR) for a in (plain, reading))
    assert "own_features_sha256" not in without
    assert {name: with_own[name] for name in without} == without
    assert len(with_own["own_features_sha256"]) == 64
